"""The inference form of each layer runs in TFLite, with its built-in ops alone, and in ONNX."""

import pytest
from support.configurations import CONFIGURATIONS
from support.exports import assert_same_in_onnx, assert_same_in_tflite
from support.pooling_graph import is_quick

INFERENCE = [c for c in CONFIGURATIONS if not c.is_training]

# A conversion takes seconds, so all configurations are converted at once.
each_set_of_configurations = pytest.mark.parametrize(
    "configurations, has_lengths",
    [
        pytest.param([c for c in INFERENCE if is_quick(c, False)], False, id="full"),
        pytest.param([c for c in INFERENCE if is_quick(c, True)], True, id="lengths"),
        pytest.param(INFERENCE, False, id="all-full", marks=pytest.mark.long),
        pytest.param(INFERENCE, True, id="all-lengths", marks=pytest.mark.long),
    ],
)


@each_set_of_configurations
def test_tflite(configurations, has_lengths, session, rng, monkeypatch):
    assert_same_in_tflite(configurations, has_lengths, session, rng, monkeypatch)


@each_set_of_configurations
def test_onnx(configurations, has_lengths, session, rng):
    assert_same_in_onnx(configurations, has_lengths, session, rng)
