"""Layers that scale their samples equal layers whose samples are scaled first, in outputs and all gradients."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import randomize
from yt8m.pooling import OF_SCALED

SIZES = 6, 7, 8, None  # D, N, K, and no projection


@pytest.mark.parametrize("plain, method", list(OF_SCALED.items()), ids=lambda method: method.__name__)
@pytest.mark.parametrize(
    "num_samples, is_training",
    [
        pytest.param([7, 3, 0, 1], True, id="lengths-train"),
        pytest.param([7, 3, 0, 1], False, id="lengths-infer", marks=pytest.mark.long),
        pytest.param(None, True, id="full-train", marks=pytest.mark.long),
        pytest.param(None, False, id="full-infer", marks=pytest.mark.long),
    ],
)
def test_equals_a_layer_of_samples_that_are_scaled_first(method, plain, num_samples, is_training, session, rng):
    x = tf.constant(rng.standard_normal([4, 7, 6]).astype(np.float32))
    scale, shift = tf.get_variable("scale", [6]), tf.get_variable("shift", [6])
    outputs = []
    with tf.variable_scope("pooling", reuse=tf.AUTO_REUSE):
        layer = method(*SIZES, gating=False, is_training=is_training)
        layer.scale, layer.shift = scale, shift
        outputs.append(layer.forward(x, num_samples))
        layer = plain(*SIZES, gating=False, is_training=is_training)
        outputs.append(layer.forward(scale * x + shift, num_samples))
    cotangent = rng.standard_normal(outputs[1].shape.as_list()).astype(np.float32)
    gradients = [tf.gradients(tf.reduce_sum(y * cotangent), tf.trainable_variables()) for y in outputs]
    values = randomize(session, rng)
    (one, other), gradients = session.run([outputs, gradients])
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    largest = max(np.abs(gradient).max() for gradient in gradients[1])
    for one, other in zip(*gradients):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6 * largest)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    half, averages = len(updates) // 2, []
    for own in (updates[:half], updates[half:]):
        for variable in tf.global_variables():
            variable.load(values[variable.op.name], session)
        session.run(own)
        averages.append(session.run([variable for variable in tf.global_variables() if "moving" in variable.op.name]))
    for one, other in zip(*averages):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
