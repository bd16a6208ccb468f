"""Layers compute in float32, the type of their variables; inputs of other types are refused, not cast in silence."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from configurations import BATCH, FEATURES, SAMPLES, Configuration, each_configuration, each_method

each_other_type = pytest.mark.parametrize(
    "dtype", [tf.float16, tf.bfloat16, tf.float64, tf.int32, tf.uint8], ids=lambda dtype: dtype.name
)


@each_other_type
@each_configuration
def test_inputs_of_other_types_are_refused(configuration, dtype, graph):
    """Tensors and arrays, and what is gated by itself; nothing is built before."""
    layer = configuration.layer()
    shape = [BATCH, SAMPLES, FEATURES]
    message = ": expected float32, the type of the layer's variables, came {}.".format(dtype.name)
    with pytest.raises(TypeError, match="reshaped_input" + message):
        layer.forward(tf.placeholder(dtype, shape))
    if dtype != tf.bfloat16:  # NumPy has no such type of its own.
        with pytest.raises(TypeError, match="reshaped_input" + message):
            layer.forward(np.zeros(shape, dtype.as_numpy_dtype))
    with pytest.raises(TypeError, match="input_layer" + message):
        layer.context_gating(tf.placeholder(dtype, [BATCH, 3]))
    assert not tf.global_variables()


@each_other_type
@each_method
def test_what_the_message_advises_works(method, dtype, session):
    x = tf.cast(
        tf.placeholder_with_default(tf.ones([BATCH, SAMPLES, FEATURES], dtype), [None, SAMPLES, FEATURES]), tf.float32
    )
    y = Configuration(method, add_batch_norm=True, gating=True, is_training=True).layer().forward(x)
    session.run(tf.global_variables_initializer())
    assert session.run(y).dtype == np.float32
