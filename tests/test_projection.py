"""The registered gradient of large projections, which all other tests have too, equals TensorFlow's own."""

import loupe
import numpy as np
import tensorflow.compat.v1 as tf
from comparison import randomize, relative_error
from configurations import BATCH, FEATURES, SAMPLES, each_configuration


def registered_gradients(graph):
    name = "_gradient_op_type"
    return [op.get_attr(name) for op in graph.get_operations() if name in op.node_def.attr]


@each_configuration
def test_gradients_of_small_and_large_projections(configuration, graph, session, rng, monkeypatch):
    x = tf.constant(rng.standard_normal([BATCH, SAMPLES, FEATURES]).astype(np.float32))
    large = configuration.layer().forward(x)
    assert registered_gradients(graph) == [b"LoupeProjection"]
    monkeypatch.undo()
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        small = configuration.layer().forward(x)
    assert registered_gradients(graph) == [b"LoupeProjection"]
    randomize(session, rng)
    cotangent = tf.constant(rng.standard_normal(large.shape.as_list()).astype(np.float32))
    gradients = [tf.gradients(y, [x] + tf.trainable_variables(), cotangent) for y in (large, small)]
    for came, expected in zip(*session.run(gradients)):
        assert relative_error(came, expected) <= 1e-5


def test_which_projections_are_large(graph, monkeypatch):
    monkeypatch.undo()
    lists = tf.zeros([2, 3, 1024])
    with tf.variable_scope("small"):
        loupe.NetVLAD(1024, 3, 64, 64).forward(lists)
    assert registered_gradients(graph) == []
    with tf.variable_scope("large"):
        loupe.NetVLAD(1024, 3, 64, 128).forward(lists)
    assert registered_gradients(graph) == [b"LoupeProjection"]
