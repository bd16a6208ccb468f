"""Mistakes raise an error at once, which names the argument, what was expected and what was given."""

import re

import loupe
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2
from support.configurations import BATCH, CLUSTERS, FEATURES, METHODS, OUTPUTS, SAMPLES, Configuration, each_method
from tensorflow.python.eager import context

LAYER = Configuration("NetVLAD", add_batch_norm=True, gating=True, is_training=True)
SIZES = ["feature_size", "max_samples", "cluster_size", "output_dim"]

each_class = pytest.mark.parametrize("cls", [loupe.PoolingBaseModel] + [method.layer for method in METHODS.values()])


def raises(error, argument, expected, came):
    """Expects the error, with the message ``argument: expected ..., got ...``."""
    pattern = "{}: expected .*{}.*, got .*{}".format(*map(re.escape, (argument, expected, str(came))))
    return pytest.raises(error, match=f"^(?s:{pattern})")


NOTHING_KEEPS_VARIABLES = (
    "(?s)the layer: expected a TensorFlow 1 graph, got eager mode or a tf.function, .*PoolingLayer .*PoolingModule "
    ".*examples/tf2.py; .*disable_eager_execution.*tf.Graph"
)


def placeholder(*shape):
    return tf.placeholder(tf.float32, shape)


# The constructor.


@pytest.mark.parametrize("argument", SIZES)
def test_sizes_that_are_not_positive(argument):
    for value in (0, -3, np.int64(0), np.int32(-1)):
        with raises(ValueError, argument, "a positive integer", repr(value)):
            LAYER.layer(**{argument: value})


@pytest.mark.parametrize("argument", SIZES)
def test_sizes_that_are_not_integers(argument):
    values = [True, False, np.bool_(True), 3.0, 2.5, np.float32(3), "3", [3], (3,), np.array([3]), 3j]
    for value in values + ([] if argument == "output_dim" else [None]):
        with raises(TypeError, argument, "a positive integer", repr(value)):
            LAYER.layer(**{argument: value})
    with raises(TypeError, argument, "a positive integer", ""):
        LAYER.layer(**{argument: tf.Dimension(None)})


@pytest.mark.parametrize("argument", ["feature_size", "cluster_size", "output_dim"])
def test_sizes_that_cannot_be_tensors(argument):
    with raises(TypeError, argument, "a positive integer", "Tensor"):
        LAYER.layer(**{argument: tf.placeholder(tf.int32, [])})


def test_max_samples_of_unfit_tensors():
    expected = "a positive integer or a scalar integer tensor"
    for tensor in (placeholder(), tf.constant(7.0), tf.placeholder(tf.int32, [1]), tf.placeholder(tf.bool, [])):
        with raises(TypeError, "max_samples", expected, tensor.dtype.name):
            LAYER.layer(max_samples=tensor)
    with raises(ValueError, "max_samples", expected, 0):
        LAYER.layer(max_samples=tf.constant(0))


@pytest.mark.parametrize("argument", ["gating", "add_batch_norm", "is_training"])
def test_flags_that_are_not_bools(argument):
    for value in ("yes", "", None, 2, -1, 0.5, 1.0, [], [True], np.array([True]), np.array([True, False])):
        with raises(TypeError, argument, "a bool", repr(value)):
            LAYER.layer(**{argument: value})


def test_flags_of_unfit_tensors():
    for argument in ("gating", "add_batch_norm"):
        with raises(TypeError, argument, "a bool", "Tensor"):
            LAYER.layer(**{argument: tf.placeholder(tf.bool, [])})
    for tensor in (placeholder(), tf.placeholder(tf.bool, [1]), tf.constant(1)):
        with raises(TypeError, "is_training", "a bool or a scalar bool tensor", tensor.dtype.name):
            LAYER.layer(is_training=tensor)


@each_class
def test_unknown_and_missing_arguments(cls):
    with pytest.raises(TypeError, match="batch_norm"):
        cls(12, 7, 5, 6, batch_norm=True)
    with pytest.raises(TypeError, match="output_dim"):
        cls(12, 7, 5)
    with pytest.raises(TypeError):
        cls(12, 7, 5, 6, True, True, True, True)


# forward.


@each_method
def test_ranks_below_two(method):
    layer = LAYER._replace(method=method).layer()
    for x in (placeholder(FEATURES), placeholder(), tf.placeholder(tf.float32), np.zeros(FEATURES, np.float32)):
        with raises(ValueError, "reshaped_input", "rows [B * N, D], lists [B, N, D] or maps [B, H, W, D]", "shape"):
            layer.forward(x)


@each_method
def test_last_dimensions_other_than_feature_size(method):
    layer = LAYER._replace(method=method).layer()
    for shape in ([None, 11], [28, None], [None, SAMPLES, 1], [4, 7, None], [4, 1, 7, 13], [None] * 4, [FEATURES, 7]):
        x = placeholder(*shape)
        with raises(ValueError, "reshaped_input", f"feature_size = {FEATURES}", f"shape {x.shape}"):
            layer.forward(x)


@each_method
def test_dimensions_other_than_max_samples(method):
    layer = LAYER._replace(method=method).layer()
    for shape, count in (((4, 6), 6), ((None, 14), 14), ((None, 2, 7), 14), ((4, 3, 2), 6), ((7, 1, 1), 1)):
        with raises(
            ValueError,
            "reshaped_input",
            f"as many samples in each list as max_samples = {SAMPLES}",
            f"{count} in shape",
        ):
            layer.forward(placeholder(*(shape + (FEATURES,))))


@each_method
def test_rows_that_are_not_a_multiple_of_max_samples(method):
    layer = LAYER._replace(method=method).layer()
    for rows in (1, 6, 8, 29):
        with raises(ValueError, "reshaped_input", f"a multiple of max_samples = {SAMPLES}", f"{rows} in shape"):
            layer.forward(placeholder(rows, FEATURES))


def test_failed_calls_leave_no_variables():
    for x in (placeholder(FEATURES), placeholder(6, FEATURES), placeholder(7, 3), tf.zeros([7, FEATURES], tf.float64)):
        with pytest.raises((TypeError, ValueError)):
            LAYER.layer().forward(x)
    assert tf.global_variables() == []


@each_method
def test_eager_mode(method):
    layer = LAYER._replace(method=method).layer()
    x = np.zeros([BATCH, SAMPLES, FEATURES], np.float32)
    with context.eager_mode():
        for call in (layer.forward, lambda x: layer.context_gating(x[:, 0])):
            with pytest.raises(RuntimeError, match=NOTHING_KEEPS_VARIABLES):
                call(x)


@each_method
def test_plain_functions(method):
    """In a tf.function, TensorFlow's own error is about Tensor.op, which does not help."""
    layer = LAYER._replace(method=method).layer()
    with context.eager_mode():
        for call in (layer.forward, lambda x: layer.context_gating(x[:, 0])):
            function = tf2.function(call)
            with pytest.raises(RuntimeError, match=NOTHING_KEEPS_VARIABLES):
                function(tf.zeros([BATCH, SAMPLES, FEATURES]))


@each_method
def test_two_layers_in_one_scope(method):
    layer = LAYER._replace(method=method).layer()
    with tf.variable_scope("video/rgb"):
        layer.forward(placeholder(None, FEATURES))
    first = tf.global_variables()[0].op.name
    message = f"^Variable {first} already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE"
    with tf.variable_scope("video/rgb"), pytest.raises(ValueError, match=message):
        layer.forward(placeholder(None, FEATURES))


# context_gating.


@each_class
def test_gating_of_unfit_layers(cls):
    layer = cls(FEATURES, SAMPLES, CLUSTERS, OUTPUTS)
    for shape in ([], [OUTPUTS], [None, None], [BATCH, None], [BATCH, 1, OUTPUTS]):
        x = placeholder(*shape)
        with raises(ValueError, "input_layer", "[B, M] with a known M", x.shape):
            layer.context_gating(x)
    with raises(ValueError, "input_layer", "[B, M] with a known M", "unknown"):
        layer.context_gating(tf.placeholder(tf.float32))
    for dtype in (tf.float64, tf.int32):
        with raises(TypeError, "input_layer", "float32", dtype.name):
            layer.context_gating(tf.zeros([BATCH, OUTPUTS], dtype))
    assert tf.global_variables() == []


# Inputs of other types.


@each_method
def test_inputs_of_other_types(method):
    """They are refused before any variable is created, and not cast."""
    layer = LAYER._replace(method=method).layer()
    for dtype in (tf.float16, tf.bfloat16, tf.float64, tf.int32, tf.uint8):
        message = f": expected float32, got {dtype.name}. Use tf.cast"
        with pytest.raises(TypeError, match="reshaped_input" + message):
            layer.forward(tf.placeholder(dtype, [BATCH, SAMPLES, FEATURES]))
        with pytest.raises(TypeError, match="input_layer" + message):
            layer.context_gating(tf.placeholder(dtype, [BATCH, 3]))
    assert not tf.global_variables()


@pytest.mark.parametrize("value", [None, [[1.0], [1.0, 2.0]], "rows"], ids=repr)
def test_input_that_is_not_an_array(value):
    with pytest.raises(TypeError, match="^reshaped_input: expected"):
        LAYER.layer().forward(value)
    with pytest.raises(TypeError, match="^input_layer: expected"):
        LAYER.layer().context_gating(value)
