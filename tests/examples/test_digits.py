"""examples/digits.py: its accuracies, the same in each run; its chart; its command line."""

import os
import re

import digits
import numpy as np
import pytest
from loupe_examples.errors import UserError
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

pytestmark = pytest.mark.usefixtures("one_thread")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(tmp_path, capsys):
    """A function that runs the program, and returns the accuracies that it prints, by method and kind."""
    output = tmp_path / "digits.png"

    def run(*arguments):
        digits.main(list(arguments) + ["--output", str(output)])
        heading, *rows, chart = capsys.readouterr().out.splitlines()
        assert heading.split() == ["pooling", "gating", "accuracy", "seconds"]
        assert chart == f"chart: {output}"
        assert output.read_bytes().startswith(PNG) and os.listdir(str(tmp_path)) == ["digits.png"]
        return {(row.split()[0], row.split()[1]): float(row.split()[2]) for row in rows}

    return run


def test_accuracies(run):
    accuracies = run("--methods", "mean", "NetVLAD", "--epochs", "5", "--start", "k-means")
    assert list(accuracies) == [(method, kind) for method in ("mean", "NetVLAD") for kind in ("plain", "gated")]
    assert min(accuracies["NetVLAD", "plain"], accuracies["NetVLAD", "gated"]) >= 0.85
    assert max(accuracies["mean", "plain"], accuracies["mean", "gated"]) < 0.8


@pytest.mark.long
def test_accuracies_of_all_methods(run):
    accuracies = run()
    assert len(accuracies) == 2 * len(digits.METHODS)
    for method in ("NetRVLAD", "NetVLAD", "NetFV", "GhostVLAD", "NeXtVLAD"):
        assert accuracies[method, "plain"] >= 0.95
        assert accuracies[method, "gated"] >= accuracies[method, "plain"] - 0.02
        assert accuracies["mean", "gated"] < accuracies[method, "plain"]


@pytest.mark.long
def test_same_numbers_with_one_seed(run):
    short = ["--epochs", "1", "--methods", "NetVLAD", "--gating", "plain"]
    first = run("--seed", "7", *short)
    assert run("--seed", "7", *short) == first
    assert run("--seed", "8", *short) != first


def test_lists_of_patches():
    data = digits.digits(positions=True)
    lists = np.concatenate([data.train_lists, data.test_lists])
    assert lists.shape == (1797, 36, 11) and lists.dtype == np.float32
    # The top left pixels of the patches are the image without its last two rows and columns.
    corners = lists[:, :, 0].reshape(-1, 6, 6) * 16
    images = load_digits().images[:, :6, :6]
    assert sorted(map(bytes, corners.astype(np.uint8))) == sorted(map(bytes, images.astype(np.uint8)))
    np.testing.assert_array_equal(lists[5, :, 9:] * 5, [[i, j] for i in range(6) for j in range(6)])
    np.testing.assert_array_equal(digits.digits(positions=False).test_lists, data.test_lists[:, :, :9])


def test_lists_without_blank_patches():
    whole, data = digits.digits(positions=False), digits.digits(positions=False, lengths="given", max_samples=40)
    assert (data.has_lengths, whole.has_lengths) == (True, False)
    assert data.train_lists.shape[1:] == (40, 9)
    for before, after, length in zip(whole.test_lists, data.test_lists, data.test_lengths):
        np.testing.assert_array_equal(after[:length], before[before.any(axis=1)])
        assert not after[length:].any()
    assert min(data.test_lengths) < 36 == max(data.test_lengths)
    filled = digits.digits(positions=False, lengths="filled", max_samples=40)
    np.testing.assert_array_equal(filled.test_lists, data.test_lists)
    assert not filled.has_lengths


@pytest.mark.parametrize(
    "methods", [["NetVLAD"], pytest.param(list(digits.METHODS), marks=pytest.mark.long)], ids=["one", "all"]
)
def test_lengths_make_the_padding_irrelevant(methods, run):
    short = ["--lengths", "given", "--gating", "plain", "--epochs", "1", "--methods", *methods]
    few, many = (run(*short, "--max-samples", max_samples) for max_samples in ("36", "60"))
    assert len(few) == len(methods)
    assert all(abs(many[key] - few[key]) <= 0.01 for key in few)


@pytest.mark.parametrize("kinds", [["plain"], ["gated"], ["plain", "gated"]], ids="-".join)
def test_chart_tells_good_accuracies_apart(kinds):
    options = digits.parsed(["--gating"] + kinds)
    accuracies = [0.558, 0.978, 0.982, 0.987, 0.991]
    results = [digits.Result(*pair, 1.0) for pair in zip(options.methods, kinds * 5, accuracies)]
    if len(kinds) == 1:
        (axes,) = digits.chart(results, 450, options).axes
        scale = axes.transAxes.inverted()
        tops = [scale.transform(axes.transData.transform((0, bar.get_height())))[1] for bar in axes.patches]
        assert len(tops) == 5 and min(np.diff(tops)) > 0.02 and 0.05 < tops[0] and tops[-1] < 1
    results = [digits.Result("mean", kind, accuracy, 1.0) for kind, accuracy in zip(kinds, (0.0, 1.0))]
    options.methods = ["mean"]
    (axes,) = digits.chart(results, 450, options).axes
    assert [bar.get_height() for bar in axes.patches] == [0.0, 1.0][: len(kinds)]


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], "36 patches of 3x3 pixels, without positions; 450 test digits, 80 epochs, seed 1"),
        (
            ["--positions", "--seed", "2"],
            "36 patches of 3x3 pixels, with positions; 450 test digits, 80 epochs, seed 2",
        ),
        (["--lengths", "given", "--max-samples", "50"], "up to 36 patches .*, filled up to 50, lengths given; 450"),
        (["--lengths", "filled"], "up to 36 patches .*, filled up to 36, lengths not given; 450"),
        (["--max-samples", "50"], "36 patches .*, filled up to 50, lengths not given; 450"),
        (["--start", "k-means"], "80 epochs, from k-means, seed 1"),
    ],
    ids=["plain", "positions", "given", "filled", "longer", "k-means"],
)
def test_caption_says_what_was_pooled(arguments, expected):
    assert re.search(expected, digits.caption(450, digits.parsed(arguments)))


def test_an_output_that_turns_out_bad_stays_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "trained", lambda method, gating, *_: digits.Result(method, gating, 0.5, 1.0))
    output = tmp_path / "digits.png"
    output.write_bytes(b"before")

    def savefig(figure, path, **arguments):
        with open(path, "wb") as file:
            file.write(PNG)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(UserError, match="digits.png: No space left on device"):
        digits.main(["--output", str(output)])
    assert output.read_bytes() == b"before" and os.listdir(str(tmp_path)) == ["digits.png"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--methods", "NetBOW"],
        ["--methods"],
        ["--gating", "both"],
        ["--start", "zero"],
        ["--lengths", "unknown"],
        ["--max-samples", "35"],
        ["--epochs", "0"],
        ["--batch-size", "-3"],
        ["--clusters", "many"],
        ["--width", "0"],
        ["--learning-rate", "nan"],
        ["--decay", "1"],
        ["--seed", "-1"],
        ["--output", os.path.join("no", "such", "directory", "digits.png")],
        ["--output", "."],
    ],
    ids=" ".join,
)
def test_bad_arguments_are_errors_of_one_line(arguments, assert_refused):
    assert_refused(digits.parsed, arguments)
