"""Submission files: written whole or not at all, read back, averaged; bad ones are refused."""

import gzip
import os
import sys
import threading

import ensemble
import numpy as np
import pytest
from yt8m import commandline, errors, submission

HEADER = "VideoId,LabelConfidencePairs\n"


@pytest.fixture
def files(tmp_path):
    """A function that writes submission files from texts without the header, and returns their paths."""

    def write(*texts):
        paths = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.csv"
            path.write_bytes(text if isinstance(text, bytes) else (HEADER + text).encode("utf-8"))
            paths.append(str(path))
        return paths

    return write


def averaged(tmp_path, *arguments):
    """What ensemble.py writes, as lists of (class, confidence) by video."""
    output = tmp_path / "output.csv"
    ensemble.main(list(arguments) + ["--output", str(output)])
    assert output.read_bytes().startswith(HEADER.encode("ascii"))
    assert not list(tmp_path.glob("*.partial"))
    return {video: list(zip(classes, confidences)) for video, classes, confidences in submission.read(str(output))}


def test_average_of_equal_weights(tmp_path, files):
    paths = files("a,3 0.5 1 0.25\nb,2 1\n", "a,1 0.75 4 0.125\nb,2 0.5 7 0.25\n")
    expected = {"a": [(1, 0.5), (3, 0.25), (4, 0.0625)], "b": [(2, 0.75), (7, 0.125)]}
    assert averaged(tmp_path, *paths) == expected


def test_weights_count_by_their_ratio(tmp_path, files):
    paths = files("a,3 0.5 1 0.25\n", "a,1 0.75\n")
    assert averaged(tmp_path, *paths, "--weights", "6,2") == {"a": [(1, 0.375), (3, 0.375)]}


def test_videos_may_come_in_any_order(tmp_path, files):
    paths = files("a,1 0.5\nb,2 0.5\nc,3 0.5\n", "c,3 0.25\na,1 0.25\nb,2 0.25\n", "b,2 0\nc,3 0\na,1 0\n")
    result = averaged(tmp_path, *paths)
    assert list(result) == ["a", "b", "c"]
    assert result == {"a": [(1, 0.25)], "b": [(2, 0.25)], "c": [(3, 0.25)]}


def test_only_the_best_classes_remain(tmp_path, files, rng):
    confidences = rng.permutation(30) / 32.0
    text = "a," + " ".join(f"{label} {confidence}" for label, confidence in enumerate(confidences)) + "\n"
    by_confidence = sorted(enumerate(confidences), key=lambda pair: -pair[1])
    assert averaged(tmp_path, *files(text)) == {"a": by_confidence[:20]}
    assert averaged(tmp_path, *files(text), "--top", "3") == {"a": by_confidence[:3]}


def test_average_of_many_random_files_is_that_of_dense_arrays(tmp_path, files, rng):
    dense = np.where(rng.rand(4, 12, 40) < 0.3, rng.rand(4, 12, 40), 0)
    texts = [
        "".join(
            "v{},{}\n".format(video, " ".join(f"{label} {row[label]}" for label in np.flatnonzero(row)))
            for video, row in enumerate(confidences)
        )
        for confidences in dense
    ]
    result = averaged(tmp_path, *files(*texts), "--weights", "1,2,3,4", "--top", "40")
    expected = np.average(dense, axis=0, weights=[1, 2, 3, 4])
    for video, row in enumerate(expected):
        pairs = result[f"v{video}"]
        assert [label for label, _ in pairs] == [label for label in np.argsort(-row, kind="stable") if row[label] > 0]
        np.testing.assert_allclose([confidence for _, confidence in pairs], -np.sort(-row)[: len(pairs)], rtol=1e-7)


def published_average(paths):
    """The average of files as in 2017: for each video, a dict of the confidences of its 20 best classes.

    The program of 2017 read the first half of the words after the id, 25 of the 50 pairs of a line, and cut each
    confidence off after five decimals.
    """
    totals = {}
    for path in paths:
        with open(path) as file:
            next(file)
            for line in file:
                video, pairs = line.split(",")
                words = pairs.split()
                total = totals.setdefault(video, {})
                for place in range(0, len(words) // 2, 2):
                    label = int(words[place])
                    total[label] = total.get(label, 0) + int(10**5 * float(words[place + 1]))
    return {
        video: {label: total[label] / 10**5 / len(paths) for label in sorted(total, key=total.get)[-20:]}
        for video, total in totals.items()
    }


def test_published_average_of_seven(tmp_path, files, rng):
    texts = []
    for confidences in rng.rand(7, 30, 80) ** 4:
        lines = []
        for number, row in enumerate(confidences):
            best = np.argsort(-row)[:50]
            lines.append(f"v{number}," + " ".join(f"{label} {row[label]:.6f}" for label in best) + "\n")
        texts.append("".join(lines))
    paths = files(*texts)
    expected = published_average(paths)
    exact = averaged(tmp_path, *paths, "--read-top", "25", "--decimals", "5")
    near = averaged(tmp_path, *paths, "--read-top", "25")
    other = averaged(tmp_path, *paths)
    for video, best in expected.items():
        assert {label: f"{confidence:.6f}" for label, confidence in exact[video]} == {
            label: f"{confidence:.6f}" for label, confidence in best.items()
        }
        for label, confidence in near[video]:
            assert label not in best or -1e-6 < confidence - best[label] < 1.1e-5
        assert len(dict(near[video]).keys() & best.keys()) >= 19
        assert dict(other[video]) != dict(near[video])


def test_best_classes_are_read_in_any_order(tmp_path, files):
    paths = files("a,3 0.25 1 0.5 2 0.125\n", "a,2 0.5\n")
    assert averaged(tmp_path, *paths, "--read-top", "2") == {"a": [(1, 0.25), (2, 0.25), (3, 0.125)]}


def test_an_input_may_be_the_output(tmp_path, files):
    paths = files("a,1 0.5\n", "a,1 1\n")
    ensemble.main(paths + ["--output", paths[0]])
    assert list(submission.read(paths[0])) == [("a", [1], [0.75])]


def test_written_confidences_are_read_back_exactly(tmp_path, rng):
    path, confidences = str(tmp_path / "file.csv"), (rng.rand(50) ** 9).astype(np.float32)
    with submission.writer(path) as write:
        write("a", range(50), confidences)
        write('b,"c"', [], [])
    (video, classes, read), other = submission.read(path)
    assert video == "a" and classes == list(range(50))
    np.testing.assert_array_equal(np.float32(read), confidences)
    assert other == ('b,"c"', [], [])


def test_files_from_elsewhere_are_read(tmp_path, files):
    text = HEADER + "a,1 0.5\n\n"
    of_windows = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode("ascii")
    for path in files(text.encode("ascii"), gzip.compress(text.encode("ascii")), of_windows):
        assert list(submission.read(path)) == [("a", [1], [0.5])]
    (path,) = files(gzip.compress(text.encode("ascii"))[:-12])
    with pytest.raises(errors.UserError, match=f"{path}, line .: "):
        list(submission.read(path))


def test_decimals_beyond_those_of_a_float_change_nothing(tmp_path, files):
    paths = files("a,1 0.123456789 2 1e-20\n")
    assert averaged(tmp_path, *paths, "--decimals", "400") == averaged(tmp_path, *paths)
    assert averaged(tmp_path, *paths, "--decimals", "2") == {"a": [(1, 0.12), (2, 0.0)]}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_files_may_be_pipes_or_in_the_home_directory(tmp_path, monkeypatch, compress):
    monkeypatch.setenv("HOME", str(tmp_path))
    os.mkfifo(str(tmp_path / "pipe"))
    content = compress((HEADER + "a,1 0.5\n").encode("ascii"))
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()
    assert averaged(tmp_path, "~/pipe") == {"a": [(1, 0.5)]}
    writer.join()


def test_all_classes_of_a_video_are_read_back(tmp_path):
    path = str(tmp_path / "file.csv")
    with submission.writer(path) as write:
        write("a", range(20000), np.linspace(0.123456, 1, 20000))
    ((_, classes, _),) = submission.read(path)
    assert classes == list(range(20000))


def test_a_failure_leaves_an_older_file_alone(files, tmp_path):
    (path,) = files("a,1 0.5\n")
    with pytest.raises(KeyError), submission.writer(path) as write:
        write("b", [1], [1.0])
        raise KeyError
    assert list(submission.read(path)) == [("a", [1], [0.5])]
    assert [str(file) for file in tmp_path.iterdir()] == [path]


def error_of(arguments, monkeypatch, capsys):
    """The one line that ensemble.py writes to standard error when it fails."""
    monkeypatch.setattr(sys, "argv", ["ensemble.py"] + arguments)
    with pytest.raises(SystemExit) as exit:
        commandline.run(ensemble.main)
    assert exit.value.code == 2
    output, error = capsys.readouterr()
    assert not output and error.startswith("ensemble.py: error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    "bad, cause",
    [
        (b"", "line 1: expected the header VideoId,LabelConfidencePairs"),
        (b"a,1 0.5\n", "line 1: expected the header VideoId,LabelConfidencePairs"),
        ("a,1 0.5\nb\n", "line 3: expected ID,class confidence"),
        ("a,1 0.5,2 0.5\n", "line 2: expected ID,class confidence"),
        (",1 0.5\n", "line 2: expected ID,class confidence"),
        ("a,1 0.5 2\n", "line 2: expected pairs of class and confidence, got 3 words"),
        ("a,1 0.5 x 0.5\n", "line 2: expected pairs of class and confidence: invalid literal for int"),
        ("a,1 0.5 2 high\n", "line 2: expected pairs of class and confidence: could not convert"),
        ("a,-1 0.5\n", "line 2: expected classes from 0 to 2147483647"),
        ("a,1 0.5 1 0.25\n", "line 2: expected each class once"),
        ("a,1 1.5\n", "line 2: expected confidences from 0 to 1"),
        ("a,1 nan\n", "line 2: expected confidences from 0 to 1"),
        ("a,1 0.5\nb,1 0.5\na,1 0.5\n", "ALL: expected each video once, got a again"),
        (HEADER.encode("ascii") + b"a,1 0.5\n\xff,1 0.5\n", "line 3: expected an ID of printable UTF-8"),
        ('a,"1 0.5\n', "line 2: unexpected end of data"),
        ("a,1 0.5\nc,1 0.5\n", "ALL: expected the videos of FIRST, but b is missing"),
        ("a,1 0.5\n", "ALL: expected the videos of FIRST, but b is missing"),
    ],
)
def test_malformed_files_are_named(files, tmp_path, monkeypatch, capsys, bad, cause):
    good, bad = files("a,1 0.5\nb,1 0.5\n", bad)
    error = error_of([good, bad, "--output", str(tmp_path / "output.csv")], monkeypatch, capsys)
    expected = f"{bad}, {cause}".replace(", ALL", "").replace("FIRST", good)
    assert expected in error
    assert sorted(str(file) for file in tmp_path.iterdir()) == [good, bad]


@pytest.mark.parametrize(
    "arguments, cause",
    [
        (["none.csv"], "none.csv: No such file or directory"),
        (["0.csv", "--weights", "1,2"], "argument --weights: expected 1, one for each file, got 2"),
        (["0.csv", "--weights", "much"], "argument --weights: expected a number of at least 0, got much"),
        (["0.csv", "--weights", "-1"], "argument --weights: expected a number of at least 0, got -1"),
        (["0.csv", "--weights", "0"], "argument --weights: expected weights with a finite sum above 0, got 0"),
        (["0.csv", "--read-top", "0"], "argument --read-top: expected a positive integer, got 0"),
        (["0.csv", "0.csv", "--weights", "1e308,1e308"], "expected weights with a finite sum above 0"),
        (["0.csv", "--decimals", "x"], "argument --decimals: expected a positive integer, got x"),
        (["0.csv", "--top", "0"], "argument --top: expected a positive integer, got 0"),
        ([], "the following arguments are required: FILE"),
    ],
)
def test_bad_arguments_are_named(files, tmp_path, monkeypatch, capsys, arguments, cause):
    files("a,1 0.5\n")
    monkeypatch.chdir(tmp_path)
    assert cause in error_of(arguments + ["--output", "output.csv"], monkeypatch, capsys)
    assert [file.name for file in tmp_path.iterdir()] == ["0.csv"]


@pytest.mark.parametrize("output", ["nowhere/output.csv", ".", "", "output.csv/"])
def test_an_output_that_cannot_be_written_is_named(files, tmp_path, monkeypatch, capsys, output):
    files("a,1 0.5\n")
    monkeypatch.chdir(tmp_path)
    assert f"{output}: " in error_of(["0.csv", "--output", output], monkeypatch, capsys)
    assert [file.name for file in tmp_path.iterdir()] == ["0.csv"]
