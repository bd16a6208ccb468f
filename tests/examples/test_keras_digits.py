"""examples/keras_digits.py: its accuracy, its model, its errors."""

import os

import pytest
import tensorflow as tf

if tf.__version__.startswith("1."):
    pytest.skip("the program needs TensorFlow 2", allow_module_level=True)

import keras_digits


@pytest.fixture
def graph(request):
    """None: the program runs eagerly."""
    if request.config.getoption("--v1-behavior"):
        pytest.skip("Keras 3 does not run under v1 behavior")


@pytest.fixture
def run(graph, tmp_path, capsys):
    """A function that runs the program, and returns the accuracy that it prints."""

    def run(*arguments):
        output = str(tmp_path / "digits.keras")
        keras_digits.main(list(arguments) + ["--output", output])
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith(f"accuracy of {output} on 450 other digits: ")
        assert os.listdir(str(tmp_path)) == ["digits.keras"]
        return float(last.split()[-1])

    return run


@pytest.mark.long
def test_an_epoch(run):
    assert 0.1 < run("--epochs", "1") < 1


@pytest.mark.long
@pytest.mark.parametrize(
    "method, expected", [("SoftDBoW", 0.984), ("NetRVLAD", 0.987), ("NetVLAD", 0.989), ("NetFV", 0.991)]
)
def test_accuracy_is_that_of_digits(method, expected, run):
    """The README has the accuracies of examples/digits.py."""
    assert abs(run("--method", method) - expected) <= 0.01


def test_a_name_that_keras_would_refuse(assert_refused, tmp_path):
    assert_refused(keras_digits.parsed, ["--output", str(tmp_path / "digits.h5")])
