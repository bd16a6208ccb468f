"""examples/places.py and photographs.py: the views, the triplets, the search, the same numbers in each run."""

import os
import socket

import numpy as np
import photographs
import places
import pytest
from loupe_examples.errors import UserError
from matplotlib.colors import to_rgba

pytestmark = pytest.mark.usefixtures("one_thread")
PNG = b"\x89PNG\r\n\x1a\n"
SMALL = ["--stride", "224", "--train-views", "2", "--clusters", "4", "--epochs", "1", "--workers", "1"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return str(tmp_path_factory.mktemp("views") / "cache")


@pytest.fixture(scope="module")
def options(directory):
    return places.parsed(SMALL + ["--directory", directory])


@pytest.fixture(scope="module")
def data(options):
    return places.load(options)


@pytest.fixture
def run(tmp_path, directory, capsys):
    """A function that runs the program, and returns the rows of its table without the seconds."""
    output, picture = tmp_path / "chart.png", tmp_path / "five.png"

    def run(*arguments):
        paths = ["--directory", directory, "--output", str(output), "--picture", str(picture)]
        places.main(list(arguments) + paths)
        heading, *rows, chart, five = capsys.readouterr().out.splitlines()
        assert heading.split()[:4] == ["method", "start", "whitening", "width"]
        assert (chart, five) == (f"chart: {output}", f"picture: {picture}")
        assert sorted(os.listdir(str(tmp_path))) == ["chart.png", "five.png"]
        assert output.read_bytes().startswith(PNG) and picture.read_bytes().startswith(PNG)
        return [row.split()[:-1] for row in rows]

    return run


def recall_at_1(rows):
    return {tuple(row[:3]): float(row[4]) for row in rows}


@pytest.mark.long
def test_same_numbers_with_one_seed(run, data):
    arguments = SMALL + ["--methods", "NetVLAD", "mean"]
    first = run(*arguments)
    assert [row[:4] for row in first] == [
        ["mean", "-", "-", "64"],
        ["mean", "-", "PCA", "64"],
        ["NetVLAD", "k-means", "-", "256"],
        ["NetVLAD", "k-means", "PCA", str(min(256, len(data.train.place) - 1))],
        ["NetVLAD", "random", "-", "256"],
        ["NetVLAD", "random", "PCA", str(min(256, len(data.train.place) - 1))],
    ]
    assert all(0 <= float(recall) <= 1 for row in first for recall in row[4:])
    assert run(*arguments) == first


@pytest.mark.long
def test_what_is_learnt(run):
    recalls = recall_at_1(run("--quick"))
    assert len(recalls) == 22
    assert recalls["VLAD", "k-means", "-"] > 2 * recalls["mean", "-", "-"]
    assert recalls["VLAD", "k-means", "PCA"] > recalls["VLAD", "k-means", "-"]
    assert recalls["NetVLAD", "k-means", "-"] > recalls["NetVLAD", "random", "-"] + 0.1
    assert recalls["NetVLAD", "random", "PCA"] > recalls["VLAD", "k-means", "PCA"]
    assert run("--quick", "--seed", "2") != run("--quick")


def test_photographs_need_no_download(monkeypatch):
    def connect(*_):
        raise AssertionError("a photograph is fetched from the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    photographs.photograph.cache_clear()
    for name in photographs.PHOTOGRAPHS + [photographs.RIGHT]:
        pixels = photographs.photograph(name)
        assert pixels.dtype == np.float32 and pixels.ndim == 2 and max(pixels.shape) <= 640
        assert 0 <= pixels.min() < 0.3 and 0.6 < pixels.max() <= 1


@pytest.mark.long
def test_no_photograph_trains_and_tests(data):
    names = [{data.places[place].photograph for place in views.place} for views in (data.train, data.test, data.stereo)]
    assert names == [set(photographs.TRAIN), set(photographs.TEST), {photographs.LEFT}]
    assert not names[0] & names[1]


def test_views_are_lists_of_different_lengths(data):
    for views, counts in [(data.train, 3), (data.test, 4), (data.stereo, 5)]:
        assert (np.bincount(views.place)[np.unique(views.place)] == counts).all()
        assert len(np.unique(views.lengths)) > 5 and 1 <= views.lengths.min() and views.lengths.max() <= 144
        lengths = np.linalg.norm(views.lists, axis=2)
        is_real = np.arange(144) < views.lengths[:, np.newaxis]
        np.testing.assert_allclose(lengths[is_real], 1, rtol=1e-5)
        assert not lengths[~is_real].any()


def test_the_cache_holds_what_is_made(data, options, tmp_path):
    again = places.load(options)
    for one, other in zip(data[1:4], again[1:4]):
        np.testing.assert_allclose(one.lists, other.lists, atol=1e-5)
        assert all((a == b).all() for a, b in zip(one[1:], other[1:]))
    made = photographs.load(options.directory, options.seed, options.train_views, options.stride, workers=1)
    place = made[2].place[5]
    rows = photographs.descriptors(photographs.image(made[0][place], made[2].number[5], options.seed))
    assert len(rows) == made[2].lengths[5]
    np.testing.assert_allclose(made[2].lists[5, : len(rows)], rows, atol=1e-3)


def test_validation_looks_at_no_photograph_that_tests(data, options):
    held_out = places.load(places.parsed(SMALL + ["--directory", options.directory, "--validate"]))
    train, test = ({held_out.places[place].photograph for place in views.place} for views in held_out[1:3])
    assert test == set(photographs.VALIDATION) and train == set(photographs.TRAIN) - test
    assert held_out.stereo is None
    assert len(held_out.train.place) + len(held_out.test.place) == len(data.train.place)
    vectors, seconds = places.pooled("mean", None, held_out, options)
    (result, found), _ = places.tested("mean", None, vectors, seconds, held_out, options)
    assert set(found.ravel()) <= set(held_out.test.place)
    assert places.line(result).split()[-4:-1] == ["-"] * 3


@pytest.mark.long
def test_workers_make_the_same_views(monkeypatch):
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", photographs.PHOTOGRAPHS[:2])
    one, two = (photographs._made(1, 2, 160, workers, None) for workers in (1, 2))
    assert sorted(one) == sorted(two) and all((one[name] == two[name]).all() for name in one)


class Still:
    """A source of random numbers by which a view is not moved, and its light does not change."""

    def uniform(self, low, high):
        return 0

    def standard_normal(self, shape):
        return np.zeros(shape)


def test_a_view_that_is_not_moved_is_the_tile():
    pixels = photographs.photograph("coffee")
    place = photographs.Place("coffee", 112, 176)
    seen = photographs.view(pixels, place, Still())
    np.testing.assert_allclose(seen, photographs.tile(pixels, place), atol=1e-5)
    moved = photographs.view(pixels, place, np.random.RandomState(1))
    assert moved.shape == (96, 96) and np.abs(moved - seen).mean() > 0.03
    np.testing.assert_array_equal(photographs.view(pixels, place, np.random.RandomState(1)), moved)


def test_the_right_photograph_shows_the_places_of_the_left(data):
    left, right = photographs.photograph(photographs.LEFT), photographs.photograph(photographs.RIGHT)

    def difference(place, other):
        return np.abs(photographs.tile(left, place) - photographs.tile(right, other)).mean()

    found = [data.places[place] for place in np.unique(data.stereo.place)]
    others = [photographs.counterpart(place) for place in found]
    assert all(other.column < place.column for place, other in zip(found, others))
    nearer = [difference(place, other) < difference(place, place) for place, other in zip(found, others)]
    assert np.mean(nearer) > 0.8


def test_the_stereo_pair_as_it_is_is_easy(data, options):
    """This is why the stereo queries are random views."""
    vectors, _ = places.pooled("VLAD", "k-means", data, options)
    as_it_is = data.stereo.number == 1
    parts = [data.stereo, data.test, data.train]
    tiles = [vectors[name] for name in ("stereo", "test", "train")]
    found, truth = places.search(data.stereo.where(as_it_is), parts, vectors["stereo"][as_it_is], tiles)
    assert places.recall(found, truth)[0] >= 0.9


def test_triplets(data, options, monkeypatch):
    monkeypatch.setattr(places, "CANDIDATES", 10**6)
    rng = np.random.RandomState(3)
    vectors = rng.standard_normal((len(data.train.place), 8))
    place, apart = data.train.place, ~places.overlaps(data.places)
    steps = list(places.triplets(data, vectors, rng))
    assert len(steps) == len(set(place)) // places.ANCHORS
    queries = set()
    for step in steps:
        for query, positive, *negatives in step.reshape(places.ANCHORS, -1):
            queries.add(place[query])
            assert query != positive and place[query] == place[positive]
            assert apart[place[query], place[negatives]].all()
            assert len(set(place[negatives])) == len(negatives) == places.NEGATIVES
            # The negatives are the nearest views, one for each of the nearest other places.
            similarity = vectors @ vectors[query]
            others = [one for one in set(place) if apart[place[query], one]]
            best = sorted((similarity[place == one].max() for one in others), reverse=True)
            np.testing.assert_array_equal(similarity[negatives], best[: places.NEGATIVES])
    assert len(queries) == len(steps) * places.ANCHORS


def test_overlaps():
    found = [("a", 48, 48), ("a", 48, 112), ("a", 48, 144), ("a", 143, 143), ("b", 48, 48)]
    expected = np.eye(5, dtype=bool)
    for i, j in [(0, 1), (1, 2), (0, 3), (1, 3), (2, 3)]:
        expected[i, j] = expected[j, i] = True
    np.testing.assert_array_equal(places.overlaps([photographs.Place(*one) for one in found]), expected)


def test_loss(data, options):
    """The triplets' loss is the mean of max(|q - p|^2 + margin - |q - n|^2, 0)."""
    with places.Network("NetVLAD", data, options) as network:
        network.start("k-means", data, 1)
        vectors = network.vectors(data.train).astype(np.float64)
        step = next(places.triplets(data, vectors, np.random.RandomState(1)))
        feed = {network.lists: data.train.lists[step], network.lengths: data.train.lengths[step]}
        loss = network.session.run(network.loss, feed)
    q, p, n = np.split(vectors[step].reshape(places.ANCHORS, -1, vectors.shape[1]), [1, 2], axis=1)
    terms = np.square(q - p).sum(axis=2) + options.margin - np.square(q - n).sum(axis=2)
    assert np.isclose(loss, np.maximum(terms, 0).mean(), rtol=1e-4) and loss > 0


def test_whitened(rng):
    train = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6)) + 3
    white = places.whitened({"train": train, "test": train[:7]}, 100, 1)
    assert white["train"].shape == (500, 6)
    np.testing.assert_allclose(white["test"], white["train"][:7])
    np.testing.assert_allclose(np.linalg.norm(white["train"], axis=1), 1)
    np.testing.assert_allclose(np.cov(white["train"].T), np.eye(6) / 6, atol=0.03)
    assert places.whitened({"train": train, "test": train}, 4, 1)["test"].shape == (500, 4)


def test_search_and_recall():
    place, number = np.array([7, 7, 8, 8, 9, 9]), np.array([0, 1, 0, 1, 0, 1])
    vectors = np.array([[1.0, 0], [0.9, 0.1], [0, 1], [0.6, 0.5], [-1, 0], [0.1, 0.2]])
    views = photographs.Views(np.zeros((6, 1, 1)), np.ones(6), place, number)
    found, truth = places.search(views, [views], vectors, [vectors])
    assert found.tolist() == [[7, 8, 9], [7, 8, 9], [8, 7, 9]] and truth.tolist() == [7, 8, 9]
    assert places.recall(found, truth) == (1 / 3, 1, 1)


def test_frames_tell_right_from_wrong(data):
    queries = data.test.where(data.test.number > 0)
    found = np.stack([queries.place, queries.place + 1, queries.place - 1], axis=1)
    figure = places.picture(places.Result("VLAD", "k-means", "", 4, (1,), (1,), 1.0), found, data)
    frames = [axes.spines["left"].get_edgecolor() for axes in figure.axes]
    right, wrong = to_rgba("#2ca02c"), to_rgba("#d62728")
    assert len(frames) == 20 and frames[1::4] == [right] * 5 and frames[2::4] == frames[3::4] == [wrong] * 5
    assert "VLAD, from k-means:" in figure._suptitle.get_text()


def test_chart_has_a_bar_for_each_result(data, options):
    results = [
        places.Result(method, start, whitening, 4, (height, 1, 1), (1, 1, 1), 1.0)
        for method, start, height in [("mean", None, 0.1), ("NetFV", "k-means", 0.5), ("NetFV", "random", 0.3)]
        for whitening in ("", "PCA")
    ]
    (axes,) = places.chart(results, places.caption(data, options)).axes
    assert [bar.get_height() for bar in axes.patches] == [0.1, 0.5, 0.3] * 2
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["mean", "NetFV\nk-means", "NetFV\nrandom"]
    assert f"; {options.epochs} epochs, seed {options.seed}" in places.caption(data, options)


def test_quick_settings_are_smaller():
    usual, quick = places.parsed([]), places.parsed(["--quick", "--epochs", "7"])
    assert quick.epochs == 7 and quick.train_views < usual.train_views and quick.clusters < usual.clusters
    assert quick.stride > usual.stride


def test_a_cache_that_cannot_be_read_is_an_error_of_one_line(directory, options, data, tmp_path):
    (name,) = os.listdir(directory)
    (tmp_path / name).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=f"{name}: expected a cache of views.* Delete it"):
        photographs.load(str(tmp_path), options.seed, options.train_views, options.stride, workers=1)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="file"):
        photographs.load(str(tmp_path / "file"), 1, 1, 160, workers=1)


def test_a_stride_that_leaves_too_few_places_is_an_error_of_one_line(options, data, monkeypatch):
    few = [part.where(part.place < 3) for part in data[1:4]]
    monkeypatch.setattr(photographs, "load", lambda *_: [data.places] + few)
    with pytest.raises(UserError, match="--stride: expected at least 16 places for training .* got 3, 0, 0 with 224"):
        places.load(options)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--methods", "SIFT"],
        ["--start", "zero"],
        ["--epochs", "0"],
        ["--train-views", "-1"],
        ["--stride", "0.5"],
        ["--clusters", "many"],
        ["--learning-rate", "nan"],
        ["--margin", "0"],
        ["--whitened-width", "0"],
        ["--workers", "0"],
        ["--seed", "-1"],
        ["--output", os.path.join("no", "such", "directory", "chart.png")],
        ["--picture", "."],
    ],
    ids=" ".join,
)
def test_bad_arguments_are_errors_of_one_line(arguments, assert_refused):
    assert_refused(places.parsed, arguments)
