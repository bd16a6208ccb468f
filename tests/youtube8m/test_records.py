"""Records: what is written comes back; frames are sampled; bad files are named."""

import bz2
import dataclasses
import gzip
import os
import re
import zlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from yt8m import digits, errors, presets, records, writing
from yt8m.settings import Data

SIZES = {"rgb": 5, "audio": 3}
# The settings of the digits that are about the data.
DIGITS = {name: value for name, value in presets.DIGITS.items() if name in vars(Data())}


def reading(*files, **values):
    """The `Data` for reading small files."""
    result = Data([str(file) for file in files], readers=2, feature_sizes=tuple(SIZES.values()), num_classes=7)
    return dataclasses.replace(result, **{"max_frames": 6, "frame_sampling": "all", "batch_size": 3, **values})


def batches(chosen, training=False, seed=0, limit=None):
    """The dataset's batches, a list of dicts of arrays."""
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(records.dataset(chosen, training, seed))
        following = iterator.get_next()
        session.run(iterator.initializer)
        result = []
        while limit is None or len(result) < limit:
            try:
                result.append(session.run(following))
            except tf.errors.OutOfRangeError:
                break
        return result


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def problem(chosen, **arguments):
    """The problem that reading the records reports."""
    with pytest.raises((errors.UserError, tf.errors.InvalidArgumentError)) as error:
        batches(chosen, **arguments)
    return errors.problem_of(error.value)


def frames(rng, count, **sizes):
    return {name: rng.randint(0, 256, (count, size)).astype(np.uint8) for name, size in dict(SIZES, **sizes).items()}


def dequantised(features):
    return np.concatenate(list(features.values()), axis=1) * (4.0 / 255) + 4 / 512 - 2


@pytest.mark.parametrize("key", ["id", "video_id"])
def test_round_trip(tmp_path, rng, key):
    written = [frames(rng, count) for count in (4, 6, 9, 1)]
    labels = [[0], [6, 2], None, []]
    path = tmp_path / "a.tfrecord"
    writing.write(
        str(path),
        [writing.example(b"video%d" % n, features, labels[n], key) for n, features in enumerate(written)],
    )
    parts = batches(reading(path))
    assert [len(part["id"]) for part in parts] == [3, 1]
    read = joined(parts)
    assert list(read["id"]) == [b"video0", b"video1", b"video2", b"video3"]
    assert list(read["num_frames"]) == [4, 6, 6, 1]
    assert read["frames"].dtype == np.float32 and read["frames"].shape == (4, 6, 8)
    for came, count, features in zip(read["frames"], read["num_frames"], written):
        np.testing.assert_allclose(came[:count], dequantised(features)[:6], atol=3e-7)
        assert not came[count:].any()
    expected = np.zeros((4, 7), bool)
    expected[0, 0] = expected[1, 6] = expected[1, 2] = True
    np.testing.assert_array_equal(read["labels"], expected)


def test_one_feature_in_any_order(tmp_path, rng):
    features = frames(rng, 2)
    writing.write(str(tmp_path / "a"), [writing.example(b"v", features, [1])])
    (only,) = batches(reading(tmp_path / "a", feature_names=("audio",), feature_sizes=(3,)))
    np.testing.assert_allclose(only["frames"][0, :2], dequantised({"audio": features["audio"]}), atol=3e-7)
    (turned,) = batches(reading(tmp_path / "a", feature_names=("audio", "rgb"), feature_sizes=(3, 5)))
    turned_features = {"audio": features["audio"], "rgb": features["rgb"]}
    np.testing.assert_allclose(turned["frames"][0, :2], dequantised(turned_features), atol=3e-7)


@pytest.fixture
def numbered(tmp_path):
    """Files of 40 videos, of 1 to 10 frames, each byte of which is the number of the frame."""
    names = []
    for shard in range(4):
        names.append(str(tmp_path / f"numbered{shard}"))
        examples = []
        for number in range(shard * 10, shard * 10 + 10):
            count = number % 10 + 1
            places = np.arange(count, dtype=np.uint8)[:, np.newaxis]
            features = {name: np.repeat(places, size, axis=1) for name, size in SIZES.items()}
            examples.append(writing.example(b"%d" % number, features, [number % 7]))
        writing.write(names[-1], examples)
    return names


def places(batch):
    """The numbers of the frames in a batch of `numbered`, [B, F]; 127.002 for padding."""
    return (batch["frames"][:, :, 0] - 4 / 512 + 2) * 255 / 4


def test_random_frames(numbered):
    read = joined(batches(reading(*numbered, frame_sampling="random", iterations=50, max_frames=8)))
    drawn = np.round(places(read)).astype(int)
    assert drawn.shape == (40, 50)
    for video, of_video, count in zip(read["id"], drawn, read["num_frames"]):
        # In all but one of 800 cases, the 50 draws have each real frame within max_frames. They have no other frame.
        length = min(int(video) % 10 + 1, 8)
        assert count == length
        assert of_video.max() < length and len(set(of_video)) >= length - 1
        assert length == 1 or list(of_video) != sorted(of_video)


def test_random_frames_are_not_more_than_are_drawn(numbered):
    read = joined(batches(reading(*numbered, frame_sampling="random", iterations=4)))
    assert list(read["num_frames"]) == [min(int(video) % 10 + 1, 4) for video in read["id"]]
    assert (places(read) < 100).all()  # Real frames fill the list, beyond num_frames too.


def test_random_run(numbered):
    read = joined(batches(reading(*numbered, frame_sampling="run", iterations=4, max_frames=9)))
    starts = set()
    for video, of_video, count in zip(read["id"], places(read), read["num_frames"]):
        length = min(int(video) % 10 + 1, 9)
        assert count == min(length, 4)
        run = np.round(of_video[:count]).astype(int)
        np.testing.assert_array_equal(run, run[0] + np.arange(count))
        assert 0 <= run[0] <= length - count
        starts.add(run[0])
    assert starts == set(range(6))


def test_sampling_repeats_with_its_seed_alone(numbered):
    chosen = reading(*numbered, frame_sampling="random", iterations=5)
    first, again, other = [joined(batches(chosen, seed=seed))["frames"] for seed in (3, 3, 4)]
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_training_shuffles_and_repeats(numbered):
    chosen = reading(*numbered, shuffle_buffer=25, batch_size=16)
    parts = batches(chosen, training=True, limit=25)
    assert {len(part["id"]) for part in parts} == {16}
    ids = list(joined(parts)["id"])
    counts = np.unique(ids, return_counts=True)[1]
    assert len(counts) == 40 and counts.min() >= 8  # There are 10 passes, the last of which are not complete.
    assert ids[:40] != sorted(ids[:40], key=int) and ids[:40] != ids[40:80]
    assert ids != list(joined(batches(chosen, training=True, seed=1, limit=25))["id"])


@pytest.fixture
def good(tmp_path, rng):
    path = tmp_path / "good"
    writing.write(str(path), [writing.example(b"g%d" % n, frames(rng, 4), [1]) for n in range(5)])
    return path


BAD_VIDEOS = {
    "a missing feature": ({"audio": None}, [1], "expected a feature audio (feature_names) of frames, got rgb"),
    "a feature of another size": (
        {"rgb": (3, 4)}, [1], "expected 5 bytes for each frame of feature rgb (feature_sizes), got 4"
    ),
    "a label too large": ({}, [1, 7], "expected labels from 0 to 6 (num_classes), got 7"),
    "a negative label": ({}, [-1], "expected labels from 0 to 6 (num_classes), got -1"),
    "different frame counts": (
        {"audio": (2, 3)}, [1], "expected as many frames of each feature, got 3 of rgb, 2 of audio"
    ),
    "no frames": ({"rgb": (0, 5), "audio": (0, 3)}, [1], "expected frames, got none"),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(BAD_VIDEOS))
@pytest.mark.parametrize("skip_corrupt", [False, True])
def test_bad_video(tmp_path, good, kind, skip_corrupt, capsys):
    changes, labels, cause = BAD_VIDEOS[kind]
    shapes = dict({"rgb": (3, 5), "audio": (3, 3)}, **changes)
    features = {name: np.zeros(shape, np.uint8) for name, shape in shapes.items() if shape is not None}
    path = tmp_path / "bad"
    writing.write(str(path), [good_example(), writing.example(b"v", features, labels), good_example()])
    if not skip_corrupt:
        assert problem(reading(good, path)) == f"{path}: video v: {cause}"
        return
    assert len(joined(batches(reading(good, path, skip_corrupt=True)))["id"]) == 7
    error = capsys.readouterr().err
    assert error.endswith(f"{path}: video v: {cause}; skipped it, 1 so far\n") and error.count("\n") == 1


def good_example():
    return writing.example(b"g", {name: np.zeros((2, size), np.uint8) for name, size in SIZES.items()}, [1])


def test_no_id(tmp_path):
    example = writing.example(
        b"v", {"rgb": np.zeros((1, 5), np.uint8), "audio": np.zeros((1, 3), np.uint8)}, [1], "key"
    )
    writing.write(str(tmp_path / "bad"), [example])
    cause = "expected its name as id or video_id, got neither"
    assert problem(reading(tmp_path / "bad")) == f"{tmp_path / 'bad'}: video ?: {cause}"


def video_level_record():
    example = tf.train.Example()
    example.features.feature["video_id"].bytes_list.value.append(b"v")
    example.features.feature["mean_rgb"].float_list.value.extend([0.5] * 5)
    return example.SerializeToString()


def test_video_level_record(tmp_path):
    writing.write(str(tmp_path / "bad"), [video_level_record()])
    cause = "expected a feature rgb (feature_names) of frames, got none, as in video-level records"
    assert problem(reading(tmp_path / "bad")) == f"{tmp_path / 'bad'}: video v: {cause}"


def damaged(data, kind):
    """The bytes of a shard of five videos of the same size, damaged, and how many bytes of its records are left."""
    size = len(data) // 5
    return {
        "truncated": (data[:-7], 4 * size),
        "truncated in a length": (data[: 3 * size + 5], 3 * size),
        "corrupt": (data[: size + 40] + bytes([data[size + 40] ^ 1]) + data[size + 41 :], size),
        "corrupt from the first byte on": (b"\xff" + data[1:], 0),
    }[kind]


DAMAGES = ["truncated", "truncated in a length", "corrupt", "corrupt from the first byte on"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_shard(tmp_path, good, capsys, kind):
    path = tmp_path / "sch\u00e4dlich"
    data, left = damaged(good.read_bytes(), kind)
    path.write_bytes(data)
    cause = f"{path}: corrupt or truncated: the readable records have {left} bytes out of {len(data)}"
    assert problem(reading(good, path)) == cause
    read = joined(batches(reading(good, path, skip_corrupt=True)))
    assert len(read["id"]) == 5 + left // (len(good.read_bytes()) // 5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].endswith(f"{cause}; skipped the rest, 1 so far")


def test_content_that_is_not_an_example(tmp_path, good):
    writing.write(str(tmp_path / "bad"), [b"anything"])
    assert problem(reading(good, tmp_path / "bad")).endswith(
        "bad: video ?: expected a SequenceExample, got other content"
    )


@pytest.mark.parametrize("end", [b"\x7b\x7c", b"\x0a\x0c\x0a\x0a\x0a\x01x\x12\x05\x7a\x03abc"])
def test_no_video_is_lost(tmp_path, good, capsys, end):
    """Python's protobuf ignores these unknown parts. Some versions of TensorFlow refuse the record."""
    path = tmp_path / "strange"
    writing.write(str(path), [good_example(), good_example() + end, good_example()])
    num_read = len(joined(batches(reading(path, skip_corrupt=True)))["id"])
    lines = capsys.readouterr().err.splitlines()
    assert num_read + len(lines) == 3
    if lines:
        assert "video g: expected a SequenceExample that TensorFlow can read" in lines[0]
        assert "video g: expected a SequenceExample that TensorFlow can read" in problem(reading(path))


def test_no_video_is_both_read_and_skipped(tmp_path, capsys):
    """TensorFlow reads a name that is not UTF-8. Some versions of Python's protobuf refuse it."""
    strange = good_example() + b"\x0a\x0a\x0a\x08\x0a\x02\xff\xfe\x12\x02\x1a\x00"
    path = tmp_path / "strange"
    writing.write(str(path), [good_example(), strange, writing.example(b"v", {"rgb": np.zeros((1, 5), np.uint8)})])
    num_read = len(joined(batches(reading(path, skip_corrupt=True)))["id"])
    assert num_read + len(capsys.readouterr().err.splitlines()) == 3


def changed(change):
    """A good example, changed."""
    example = tf.train.SequenceExample.FromString(good_example())
    change(example.context.feature, example.feature_lists.feature_list["rgb"].feature[1])
    return example.SerializeToString()


@pytest.mark.parametrize(
    "change, cause",
    [
        (lambda context, frame: context["labels"].bytes_list.value.append(b"1"), "labels as integers, got 1 of bytes"),
        (lambda context, frame: context["id"].int64_list.value.append(7), "one id of bytes, got 1 of int64"),
        (lambda context, frame: context["id"].bytes_list.value.append(b"w"), "one id of bytes, got 2 of bytes"),
        (
            lambda context, frame: frame.float_list.value.append(1),
            "of bytes for each frame of feature rgb, got 1 of float",
        ),
        (lambda context, frame: frame.bytes_list.value.append(b"1"), "frame of feature rgb, got 2 of bytes"),
        (lambda context, frame: frame.Clear(), "frame of feature rgb, got no value"),
    ],
)
def test_values_of_another_type_are_named(tmp_path, good, capsys, change, cause):
    path = tmp_path / "bad"
    writing.write(str(path), [good_example(), changed(change), good_example()])
    assert re.match(f"{path}: video .: expected .*{cause}$", problem(reading(good, path)))
    assert len(joined(batches(reading(good, path, skip_corrupt=True)))["id"]) == 7
    error = capsys.readouterr().err
    assert cause in error and "corrupt" not in error and error.endswith("; skipped it, 1 so far\n")


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_compressed_shards(tmp_path, good, compress):
    plain = good.read_bytes()
    path = tmp_path / "compressed"
    path.write_bytes(compress(plain))
    both = [joined(batches(reading(file))) for file in (good, path)]
    np.testing.assert_array_equal(both[0]["frames"], both[1]["frames"])
    path.write_bytes(compress(plain)[:-60])
    assert "compressed: corrupt or truncated: the readable records have" in problem(reading(path))


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("damage", ["cut in the header", "cut in the first record", "a changed byte"])
def test_compressed_shards_that_are_damaged_early(tmp_path, rng, good, capsys, compress, damage):
    path = tmp_path / "compressed"
    writing.write(str(path), [writing.example(b"v", frames(rng, 4000), [1])])
    data = bytearray(compress(path.read_bytes()))
    if damage == "a changed byte":
        data[5000] ^= 255
    path.write_bytes(data[: {"cut in the header": 2, "cut in the first record": 60}.get(damage)])
    cause = "compressed: corrupt or truncated: the readable records have 0 bytes"
    assert cause in problem(reading(good, path))
    assert len(joined(batches(reading(good, path, skip_corrupt=True)))["id"]) == 5
    assert capsys.readouterr().err.count(cause) == 1


def test_a_second_compressed_stream_is_not_lost(tmp_path, good):
    """TensorFlow reads only the first stream of zlib, and on 1.15 also of gzip."""
    path = tmp_path / "compressed"
    path.write_bytes(zlib.compress(good.read_bytes()) * 2)
    size = good.stat().st_size
    lost = f"{path}: corrupt or truncated: the readable records have {size} bytes out of {2 * size}"
    assert problem(reading(path)) == lost
    path.write_bytes(gzip.compress(good.read_bytes()) * 2)
    if tf.__version__.startswith("1."):
        assert problem(reading(path)) == lost
    else:
        assert len(joined(batches(reading(path)))["id"]) == 10


def test_a_compressed_shard_without_its_end(tmp_path, good):
    """All its records can still be read."""
    path = tmp_path / "compressed"
    path.write_bytes(gzip.compress(good.read_bytes())[:-8])
    assert re.match(f"{path}: corrupt or truncated: the readable records have [0-9]+ bytes$", problem(reading(path)))


@pytest.mark.parametrize("name", ["br [1]/tr[0].x", "a*?.x", "{b}.x", "c\\d.x", "\u00fc \u30e2.x"])
def test_names_that_exist_are_not_patterns(tmp_path, good, name, monkeypatch):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(good.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert records.matching([str(path)]) == [str(path)]
    assert records.matching([name]) == [name]
    assert records.matching([str(path.parent / "*.x")]) == [str(path)]
    assert len(joined(batches(reading(path)))["id"]) == 5
    path.write_bytes(good.read_bytes()[:-1])
    assert problem(reading(path)).startswith(f"{path}: corrupt or truncated")


def test_a_file_of_several_names_is_read_once(tmp_path, good, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(good)
    assert records.matching([str(good), f"./{good.name}", "*"]) == ["link"]
    assert records.matching(["link", f"./{good.name}", str(good)]) == [str(good)]


def test_names_in_the_home_directory(tmp_path, good, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert records.matching([os.path.join("~", name) for name in ("good", "g*")]) == [str(good)]


def test_paths_that_are_not_files_are_named(tmp_path):
    assert problem(reading(f"{tmp_path}/")).startswith(f"{tmp_path}/: expected files, got a directory")
    os.symlink("nowhere", str(tmp_path / "broken"))
    for name in ("broken", "bro*"):
        assert problem(reading(tmp_path / name)) == f"{tmp_path / 'broken'}: expected a file that can be read"
    if hasattr(os, "mkfifo"):
        os.mkfifo(str(tmp_path / "pipe"))
        for name in ("pipe", "p*"):
            assert problem(reading(tmp_path / name)) == f"{tmp_path / 'pipe'}: expected a file that can be read"
    assert problem(reading("nowhere://a/*")).startswith("nowhere://a/*: ")
    for name in ("v\udcff", "\udcc3\udcbc"):  # Neither UTF-8 nor UTF-8 in another locale can be used.
        assert problem(reading(name)) == f"{name}: expected a name in UTF-8, and a locale whose encoding is UTF-8"


@pytest.mark.parametrize(
    "content, kind",
    [
        (b"", "an empty file"),
        (lambda: gzip.compress(b""), "an empty file"),
        (b"VideoId,LabelConfidencePairs\nv,1 0.5\n", "a file of another format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "a file of another format"),
        (b"\x93NUMPY\x01\x00v\x00" + bytes(30), "a file of another format"),
        (lambda: bz2.compress(b"videos"), "a file of another format"),
        (lambda: good_example(), "a SequenceExample or an Example outside of a TFRecord"),
        (lambda: video_level_record(), "a SequenceExample or an Example outside of a TFRecord"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, good, content, kind):
    path = tmp_path / "other"
    path.write_bytes(content() if callable(content) else content)
    assert problem(reading(good, path)) == f"{path}: expected TFRecords, got {kind}"


def test_training_needs_labels(tmp_path, good, rng):
    path = tmp_path / "unlabelled"
    writing.write(str(path), [writing.example(b"v", frames(rng, 4))] * 3)
    records.check(reading(path), labelled=False)
    records.check(reading(path, good))
    with pytest.raises(errors.UserError, match="unlabelled: expected videos with labels to train on, got none$"):
        records.check(reading(path))


def test_a_hundred_malformed_records(tmp_path, rng, capsys):
    """Each is read, or reported in one line that names file and video."""
    for number in range(100):
        example = tf.train.SequenceExample.FromString(good_example())
        features = [*example.context.feature.values(), *example.feature_lists.feature_list["rgb"].feature]
        for _ in range(rng.randint(3)):
            feature = features[rng.randint(len(features))]
            kind = ["bytes_list", "int64_list", "float_list", "Clear"][rng.randint(4)]
            if kind == "Clear":
                feature.Clear()
                continue
            value = {"bytes_list": b"123456"[: rng.randint(4, 7)], "int64_list": rng.randint(9), "float_list": 0.5}
            values = [value[kind]] * rng.randint(3)
            getattr(feature, kind).value.extend(values)
        if rng.rand() < 0.2:
            del example.feature_lists.feature_list[["rgb", "audio"][rng.randint(2)]].feature[rng.randint(2)]
        serialized = example.SerializeToString()
        if rng.rand() < 0.2:
            serialized = serialized[: rng.randint(len(serialized))]
        writing.write(str(tmp_path / f"m{number}"), [good_example(), serialized])
    read = joined(batches(reading(tmp_path / "m*", skip_corrupt=True)))["id"]
    lines = capsys.readouterr().err.splitlines()
    assert len(read) + len(lines) == 200 and 30 < len(lines) < 90
    for line in lines:
        assert re.search(r"/m\d+: video .: expected .*, got .*; skipped it, \d+ so far$", line), line


def test_training_on_damaged_shards_alone_is_refused(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"damaged")
    chosen = reading(tmp_path / "[ab]", skip_corrupt=True)
    with pytest.raises(errors.UserError, match="expected videos with labels to train on, got none$"):
        records.check(chosen)
    assert not capsys.readouterr().err  # The dataset reports this, and only once.
    assert not batches(chosen)
    assert "2 so far" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["</problem>", "<problem>", "\\x3c", "v" * 100000])
def test_a_video_of_any_name_is_named(tmp_path, name):
    path = tmp_path / "bad"
    writing.write(str(path), [writing.example(name.encode("ascii"), {"rgb": np.zeros((1, 5), np.uint8)}, [1])])
    assert problem(reading(path)).startswith(f"{path}: video {name[:100]}: expected a feature audio")


def test_no_files_match(tmp_path, good):
    for pattern in (tmp_path / "none*", tmp_path / "none" / "*"):
        assert problem(reading(good, pattern)) == f"{pattern}: no files match"


def test_check_finds_wrong_flags(good):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        records.check(reading(good, feature_sizes=(6, 3)))
    assert errors.problem_of(error.value).endswith("feature rgb (feature_sizes), got 5")
    records.check(reading(good))


def test_digits(tmp_path):
    directory = str(tmp_path / "digits")
    data = {split: Data(digits=directory) for split in digits.NUM_SHARDS}
    for split in data:
        digits.provide(data[split], split)
    files = {split: data[split].files for split in data}
    assert not [path for path in (tmp_path / "digits").iterdir() if path.suffix != ".tfrecord"]
    chosen = {split: reading(*names, **dict(DIGITS, batch_size=500)) for split, names in files.items()}
    read = {split: joined(batches(chosen[split])) for split in files}
    ids = np.concatenate([read[split]["id"] for split in read])
    assert len(ids) == len(set(ids)) == 1797
    assert not read["test"]["labels"].any()
    for split in ("train", "validate"):
        assert (read[split]["labels"].sum(axis=1) == 1).all() and read[split]["labels"].any(axis=0).all()
    assert len(set(read["train"]["num_frames"])) > 5
    for part in read.values():
        # Blank patches are left out, and the profiles are the sums of the patch.
        levels = np.round((part["frames"] - 4 / 512 + 2) * 255 / 4)
        is_real = np.arange(36) < part["num_frames"][:, np.newaxis]
        assert (levels[is_real][:, :9].max(axis=1) > 0).all()
        patches = levels[is_real][:, :9].reshape(-1, 3, 3) / 255 * 16
        profiles = levels[is_real][:, 9:] / 255 * 48
        expected = np.concatenate([patches.sum(axis=2), patches.sum(axis=1)], axis=1)
        np.testing.assert_allclose(profiles, expected, atol=0.2)
    before = (tmp_path / "digits" / "train00.tfrecord").stat().st_mtime_ns
    digits.provide(Data(digits=directory), "train")
    assert (tmp_path / "digits" / "train00.tfrecord").stat().st_mtime_ns == before


def test_quantised_is_what_is_read_back(tmp_path, rng):
    written = {"rgb": rng.uniform(-2, 2, [6, 5]), "audio": np.array([[-5.0, 5.0, 0.0]] * 6)}
    features = {name: writing.quantised(values) for name, values in written.items()}
    path = str(tmp_path / "own.tfrecord")
    writing.write(path, [writing.example(b"v", features, [1])])
    read = joined(batches(reading(path)))["frames"][0]
    assert np.abs(read[:, :5] - np.clip(written["rgb"], 4 / 512 - 2, 4 / 512 + 2)).max() <= 2 / 255 + 1e-6
    np.testing.assert_allclose(read[:, 5:7], [[4 / 512 - 2, 4 / 512 + 2]] * 6, rtol=1e-6)
    assert (writing.quantised(read[:, :5]) == features["rgb"]).all()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: writing.quantised([1.0, np.nan]), ValueError, "values: expected finite numbers, got NaN"),
        (lambda: writing.example(b"v", {"rgb": np.ones([2, 3])}), TypeError, "expected uint8, .* got float64 for rgb"),
        (lambda: writing.example(b"v", {"rgb": [[1, 2]]}), TypeError, "expected uint8, .* got list for rgb"),
        (lambda: writing.example(b"v", {"rgb": np.ones(3, np.uint8)}), ValueError, "size], got .3,. for rgb"),
    ],
)
def test_arrays_that_are_not_frames_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
