"""Lets the tests import the modules of examples/forks."""

import pathlib
import sys

import pytest
from support.comparison import relative_error
from threadpoolctl import threadpool_limits

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES / "forks"))


@pytest.fixture
def assert_refused(capsys):
    """A function that asserts that a program's `parsed` refuses arguments with one line that names the first."""

    def refused(parsed, arguments):
        with pytest.raises(SystemExit) as stopped:
            parsed(arguments)
        assert stopped.value.code == 2
        written = capsys.readouterr().err
        assert written.count("\n") == 1 and "error: " in written and arguments[0] in written

    return refused


@pytest.fixture
def check(record_property):
    """A function that compares arrays by name with their goldens, and records the largest error."""

    def check(name, quantity, came, expected, tolerance):
        assert sorted(came) == sorted(expected)
        errors = {key: relative_error(came[key], expected[key]) for key in expected}
        record_property(f"error of {name} {quantity}", float(max(errors.values())))
        assert all(error <= tolerance for error in errors.values()), errors

    return check


@pytest.fixture
def one_thread(monkeypatch):
    """Gives k-means one thread, because many would wait for each other here. Turns off TF_DETERMINISTIC_OPS, which
    refuses operations without a seed and would stay set for the other tests."""
    monkeypatch.setenv("TF_DETERMINISTIC_OPS", "0")
    with threadpool_limits(1):
        yield
