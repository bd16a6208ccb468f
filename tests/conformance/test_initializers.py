"""Every variable starts as in the 2017 toolbox, or as the table of methods says."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import by_name
from support.configurations import Configuration, each_method

# Sizes of features, clusters and outputs: the deviations 1/sqrt(D), 1/sqrt(K) and 1/sqrt(M) are far apart, and every
# variable has many draws.
D, K, M = 4, 900, 400

MEANS_AND_DEVIATIONS = {
    "cluster_weights": (0, D**-0.5),
    "cluster_weights2": (0, D**-0.5),
    "cluster_biases": (0, D**-0.5),
    "hidden1_weights": (0, K**-0.5),
    "gating_weights": (0, M**-0.5),
    "gating_biases": (0, M**-0.5),
}


@pytest.mark.parametrize("add_batch_norm", [True, False], ids=["bn", "bias"])
@each_method
def test_initial_values(method, add_batch_norm, session):
    configuration = Configuration(method, add_batch_norm, gating=True, is_training=True)
    layer = configuration.layer(feature_size=D, max_samples=1, cluster_size=K, output_dim=M)
    layer.forward(tf.zeros([1, D]))
    session.run(tf.global_variables_initializer())
    values = session.run(by_name(tf.global_variables()))
    starts = dict(MEANS_AND_DEVIATIONS, **configuration.row.starts(D, K))
    for name, value in values.items():
        if name in starts:
            assert_drawn_from(name, value, *starts[name])
        else:
            initial = {"beta": 0, "gamma": 1, "moving_mean": 0, "moving_variance": 1}[name.split("/")[1]]
            assert (value == initial).all(), name


def test_gated_width_of_own_layers(session):
    """Gates of any layer start with a deviation of 1/sqrt(M), M being its width."""
    layer = Configuration("NetVLAD", add_batch_norm=False, gating=True, is_training=True).layer()
    layer.context_gating(tf.zeros([1, M]))
    session.run(tf.global_variables_initializer())
    for variable in tf.global_variables():
        assert_drawn_from(variable.op.name, session.run(variable), 0, M**-0.5)


def assert_drawn_from(name, value, mean, deviation, kurtosis=3):
    """The mean, the deviation and the kurtosis are right, each within 4.5 of its own deviations."""
    if deviation == 0:
        assert (value == mean).all(), name
        return
    z = (value.astype(np.float64).ravel() - mean) / deviation
    assert abs(z.mean()) < 4.5 / np.sqrt(z.size), name
    assert abs(np.square(z).mean() - 1) < 4.5 * np.sqrt(2 / z.size), name
    # The kurtosis is 3 for a normal distribution, 2.4 for a truncated one, and 1.8 for a uniform one.
    if z.size > 3000:
        assert abs((z**4).mean() - kurtosis) < 4.5 * np.sqrt(96 / z.size), name
    assert np.unique(z).size > 0.9 * z.size, name
