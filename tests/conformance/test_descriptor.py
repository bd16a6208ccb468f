"""The bare descriptor: with output_dim=None there is no projection."""

import numpy as np
import tensorflow.compat.v1 as tf
from support.comparison import randomize, relative_error
from support.configurations import BATCH, CONFIGURATIONS, each_configuration
from support.pooling_graph import LENGTHS, build, each_configuration_and_lengths, random_lists


def names():
    return [variable.op.name for variable in tf.global_variables()]


@each_configuration
def test_shape_and_variables(configuration):
    """Only hidden1_weights is missing; there are as many gates as the descriptor has entries."""
    size = configuration.descriptor_size
    with tf.Graph().as_default():
        build(configuration)
        projected = names()
    assert build(configuration, output_dim=None).y.shape.as_list() == [None, size]
    assert names() == [name for name in projected if name != "hidden1_weights"]
    widths = {
        variable.shape.as_list()[-1] for variable in tf.global_variables() if variable.op.name.startswith("gating")
    }
    assert widths == ({size} if configuration.gating else set())
    with tf.variable_scope("static"):
        assert build(configuration, batch=BATCH, output_dim=None).y.shape.as_list() == [BATCH, size]


@each_configuration_and_lengths(CONFIGURATIONS)
def test_what_is_projected_and_gated_is_the_descriptor(configuration, has_lengths, session, rng):
    plain = configuration._replace(gating=False)
    with tf.variable_scope("pooling", reuse=tf.AUTO_REUSE):
        graph = build(configuration, has_lengths, output_dim=None)
        x, num_samples = graph.x, graph.num_samples
        descriptor = plain.layer(output_dim=None).forward(x, num_samples)
        if configuration.gating:
            expected = configuration.layer(output_dim=None).context_gating(descriptor)
        else:
            expected = descriptor
        # A projection's gates have another size, so only layers without gates share this scope's variables.
        projected = plain.layer().forward(x, num_samples)
        weights = tf.get_variable("hidden1_weights")
    randomize(session, rng)
    fetches = [graph.y, expected, projected, tf.matmul(descriptor, weights), descriptor]
    y, expected, projected, by_hand, descriptor = session.run(fetches, graph.feed(random_lists(rng)))
    assert relative_error(y, expected) <= 1e-6
    assert relative_error(projected, by_hand) <= 1e-6
    is_empty = (descriptor == 0).all(axis=1)
    assert is_empty.tolist() == [has_lengths and length == 0 for length in LENGTHS]
    if configuration.row.norm is not None:
        norms = np.linalg.norm(descriptor[~is_empty], axis=1)
        np.testing.assert_allclose(norms, configuration.row.norm, rtol=1e-6)
