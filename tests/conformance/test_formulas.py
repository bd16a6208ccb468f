"""Outputs, moving averages and gradients equal the float64 statement of the formulas, for all shapes and values."""

from support import golden
import numpy as np
import tensorflow.compat.v1 as tf
from support.comparison import assert_equals_statement, blurred, by_name, randomize, relative_error
from support.configurations import (
    BATCH,
    FEATURES,
    SAMPLES,
    Configuration,
    each_configuration_of_2017,
    each_method,
)
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from support.numpy_pooling import pool

sizes = st.tuples(*[st.integers(1, most) for most in (4, 6, 6, 5)])  # B, N, D, K
outputs = st.none() | st.integers(1, 5)


@each_configuration_of_2017
def test_statement_of_the_formulas(configuration):
    recorded = golden.load(configuration)
    lists = recorded["x"].reshape(BATCH, SAMPLES, FEATURES)
    y, moved = pool(configuration, lists, golden.of_kind(recorded, "var"))
    assert relative_error(y, recorded["y"]) < 2e-6
    expected = golden.of_kind(recorded, "after_update")
    assert sorted(moved) == sorted(expected)
    assert all(relative_error(moved[name], expected[name]) < 4e-7 for name in expected)


@each_method
@settings(derandomize=True, database=None, deadline=None, max_examples=4, phases=[Phase.explicit, Phase.generate])
@given(sizes=sizes, outputs=outputs, flags=st.tuples(*[st.booleans()] * 3), seed=st.integers(0, 2**32 - 1))
@example(sizes=(3, 1, 4, 3), outputs=2, flags=(True, True, True), seed=1)
@example(sizes=(3, 5, 1, 3), outputs=2, flags=(False, True, True), seed=2)
@example(sizes=(3, 5, 4, 1), outputs=2, flags=(True, True, False), seed=3)
@example(sizes=(1, 1, 1, 1), outputs=None, flags=(True, True, True), seed=4)
def test_formulas(method, sizes, outputs, flags, seed):
    configuration = Configuration(method, *flags)
    batch, samples, features, clusters = sizes
    rng = np.random.RandomState(seed)
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        x = tf.placeholder(tf.float32, [batch, samples, features])
        sizes = {"feature_size": features, "max_samples": samples, "cluster_size": clusters}
        y = configuration.layer(output_dim=outputs, **sizes).forward(x)
        values = randomize(session, rng)
        cotangent = rng.standard_normal(y.shape.as_list()).astype(np.float32)
        sources = dict(by_name(tf.trainable_variables()), x=x)
        gradients = dict(zip(sources, tf.gradients(y * cotangent, list(sources.values()))))

        def statement(inputs, noise=None):
            inputs = dict(inputs)
            return pool(configuration, inputs.pop("x"), inputs, with_projection=outputs is not None, noise=noise)

        lists = rng.standard_normal([batch, samples, features]).astype(np.float32)
        with_zeros = lists * np.arange(batch)[:, None, None].astype(bool)
        for given_lists in (lists, 1e3 * lists, 1e-4 * lists, 1e-10 * lists, with_zeros, 0 * lists):
            came = session.run([y, gradients], {x: given_lists})
            inputs = dict(values, x=given_lists)
            assert_equals_statement(statement, inputs, came[0], rng)
            assert all(np.isfinite(gradient).all() for gradient in came[1].values())
            # Norms have no derivative at zeros; at 1e3, the softmax is nearly one-hot, and rounding hides the slope.
            if given_lists.any(axis=(1, 2)).all() and np.abs(given_lists).max() < 10:
                assert_gradients(lambda *args: (statement(*args)[0] * cotangent).sum(), inputs, came[1], rng)
        session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), {x: lists})
        assert_moving_averages(statement, dict(values, x=lists), session, rng)


def assert_moving_averages(statement, inputs, session, rng):
    expected, blurred_ones = statement(inputs)[1], statement(blurred(inputs, rng), rng)[1]
    variables = [variable for variable in tf.global_variables() if variable not in tf.trainable_variables()]
    came = session.run(by_name(variables))
    assert not came or sorted(came) == sorted(inputs_of_batch_norm(inputs))
    for name, value in came.items():
        blur = np.abs(blurred_ones[name] - expected[name]).max() if expected else 0
        np.testing.assert_allclose(value, expected.get(name, inputs[name]), 1e-6, 3 * blur, err_msg=name)


@each_method
def test_gradients_are_finite_where_sums_of_squares_overflow(method, session, rng):
    """As in NetFV where a covariance is near 0: the normalisation then gives zeros, but not NaN."""
    x = tf.constant(1e3 * rng.standard_normal([2, 5, 8]).astype(np.float32))
    sizes = {"feature_size": 8, "max_samples": 5, "cluster_size": 3, "output_dim": 4}
    y = Configuration(method, add_batch_norm=False, gating=False, is_training=True).layer(**sizes).forward(x)
    randomize(session, rng)
    for variable in tf.trainable_variables():
        if variable.op.name == "covar_weights":
            session.run(variable.assign(tf.zeros_like(variable)))
    assert all(np.isfinite(value).all() for value in session.run([y] + tf.gradients(y, [x] + tf.trainable_variables())))


def inputs_of_batch_norm(inputs):
    return [name for name in inputs if "/moving_" in name]


def assert_gradients(loss, inputs, came, rng):
    """Compares the slopes of the loss, along a random direction in each input, with finite differences."""
    others = [(blurred(inputs, rng), seed) for seed in range(3)]
    for name, gradient in came.items():
        direction = rng.standard_normal(gradient.shape) * np.abs(inputs[name]).max()
        expected = slope(loss, inputs, name, direction)
        blur = max(abs(slope(loss, other, name, direction, seed) - expected) for other, seed in others)
        terms = gradient.astype(np.float64) * direction
        tolerance = 1e-5 * np.linalg.norm(terms) + 5e-5 + 3 * blur
        assert abs(terms.sum() - expected) <= tolerance, name


def slope(loss, inputs, name, direction, seed=None, step=1e-6):
    """The slope of the loss by finite differences, with the same noise on both sides, or without noise."""
    moved = [dict(inputs, **{name: inputs[name].astype(np.float64) + s * step * direction}) for s in (1, -1)]
    ahead, behind = (loss(values, None if seed is None else np.random.RandomState(seed)) for values in moved)
    return (ahead - behind) / (2 * step)
