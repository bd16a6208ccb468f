"""Long lists are summed by the product of another orientation, which gives the same numbers."""

import loupe
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from comparison import randomize, relative_error
from configurations import BATCH, FEATURES, SAMPLES, Configuration, each_configuration, each_method
from pooling_graph import LENGTHS, with_and_without_lengths
from test_export import test_onnx as check_onnx
from test_export import test_tflite as check_tflite


@pytest.fixture
def long_from_one_on(monkeypatch):
    monkeypatch.setattr(loupe, "_LONG_LIST", 1)


def products_of_samples(graph):
    """How many products sum the samples of the lists, and how many of them give their sums transposed."""
    names = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
    products = [op for op in graph.get_operations() if op.type in names]
    return len(products), sum(op.inputs[0].shape[-1] != FEATURES for op in products)


@each_configuration
@with_and_without_lengths
def test_outputs_and_gradients(configuration, has_lengths, session, rng, monkeypatch):
    x = tf.constant(rng.standard_normal([BATCH, SAMPLES, FEATURES]).astype(np.float32))
    lengths = tf.constant(LENGTHS) if has_lengths else None
    short = configuration.layer().forward(x, lengths)
    monkeypatch.setattr(loupe, "_LONG_LIST", 1)
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        long = configuration.layer().forward(x, lengths)
    randomize(session, rng)
    cotangent = tf.constant(rng.standard_normal(short.shape.as_list()).astype(np.float32))
    sources = [x] + tf.trainable_variables()
    steps = [[y] + tf.gradients(y, sources, cotangent) for y in (short, long)]
    for expected, came in zip(*session.run(steps)):
        assert relative_error(came, expected) <= 1e-5


@pytest.mark.parametrize("method, count", [("NetVLAD", 1), ("NetRVLAD", 1), ("SoftDBoW", 0), ("NetFV", 2)])
def test_which_lists_are_long(method, count):
    configuration = Configuration(method, add_batch_norm=True, gating=True, is_training=True)
    for size, is_long in [(loupe._LONG_LIST - 1, False), (loupe._LONG_LIST, True), (None, False)]:
        with tf.Graph().as_default() as graph:
            size = tf.placeholder(tf.int32, []) if size is None else size
            configuration.layer(max_samples=size).forward(tf.placeholder(tf.float32, [None, FEATURES]))
            assert products_of_samples(graph) == (count, count if is_long else 0)


@each_method
def test_tflite(method, session, rng, monkeypatch, long_from_one_on):
    configuration = Configuration(method, add_batch_norm=True, gating=True, is_training=False)
    check_tflite(configuration, False, session, rng, monkeypatch)


@each_method
def test_onnx(method, session, rng, long_from_one_on):
    configuration = Configuration(method, add_batch_norm=True, gating=True, is_training=False)
    check_onnx(configuration, False, session, rng)
