"""Every way in which programs call a layer gives the numbers of the formulas."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import assign, random_values, randomize, relative_error
from support.configurations import BATCH, FEATURES, OUTPUTS, SAMPLES, TRAINING, Configuration, each_method
from support.numpy_pooling import pool

# The same samples in each form, by its shape.
FORMS = {
    "rows": (BATCH * SAMPLES, FEATURES),
    "lists": (BATCH, SAMPLES, FEATURES),
    "maps": (BATCH, 1, SAMPLES, FEATURES),
    "narrow maps": (BATCH, SAMPLES, 1, FEATURES),
    "volumes": (BATCH, 1, 1, SAMPLES, FEATURES),
}
each_form = pytest.mark.parametrize("form", FORMS)


def check(configuration, session, rng, y, lists, feed=None):
    """Gives the graph's variables random values, and compares y with the formula of the configuration."""
    values = randomize(session, rng)
    np.testing.assert_allclose(session.run(y, feed), pool(configuration, lists, values)[0], 2e-5, 2e-6)


@each_method
def test_rows_lists_and_maps(method, session, rng, lists):
    layer = TRAINING._replace(method=method).layer()
    outputs = []
    for shape in FORMS.values():
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            outputs.append(layer.forward(tf.constant(lists.reshape(shape))))
    with tf.variable_scope("", reuse=True):
        outputs.append(layer.forward(lists.reshape(BATCH, SAMPLES, FEATURES)))  # NumPy's array itself
    randomize(session, rng)
    first, *others = session.run(outputs)
    for other in others:
        np.testing.assert_array_equal(other, first)


@each_form
def test_static_shapes(form, session, rng, lists):
    y = TRAINING.layer().forward(tf.constant(lists.reshape(FORMS[form])))
    assert y.shape.as_list() == [BATCH, OUTPUTS]
    check(TRAINING, session, rng, y, lists)


@pytest.mark.parametrize("dynamic", ["batch", "all but features"])
@each_form
def test_dynamic_shapes(form, dynamic, session, rng, lists):
    known = FORMS[form][1:] if dynamic == "batch" else [None] * (len(FORMS[form]) - 2) + [FEATURES]
    x = tf.placeholder(tf.float32, [None] + list(known))
    y = TRAINING.layer().forward(x)
    assert y.shape.as_list() == [None, OUTPUTS]
    check(TRAINING, session, rng, y, lists, {x: lists.reshape(FORMS[form])})


@pytest.mark.parametrize("size", [SAMPLES, np.int64(SAMPLES), np.int32(SAMPLES), tf.Dimension(SAMPLES)], ids=repr)
@each_form
def test_max_samples_as_number(form, size, session, rng, lists):
    y = TRAINING.layer(max_samples=size).forward(tf.constant(lists.reshape(FORMS[form])))
    assert y.shape.as_list() == [BATCH, OUTPUTS]
    check(TRAINING, session, rng, y, lists)


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64], ids=lambda dtype: dtype.name)
@each_form
def test_max_samples_as_placeholder(form, dtype, session, rng, lists):
    size = tf.placeholder(dtype, [])
    x = tf.placeholder(tf.float32, [None] * (len(FORMS[form]) - 1) + [FEATURES])
    y = TRAINING.layer(max_samples=size).forward(x)
    assert y.shape.as_list() == [None, OUTPUTS]
    check(TRAINING, session, rng, y, lists, {x: lists.reshape(FORMS[form]), size: SAMPLES})


@each_method
def test_max_samples_from_the_shape_of_a_map(method, session, rng, lists):
    configuration = TRAINING._replace(method=method)
    x = tf.placeholder(tf.float32, [None, None, None, FEATURES])
    y = configuration.layer(max_samples=tf.shape(x)[1] * tf.shape(x)[2]).forward(x)
    check(configuration, session, rng, y, lists, {x: lists.reshape(FORMS["maps"])})
    tall = rng.standard_normal([3, 4, 2, FEATURES]).astype(np.float32)
    check(configuration, session, rng, y, tall.reshape([3, 8, FEATURES]), {x: tall})


def test_max_samples_as_constant_tensor(session, rng, lists):
    y = TRAINING.layer(max_samples=tf.constant(SAMPLES)).forward(tf.constant(lists))
    assert y.shape.as_list() == [BATCH, OUTPUTS]
    check(TRAINING, session, rng, y, lists)


@pytest.mark.parametrize("size", ["int", "tensor"])
@each_form
def test_misfit_in_the_run_names_max_samples(form, size, session, rng):
    shape = FORMS[form]
    size = SAMPLES if size == "int" else tf.constant(SAMPLES) + tf.placeholder_with_default(0, [])
    x = tf.placeholder(tf.float32, [None] * (len(shape) - 1) + [FEATURES])
    y = TRAINING.layer(max_samples=size).forward(x)
    randomize(session, rng)
    # For all but rows, a multiple of max_samples does not do either: it would mix lists.
    misfits = [SAMPLES * BATCH + 1] if form == "rows" else [SAMPLES - 1, 2 * SAMPLES]
    for count in misfits:
        fed = [count if length in (SAMPLES, SAMPLES * BATCH) else length for length in shape]
        message = rf"\[reshaped_input: expected\] \[.*\] \[max_samples =\] \[{SAMPLES}\] \[, got\] \[{count}\]"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            session.run(y, {x: np.zeros(fed, np.float32)})


@pytest.mark.parametrize("size", [0, -4])
def test_max_samples_that_is_not_positive_in_the_run(size, session, rng):
    y = TRAINING.layer(max_samples=tf.placeholder_with_default(size, [])).forward(np.zeros([8, FEATURES], np.float32))
    randomize(session, rng)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"multiple of\] \[max_samples =\] \[{size}\]"):
        session.run(y)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_max_samples_of_any_type_of_integer(dtype, session, rng, lists):
    configuration = TRAINING._replace(is_training=False)
    layer = configuration.layer(max_samples=tf.placeholder_with_default(np.array(SAMPLES, dtype), []))
    plain = layer.forward(lists)
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        with_lengths = layer.forward(lists, [SAMPLES] * BATCH)
    randomize(session, rng)
    assert relative_error(*session.run([with_lengths, plain])) <= 1e-6


@pytest.mark.parametrize("add_batch_norm", [True, False], ids=["bn", "bias"])
@each_method
def test_is_training_as_placeholder(method, add_batch_norm, session, rng, lists):
    mode = tf.placeholder(tf.bool, [])
    configuration = Configuration(method, add_batch_norm, gating=True, is_training=True)
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
@pytest.mark.parametrize(
    "form",
    [bool, int, np.bool_, tf.constant, lambda value: tf.placeholder_with_default(value, [])],
    ids=["bool", "int", "np.bool_", "constant", "placeholder"],
)
def test_is_training_as_value(form, is_training, session, rng, lists):
    configuration = TRAINING._replace(is_training=is_training)
    y = configuration.layer(is_training=form(is_training)).forward(lists)
    check(configuration, session, rng, y, lists)


def test_wrapped_function(rng, lists):
    """Eager programs of TensorFlow 2 can call a layer through wrap_function, for inference."""
    if not hasattr(tf, "wrap_function"):
        pytest.skip(f"TensorFlow {tf.__version__} has no wrap_function")
    from tensorflow.python.eager import context

    with context.eager_mode():
        layer = TRAINING.layer(is_training=False)
        specification = tf.TensorSpec([None, SAMPLES, FEATURES], tf.float32)
        pooling = tf.wrap_function(layer.forward, [specification])
        values = {v.name.split(":")[0]: v.numpy() for v in pooling.graph.variables}
        y = pooling(tf.constant(lists)).numpy()
    expected = pool(TRAINING._replace(is_training=False), lists, values)[0]
    np.testing.assert_allclose(y, expected, 2e-5, 2e-6)
