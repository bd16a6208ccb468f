"""Every way in which programs call a layer gives the numbers of the formulas."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import assign, random_values, randomize
from support.configurations import (
    BATCH,
    FEATURES,
    OUTPUTS,
    SAMPLES,
    TRAINING,
    each_method,
)
from support.numpy_pooling import pool

# The same samples in each form, by its shape.
FORMS = {
    "rows": (BATCH * SAMPLES, FEATURES),
    "lists": (BATCH, SAMPLES, FEATURES),
    "maps": (BATCH, 1, SAMPLES, FEATURES),
    "narrow maps": (BATCH, SAMPLES, 1, FEATURES),
    "volumes": (BATCH, 1, 1, SAMPLES, FEATURES),
}


def outputs_of_forms(layer, inputs):
    """The layer's outputs for inputs in all forms, with the same variables, a dict by form."""
    outputs = {}
    for form, x in inputs.items():
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            outputs[form] = layer.forward(x)
    return outputs


def placeholders(dynamic):
    """A placeholder for each form, of unknown batch size or with only the features known, a dict by form."""
    inputs = {}
    for form, shape in FORMS.items():
        known = list(shape[1:]) if dynamic == "batch" else [None] * (len(shape) - 2) + [FEATURES]
        inputs[form] = tf.placeholder(tf.float32, [None] + known)
    return inputs


def fed(inputs, lists):
    return {x: lists.reshape(FORMS[form]) for form, x in inputs.items()}


def assert_pools(configuration, session, rng, outputs, lists, feed=None):
    """Gives the variables random values, and compares the outputs with the formula of the configuration."""
    values = randomize(session, rng)
    expected = pool(configuration, lists, values)[0]
    for form, y in session.run(outputs, feed).items():
        np.testing.assert_allclose(y, expected, 2e-5, 2e-6, err_msg=form)


@each_method
def test_static_shapes(method, session, rng, lists):
    configuration = TRAINING._replace(method=method)
    inputs = {form: tf.constant(lists.reshape(shape)) for form, shape in FORMS.items()}
    inputs["array"] = lists
    outputs = outputs_of_forms(configuration.layer(), inputs)
    assert all(y.shape.as_list() == [BATCH, OUTPUTS] for y in outputs.values())
    assert_pools(configuration, session, rng, outputs, lists)


@pytest.mark.parametrize("dynamic", ["batch", "all but features"])
def test_dynamic_shapes(dynamic, session, rng, lists):
    inputs = placeholders(dynamic)
    outputs = outputs_of_forms(TRAINING.layer(), inputs)
    assert all(y.shape.as_list() == [None, OUTPUTS] for y in outputs.values())
    assert_pools(TRAINING, session, rng, outputs, lists, fed(inputs, lists))


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64], ids=lambda dtype: dtype.name)
def test_max_samples_as_placeholder(dtype, session, rng, lists):
    size, inputs = tf.placeholder(dtype, []), placeholders("all but features")
    outputs = outputs_of_forms(TRAINING.layer(max_samples=size), inputs)
    assert all(y.shape.as_list() == [None, OUTPUTS] for y in outputs.values())
    assert_pools(TRAINING, session, rng, outputs, lists, {size: SAMPLES, **fed(inputs, lists)})


@pytest.mark.parametrize("size", [np.int64(7), np.int32(7), tf.Dimension(7)], ids=repr)
def test_max_samples_as_number(size):
    layer = TRAINING.layer(max_samples=size)
    assert type(layer.max_samples) is int and layer.max_samples == 7


@each_method
def test_max_samples_from_the_shape_of_a_map(method, session, rng, lists):
    configuration = TRAINING._replace(method=method)
    x = tf.placeholder(tf.float32, [None, None, None, FEATURES])
    y = {"maps": configuration.layer(max_samples=tf.shape(x)[1] * tf.shape(x)[2]).forward(x)}
    assert_pools(configuration, session, rng, y, lists, {x: lists.reshape(FORMS["maps"])})
    tall = rng.standard_normal([3, 4, 2, FEATURES]).astype(np.float32)
    assert_pools(configuration, session, rng, y, tall.reshape([3, 8, FEATURES]), {x: tall})


@pytest.mark.parametrize("size", ["int", "tensor"])
def test_lists_of_another_size_at_run_time(size, session, rng):
    inputs = placeholders("all but features")
    size = SAMPLES if size == "int" else tf.constant(SAMPLES) + tf.placeholder_with_default(0, [])
    outputs = outputs_of_forms(TRAINING.layer(max_samples=size), inputs)
    randomize(session, rng)
    for form, x in inputs.items():
        # For all but rows, a multiple of max_samples is wrong too: it would mix lists.
        for count in [SAMPLES * BATCH + 1] if form == "rows" else [SAMPLES - 1, 2 * SAMPLES]:
            shape = [count if length in (SAMPLES, SAMPLES * BATCH) else length for length in FORMS[form]]
            with pytest.raises(tf.errors.InvalidArgumentError, match="reshaped_input: expected") as raised:
                session.run(outputs[form], {x: np.zeros(shape, np.float32)})
            assert f"[{SAMPLES}]" in str(raised.value) and f"[{count}]" in str(raised.value)


@pytest.mark.parametrize("size", [0, -4])
def test_max_samples_that_is_not_positive_at_run_time(size, session, rng):
    y = TRAINING.layer(max_samples=tf.placeholder_with_default(size, [])).forward(np.zeros([8, FEATURES], np.float32))
    randomize(session, rng)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"reshaped_input: expected(?s:.*)\[{size}\]"):
        session.run(y)


@each_method
def test_is_training_as_placeholder(method, session, rng, lists):
    mode = tf.placeholder(tf.bool, [])
    configuration = TRAINING._replace(method=method)
    x = tf.placeholder(tf.float32, [None, FEATURES])
    y = configuration.layer(is_training=mode).forward(x)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    for is_training in (True, False):
        values, feed = random_values(rng), {x: lists.reshape(FORMS["rows"]), mode: is_training}
        assign(session, values)
        expected, moved = pool(configuration._replace(is_training=is_training), lists, values)
        np.testing.assert_allclose(session.run(y, feed), expected, 2e-5, 2e-6)
        session.run(updates, feed)
        for variable in tf.global_variables():
            name = variable.op.name
            np.testing.assert_allclose(session.run(variable), moved.get(name, values[name]), 1e-6, 1e-7, err_msg=name)


@pytest.mark.parametrize("is_training", [True, False])
def test_is_training_as_value(is_training, session, rng, lists):
    configuration = TRAINING._replace(is_training=is_training)
    outputs = {}
    for form in (bool, int, np.bool_, tf.constant, lambda value: tf.placeholder_with_default(value, [])):
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            outputs[str(form)] = configuration.layer(is_training=form(is_training)).forward(lists)
    assert_pools(configuration, session, rng, outputs, lists)
