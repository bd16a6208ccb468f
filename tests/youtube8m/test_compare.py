"""compare.py prints its table, and does not train a model again."""

import pathlib
import re

import compare
import pytest
from yt8m import commandline, errors, presets

README = pathlib.Path(compare.__file__).with_name("README.md").read_text(encoding="utf-8")


def table(text):
    """The rows of the table of metrics, a dict from model to the list of its cells."""
    rows = re.findall(r"^\| ([\w -]+) \| ([\d. |]+) \|$", text, re.M)
    return {name: cells.split(" | ") for name, cells in rows if len(cells.split(" | ")) == 5}


@pytest.mark.long
def test_digits_are_learnt_as_the_table_says(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compare.main([])
    rows, expected = table(capsys.readouterr().out), table(README)
    assert list(rows) == list(expected) == [*presets.PRESETS, "average of 7"]
    for name, cells in expected.items():
        for came, figure in zip(rows[name][:4], cells):
            assert abs(float(came) - float(figure)) <= 0.03, (name, rows[name])


@pytest.mark.long
def test_comparing_again_trains_nothing_and_mixes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["--presets", "mean", "--steps", "2"]
    compare.main(arguments)
    first = capsys.readouterr().out
    assert list(table(first)) == ["mean"]  # There is no average of one model.
    compare.main(arguments)
    assert capsys.readouterr().out == first
    with pytest.raises(errors.UserError, match="expected a training run with seed 2, got one with seed 1"):
        compare.main(arguments + ["--seed", "2", "--checkpoints", "checkpoints/seed-1"])
    with pytest.raises(errors.UserError, match="mean: expected a model of 1 steps, got one of 2"):
        compare.main(["--presets", "mean", "--steps", "1"])


@pytest.mark.parametrize(
    "arguments, cause",
    [
        (["--presets", "netfv,best"], "argument --presets: expected some of gated-netvlad"),
        (["--presets", "netfv,netfv"], "argument --presets: expected different names"),
        (["--steps", "0"], "argument --steps: expected a positive integer, got 0"),
    ],
)
def test_bad_arguments_are_named(tmp_path, monkeypatch, capsys, arguments, cause):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["compare.py"] + arguments)
    with pytest.raises(SystemExit) as exit:
        commandline.run(compare.main)
    assert exit.value.code == 2
    output, error = capsys.readouterr()
    assert cause in error and error.count("\n") == 1 and not output
    assert not list(tmp_path.iterdir())
