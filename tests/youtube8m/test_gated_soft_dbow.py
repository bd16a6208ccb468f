"""Gated Soft-DBoW against float64 NumPy: descriptor, gradients, lengths."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import randomize, relative_error
from support.numpy_pooling import softmax, unit
from yt8m.pooling import GatedSoftDBoW

LISTS, SAMPLES, WIDTH, CLUSTERS = 4, 5, 6, 3


def statement(lists, lengths, values, is_training):
    def normalized(rows, scope):
        beta, gamma, mean, variance = (
            values[f"{scope}/{name}"] for name in ("beta", "gamma", "moving_mean", "moving_variance")
        )
        if is_training:
            mean, variance = rows.mean(axis=0), rows.var(axis=0)
        return gamma * (rows - mean) / np.sqrt(variance + 0.001) + beta

    is_real = np.arange(SAMPLES) < np.asarray(lengths)[:, None]
    assignment = np.zeros([LISTS, SAMPLES, CLUSTERS])
    assignment[is_real] = softmax(normalized(lists[is_real] @ values["cluster_weights"], "cluster_bn"))
    strongest = unit(assignment.max(axis=1), axis=1)
    gates = normalized(strongest @ values["dim_red"] @ values["cluster_weights_2"], "cluster_bn_2")
    return unit(assignment.sum(axis=1) / (1 + np.exp(-gates)), axis=1)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("lengths", [None, [SAMPLES, 1, 3, 1]])
def test_descriptor_and_gradients(is_training, lengths, session, rng):
    lists = rng.standard_normal((LISTS, SAMPLES, WIDTH)).astype(np.float32)
    x = tf.constant(lists)
    layer = GatedSoftDBoW(WIDTH, SAMPLES, CLUSTERS, None, gating=False, is_training=is_training)
    descriptor = layer.forward(x, lengths)
    values = {name: value.astype(np.float64) for name, value in randomize(session, rng).items()}
    values["x"] = lists.astype(np.float64)
    lengths = [SAMPLES] * LISTS if lengths is None else lengths
    expected = statement(values["x"], lengths, values, is_training)
    assert relative_error(session.run(descriptor), expected) < 2e-6
    cotangent = rng.standard_normal(expected.shape)
    sources = {variable.op.name: variable for variable in tf.trainable_variables()}
    sources["x"] = x
    loss = tf.reduce_sum(descriptor * cotangent.astype(np.float32))
    gradients = session.run(dict(zip(sources, tf.gradients(loss, list(sources.values())))))
    for name, gradient in gradients.items():
        for direction in rng.standard_normal((3,) + gradient.shape):
            plus, minus = (
                (statement(moved["x"], lengths, moved, is_training) * cotangent).sum()
                for moved in (dict(values, **{name: values[name] + step * direction}) for step in (1e-6, -1e-6))
            )
            slope = (gradient * direction).sum()
            assert abs(slope - (plus - minus) / 2e-6) < 2e-5 * max(1, np.linalg.norm(gradient)), name
