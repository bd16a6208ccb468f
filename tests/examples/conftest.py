"""Lets the tests import examples/digits.py, `loupe_examples` and the modules of examples/forks."""

import pathlib
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES), str(EXAMPLES / "forks")]


@pytest.fixture
def assert_refused(capsys):
    """A function that asserts that a program's `parsed` refuses arguments with one line that has the first of them."""

    def refused(parsed, arguments):
        with pytest.raises(SystemExit) as stopped:
            parsed(arguments)
        assert stopped.value.code == 2
        written = capsys.readouterr().err
        assert written.count("\n") == 1 and "error: " in written and arguments[0] in written

    return refused
