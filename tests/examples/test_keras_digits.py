"""examples/keras_digits.py: its accuracy, its model, its errors."""

import os

import keras_digits
import pytest
import tensorflow as tf
from loupe_examples.errors import UserError
from tensorflow.python.eager import context


@pytest.fixture
def run(request, tmp_path, capsys):
    """A function that runs the program, and returns the accuracy that it prints and the path of its model."""
    if tf.__version__.startswith("1."):
        pytest.skip("the program needs TensorFlow 2")
    if request.config.getoption("--v1-behavior"):
        pytest.skip("Keras 3 does not run under v1 behavior")

    def run(*arguments):
        output = str(tmp_path / "digits.keras")
        with context.eager_mode():
            keras_digits.main(list(arguments) + ["--output", output])
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith(f"accuracy of {output} on 450 other digits: ")
        assert os.listdir(str(tmp_path)) == ["digits.keras"]
        return float(last.split()[-1])

    return run


def test_an_epoch(run):
    assert 0.1 < run("--epochs", "1") < 1


@pytest.mark.long
def test_accuracy_after_a_few_epochs(run):
    assert run("--epochs", "20") >= 0.93


@pytest.mark.long
@pytest.mark.parametrize(
    "method, expected", [("SoftDBoW", 0.984), ("NetRVLAD", 0.987), ("NetVLAD", 0.989), ("NetFV", 0.991)]
)
def test_accuracy_is_that_of_digits(method, expected, run):
    """The README has the accuracies of examples/digits.py."""
    assert abs(run("--method", method) - expected) <= 0.01


def test_a_name_that_keras_would_refuse(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        keras_digits.main(["--output", str(tmp_path / "digits.h5")])
    assert stopped.value.code == 2
    assert "--output: expected a name that ends with .keras, got " in capsys.readouterr().err


def test_tensorflow_1_is_refused(tmp_path):
    if not tf.__version__.startswith("1."):
        pytest.skip("this TensorFlow will do")
    with pytest.raises(UserError, match="tf2: expected TensorFlow 2.12 or later, got 1.15"):
        keras_digits.main(["--output", str(tmp_path / "digits.keras")])
