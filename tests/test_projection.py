"""The registered gradient of large projections and gates, which all other tests have too, equals TensorFlow's own."""

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
    registered = registered_gradients(graph)
    assert registered == [b"LoupeProjection"] * (2 if configuration.gating else 1)
    monkeypatch.undo()
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        small = configuration.layer().forward(x)
    assert registered_gradients(graph) == registered
    randomize(session, rng)
    cotangent = tf.constant(rng.standard_normal(large.shape.as_list()).astype(np.float32))
    gradients = [tf.gradients(y, [x] + tf.trainable_variables(), cotangent) for y in (large, small)]
    for came, expected in zip(*session.run(gradients)):
        assert relative_error(came, expected) <= 1e-5


def test_which_projections_are_large(graph, monkeypatch):
    monkeypatch.undo()
    lists = tf.zeros([2, 3, 64])
    with tf.variable_scope("small"):
        loupe.NetVLAD(64, 3, 32, 127).forward(lists)
    assert registered_gradients(graph) == []
    with tf.variable_scope("large"):
        loupe.NetVLAD(64, 3, 32, 128).forward(lists)
    assert registered_gradients(graph) == [b"LoupeProjection"]
    with tf.variable_scope("large_gates"):
        loupe.NetVLAD(64, 3, 32, 512).forward(lists)
    assert registered_gradients(graph) == [b"LoupeProjection"] * 3


def test_the_product_of_the_gradient_has_no_transposed_operand(session, rng):
    """TensorFlow's rewrites turn a transposition before a product into a flag of it, and the flag is slow."""
    v = tf.constant(rng.standard_normal([4, 64]).astype(np.float32))
    weights = tf.get_variable("weights", [64, 8], use_resource=True)
    session.run(weights.initializer)
    seed = tf.get_variable("seed", [4, 8], use_resource=True)
    session.run(seed.initializer)
    gradient = tf.gradients(loupe._projected(v, tf.convert_to_tensor(weights)), v, tf.convert_to_tensor(seed))[0]
    metadata = tf.RunMetadata()
    session.run(gradient.op, options=tf.RunOptions(output_partition_graphs=True), run_metadata=metadata)
    products = [node for graph in metadata.partition_graphs for node in graph.node if "MatMul" in node.op]
    assert [(node.attr["transpose_a"].b, node.attr["transpose_b"].b) for node in products] == [(False, False)]
