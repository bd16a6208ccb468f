"""Variable scopes, collections, devices and arg_scopes of TensorFlow 1 programs act on a layer as they did in 2017."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_slim as slim
from support.comparison import names, randomize
from support.configurations import (
    TRAINING,
    a_configuration_of_each_method,
    each_method,
)
from support.numpy_pooling import pool


def test_reuse_without_variables_is_refused(lists):
    error = pytest.raises(ValueError, match="video/cluster_weights does not exist")
    with tf.variable_scope("video", reuse=True), error:
        TRAINING.layer().forward(lists)


@a_configuration_of_each_method
def test_siamese_branches_share_variables(configuration, session, rng, lists):
    others = rng.standard_normal(lists.shape).astype(np.float32)
    with tf.variable_scope("siamese", reuse=tf.AUTO_REUSE):
        first = configuration.layer().forward(lists)
    variables = names(tf.global_variables())
    updates = len(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
    # The same scope again, by AUTO_REUSE or reuse=True.
    with tf.variable_scope("siamese", reuse=tf.AUTO_REUSE if configuration.gating else True):
        second = configuration.layer().forward(others)
    assert names(tf.global_variables()) == variables
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 2 * updates  # each branch adds its own
    values = {name[len("siamese/") :]: value for name, value in randomize(session, rng).items()}
    for y, x in zip(session.run([first, second]), [lists, others]):
        np.testing.assert_allclose(y, pool(configuration, x, values)[0], 2e-5, 2e-6)


@a_configuration_of_each_method
def test_device(configuration, lists):
    with tf.device("/cpu:1"):
        y = configuration.layer().forward(lists)
    for variable in tf.global_variables():
        assert variable.device.lower().endswith("cpu:1"), variable
    assert y.device.lower().endswith("cpu:1")


def test_device_of_variables(lists):
    """A device function, such as replica_device_setter, can place variables apart from other operations."""
    is_variable = {"VariableV2", "VarHandleOp"}
    with tf.device(lambda op: "/cpu:1" if op.type in is_variable else "/cpu:2"):
        y = TRAINING.layer().forward(lists)
    assert {variable.device.lower()[-5:] for variable in tf.global_variables()} == {"cpu:1"}
    assert y.device.lower().endswith("cpu:2")


@a_configuration_of_each_method
def test_partitioner(configuration, session, rng, lists):
    def halves(shape, **_):
        """Splits matrices of more than six rows by their first dimension."""
        dimensions = shape.as_list()
        return [2 if len(dimensions) == 2 and dimensions[0] > 6 else 1] + [1] * (len(dimensions) - 1)

    with tf.variable_scope("video", partitioner=halves):
        y = configuration.layer().forward(lists)
    assert [name for name in names(tf.global_variables()) if name.endswith("weights/part_1")]
    gradients = tf.gradients(y, tf.trainable_variables())
    assert None not in gradients
    values = {}
    for name, value in sorted(randomize(session, rng).items()):
        name = name[len("video/") :].split("/part_")[0]
        values[name] = np.concatenate([values[name], value]) if name in values else value
    np.testing.assert_allclose(session.run(y), pool(configuration, lists, values)[0], 2e-5, 2e-6)


def test_regularizer_and_custom_getter(lists):
    """A scope's regularizer and custom getter reach the weights of a layer."""
    seen = []

    def getter(getter, name, *args, **kwargs):
        seen.append(name)
        return getter(name, *args, **kwargs)

    with tf.variable_scope("video", regularizer=slim.l2_regularizer(0.1), custom_getter=getter):
        TRAINING.layer().forward(lists)
    assert seen == names(tf.global_variables())
    losses = {name.split("/Regularizer")[0] for name in names(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES))}
    weights = ["cluster_weights", "cluster_weights2", "hidden1_weights", "gating_weights"]
    assert losses >= {"video/" + name for name in weights}  # slim regularizes some of its variables, too


@each_method
def test_arg_scope(method, session, rng, lists):
    """The scope's decay is used. With updates_collections=None, a run of the output itself moves the averages."""
    configuration = TRAINING._replace(method=method)
    with slim.arg_scope([slim.batch_norm], decay=0.9, updates_collections=None):
        y = configuration.layer().forward(lists)
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == []
    values = randomize(session, rng)
    expected, moved = pool(configuration, lists, values)
    assert sorted(moved) == [name for name in sorted(values) if "/moving_" in name] != []
    np.testing.assert_allclose(session.run(y), expected, 2e-5, 2e-6)
    for variable in tf.global_variables():
        name, value = variable.op.name, session.run(variable)
        # The statement of the formulas has slim's default decay of 0.999: a step of 0.1 is 100 times its step.
        expected = values[name] + 100 * (moved.get(name, values[name]) - values[name])
        np.testing.assert_allclose(value, expected, 1e-5, 1e-6, err_msg=name)


def test_arg_scope_of_own_collections(lists):
    with slim.arg_scope([slim.batch_norm], updates_collections="own_updates", variables_collections=["own"]):
        TRAINING.layer().forward(lists)
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == []
    assert len(tf.get_collection("own_updates")) == 4
    assert len(tf.get_collection("own")) == 8


def test_arg_scope_epsilon_without_scale(session, rng, lists):
    """The scope's epsilon is used. Its scale is not, because the layer passes scale=True."""
    with slim.arg_scope([slim.batch_norm], scale=False, epsilon=0.5):
        y = TRAINING.layer().forward(lists)
    assert "cluster_bn/gamma" in names(tf.trainable_variables())
    expected = pool(TRAINING, lists, randomize(session, rng))[0]
    assert np.abs(session.run(y) - expected).max() > 1e-3


@a_configuration_of_each_method
def test_getters_are_asked_for_each_variable_once(configuration, lists):
    asked = []

    def custom(getter, name, *args, **kwargs):
        asked.append(name)
        return getter(name, *args, **kwargs)

    with tf.variable_scope("", custom_getter=custom):
        configuration.layer().forward(lists)
    assert asked == names(tf.global_variables())


def test_errors_of_getters_are_not_replaced(lists):
    def custom(getter, name, *args, **kwargs):
        raise AttributeError("of the getter")

    with tf.variable_scope("", custom_getter=custom), pytest.raises(AttributeError, match="of the getter"):
        TRAINING.layer().forward(lists)
