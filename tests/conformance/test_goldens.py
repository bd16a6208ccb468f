"""Layers give the numbers of the 2017 toolbox under TensorFlow 1.4, and restore its checkpoints.

pytest prints the largest errors at the end (see conftest.py).
"""

from support import golden
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import assign, by_name, relative_error
from support.configurations import (
    BATCH,
    CLUSTERS,
    FEATURES,
    OF_2017,
    OUTPUTS,
    QUARTER,
    SAMPLES,
    Configuration,
    each_configuration_of_2017,
    each_method_of_2017,
    parametrize,
)

# Relative to the largest entry. The actual errors are about 6e-7, 3e-6, 1e-9, 3e-7 and 2e-7 on all versions.
TOLERANCES = {"outputs": 2e-6, "gradients": 1e-5, "moving averages": 4e-7, "losses": 1e-6, "trained variables": 1e-6}


@pytest.fixture
def assert_recorded(record_property):
    def assert_recorded(quantity, came, expected):
        assert sorted(came) == sorted(expected)
        errors = {name: relative_error(came[name], expected[name]) for name in expected}
        record_property("error of " + quantity, float(max(errors.values())))
        assert all(error <= TOLERANCES[quantity] for error in errors.values()), errors

    return assert_recorded


def build(configuration):
    x = tf.placeholder(tf.float32, [None, FEATURES])
    return x, configuration.layer().forward(x)


@each_configuration_of_2017
def test_outputs_gradients_and_moving_averages(configuration, session, assert_recorded):
    recorded = golden.load(configuration)
    assert recorded["config"].tolist() == [BATCH, SAMPLES, FEATURES, CLUSTERS, OUTPUTS]
    x, y = build(configuration)
    before = golden.of_kind(recorded, "var")
    assign(session, before)
    sources = dict(by_name(tf.trainable_variables()), x=x)
    gradients = dict(zip(sources, tf.gradients(y * recorded["cotangent"], list(sources.values()))))
    outputs, gradients = session.run([y, gradients], {x: recorded["x"]})
    assert_recorded("outputs", {"y": outputs}, {"y": recorded["y"]})
    assert_recorded("gradients", gradients, golden.of_kind(recorded, "grad"))
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), {x: recorded["x"]})
    # Variables that the recording does not list must not have moved.
    expected = dict(before, **golden.of_kind(recorded, "after_update"))
    assert_recorded("moving averages", session.run(by_name(tf.global_variables())), expected)


@parametrize(OF_2017, QUARTER)
def test_training(configuration, session, assert_recorded):
    recorded = golden.load(configuration)
    x, y = build(configuration)
    assign(session, golden.of_kind(recorded, "var"))
    loss = tf.reduce_mean(tf.square(y - recorded["target"]))
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        step = tf.train.GradientDescentOptimizer(0.05).minimize(loss)
    losses = [session.run([loss, step], {x: recorded["x"]})[0] for _ in recorded["sgd_losses"]]
    assert_recorded("losses", {"loss": losses}, {"loss": recorded["sgd_losses"]})
    assert_recorded("trained variables", session.run(by_name(tf.global_variables())), golden.of_kind(recorded, "final"))


@each_method_of_2017
def test_checkpoint(method, session, assert_recorded):
    configuration = Configuration(method, add_batch_norm=True, gating=True, is_training=True)
    recorded = golden.load(configuration)
    x, y = build(configuration)
    tf.train.Saver().restore(session, golden.checkpoint(method))
    values = session.run(by_name(tf.global_variables()))
    assert_recorded("outputs", {"y": session.run(y, {x: recorded["x"]})}, {"y": recorded["y"]})
    expected = golden.of_kind(recorded, "var")
    assert sorted(values) == sorted(expected)
    assert all((values[name] == expected[name]).all() for name in expected)
