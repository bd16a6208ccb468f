"""examples/digits.py: its accuracies, the same in each run; its chart; its command line."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = str(ROOT / "examples" / "digits.py")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def digits():
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("digits", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments):
    """Runs the program, and returns the accuracies that it prints, by method and kind."""
    program = subprocess.run(
        [sys.executable, PROGRAM] + list(arguments),
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=600,
    )
    assert program.returncode == 0, program.stderr
    heading, *rows, chart = program.stdout.splitlines()
    assert heading.split() == ["pooling", "gating", "accuracy", "seconds"]
    assert chart == "chart: " + arguments[arguments.index("--output") + 1]
    return {(row.split()[0], row.split()[1]): float(row.split()[2]) for row in rows}


def test_accuracies(tmp_path):
    output = tmp_path / "digits.png"
    accuracies = run("--output", str(output))
    assert len(accuracies) == 10
    for method in ("NetRVLAD", "NetVLAD", "NetFV"):
        assert accuracies[method, "plain"] >= 0.95
        assert accuracies[method, "gated"] >= accuracies[method, "plain"] - 0.02
        assert accuracies["mean", "gated"] < accuracies[method, "plain"]
    assert output.read_bytes().startswith(PNG)
    assert os.listdir(str(tmp_path)) == ["digits.png"]


def test_same_numbers_with_one_seed(tmp_path):
    short = ["--epochs", "2", "--methods", "NetFV", "mean", "--output", str(tmp_path / "digits.png")]
    first = run("--seed", "7", *short)
    assert list(first) == [(method, kind) for method in ("mean", "NetFV") for kind in ("plain", "gated")]
    assert run("--seed", "7", *short) == first
    assert run("--seed", "8", *short) != first


def test_lists_of_patches(digits):
    data = digits.digits(positions=True)
    lists = np.concatenate([data.train_lists, data.test_lists])
    assert lists.shape == (1797, 36, 11) and lists.dtype == np.float32
    # The top left pixels of the patches are the image without its last two rows and columns.
    corners = lists[:, :, 0].reshape(-1, 6, 6) * 16
    images = load_digits().images[:, :6, :6]
    assert sorted(map(bytes, corners.astype(np.uint8))) == sorted(map(bytes, images.astype(np.uint8)))
    np.testing.assert_array_equal(lists[5, :, 9:] * 5, [[i, j] for i in range(6) for j in range(6)])
    np.testing.assert_array_equal(digits.digits(positions=False).test_lists, data.test_lists[:, :, :9])


def test_lists_without_blank_patches(digits):
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


def test_lengths_make_the_filling_irrelevant(tmp_path):
    short = ["--lengths", "given", "--gating", "plain", "--epochs", "2", "--output", str(tmp_path / "digits.png")]
    few, many = (run(*short, "--max-samples", max_samples) for max_samples in ("36", "60"))
    assert len(few) == 5
    assert all(abs(many[key] - few[key]) <= 0.01 for key in few)


@pytest.mark.parametrize("kinds", [["plain"], ["gated"], ["plain", "gated"]], ids="-".join)
def test_chart_of_some(digits, kinds, tmp_path):
    output = tmp_path / "chart"
    options = digits.parsed(["--methods", "NetVLAD", "mean", "--gating"] + kinds + ["--output", str(output)])
    digits.write_chart([digits.Result(m, k, 0.5, 1.0) for m in options.methods for k in kinds], 450, options)
    assert output.read_bytes().startswith(PNG)


def test_chart_is_written_whole_or_not_at_all(digits, tmp_path, monkeypatch):
    output = tmp_path / "digits.png"
    output.write_bytes(b"before")
    options = digits.parsed(["--output", str(output)])

    def savefig(figure, path, **arguments):
        with open(path, "wb") as file:
            file.write(PNG)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(OSError, match="No space left"):
        digits.write_chart([digits.Result("mean", "plain", 0.5, 1.0)], 450, options)
    assert output.read_bytes() == b"before"
    assert os.listdir(str(tmp_path)) == ["digits.png"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--methods", "NetBOW"],
        ["--methods"],
        ["--gating", "both"],
        ["--lengths", "unknown"],
        ["--max-samples", "35"],
        ["--epochs", "0"],
        ["--epochs", "1.5"],
        ["--batch-size", "-3"],
        ["--clusters", "many"],
        ["--width", "0"],
        ["--learning-rate", "nan"],
        ["--learning-rate", "inf"],
        ["--decay", "1"],
        ["--seed", "-1"],
        ["--seed", "4294967296"],
        ["--output", os.path.join("no", "such", "directory", "digits.png")],
        ["--output", "."],
        ["--unknown"],
    ],
    ids=" ".join,
)
def test_bad_arguments_are_errors_of_one_line(arguments, digits, capsys):
    with pytest.raises(SystemExit) as stopped:
        digits.parsed(arguments)
    assert stopped.value.code == 2
    written = capsys.readouterr().err
    assert written.count("\n") == 1 and "error: " in written and arguments[0] in written
