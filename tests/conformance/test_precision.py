"""Layers compute in float32, the type of their variables. They refuse inputs of other types instead of casting them."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.configurations import BATCH, FEATURES, SAMPLES, Configuration, each_method

SHAPE = [BATCH, SAMPLES, FEATURES]
OTHER_TYPES = [tf.float16, tf.bfloat16, tf.float64, tf.int32, tf.uint8]

each_other_type = pytest.mark.parametrize("dtype", OTHER_TYPES, ids=lambda dtype: dtype.name)


def layer(method):
    return Configuration(method, add_batch_norm=True, gating=True, is_training=True).layer()


@each_method
def test_inputs_of_other_types_are_refused(method):
    """Tensors and arrays, for a layer and for context_gating, before any variable is created."""
    for dtype in OTHER_TYPES:
        message = f": expected float32, the type of the layer's variables, got {dtype.name}. Cast it"
        with pytest.raises(TypeError, match="reshaped_input" + message):
            layer(method).forward(tf.placeholder(dtype, SHAPE))
        if dtype != tf.bfloat16:  # NumPy does not have it.
            with pytest.raises(TypeError, match="reshaped_input" + message):
                layer(method).forward(np.zeros(SHAPE, dtype.as_numpy_dtype))
        with pytest.raises(TypeError, match="input_layer" + message):
            layer(method).context_gating(tf.placeholder(dtype, [BATCH, 3]))
    assert not tf.global_variables()


def test_strings_are_refused_without_the_advice_to_cast():
    with pytest.raises(TypeError, match=r"reshaped_input: expected float32, .*, got string\.$"):
        layer("NetVLAD").forward(tf.placeholder(tf.string, SHAPE))


@each_other_type
def test_the_advised_cast_works(dtype, session):
    x = tf.placeholder_with_default(tf.ones(SHAPE, dtype), [None, SAMPLES, FEATURES])
    y = layer("NetVLAD").forward(tf.cast(x, tf.float32))
    session.run(tf.global_variables_initializer())
    assert session.run(y).dtype == np.float32
