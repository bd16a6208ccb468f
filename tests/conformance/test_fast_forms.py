"""Each fast form of loupe equals its plain form, in outputs and in gradients, and so does every layer made of them.

Each fast form is also used where it is meant to be.
"""

import loupe
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2
from support.comparison import randomize
from support.configurations import (
    BATCH,
    CLUSTERS,
    CONFIGURATIONS,
    FEATURES,
    METHODS_OF_2017,
    OUTPUTS,
    SAMPLES,
    Configuration,
)
from support.exports import assert_same_in_onnx, assert_same_in_tflite
from support.plain_forms import PLAIN_FORMS, in_place_of
from support.pooling_graph import LENGTHS, each_configuration_and_lengths
from tensorflow.python.eager import context

SUMS = [BATCH, FEATURES, CLUSTERS]

# The shapes of each form's tensors, and its other arguments.
CALLS = {
    "l2_normalized": [(SUMS,), (SUMS, [BATCH, 1, CLUSTERS]), (SUMS, [BATCH, 1, CLUSTERS], True), (SUMS, None, True)],
    "project": [([BATCH, FEATURES], [FEATURES, OUTPUTS])],
    "rows_times": [([BATCH * SAMPLES, FEATURES], [FEATURES, CLUSTERS])],
}

fast_at_every_size = pytest.mark.usefixtures("fast_at_every_size")


def test_every_form_is_called():
    assert sorted(CALLS) == sorted(PLAIN_FORMS)


@fast_at_every_size
@pytest.mark.parametrize(
    "name, arguments",
    [pytest.param(name, call, id=f"{name}-{number}") for name in CALLS for number, call in enumerate(CALLS[name])],
)
def test_form(name, arguments, session, rng):
    # Above 0, as masses and assignments are.
    arguments = [tf.constant(np.float32(rng.uniform(0.1, 1, a))) if isinstance(a, list) else a for a in arguments]
    sources = [argument for argument in arguments if tf.is_tensor(argument)]
    fast, plain = (tf.nest.flatten(form(*arguments)) for form in (getattr(loupe, name), PLAIN_FORMS[name]))
    assert [y.shape.as_list() for y in fast] == [y.shape.as_list() for y in plain]
    cotangents = [tf.constant(np.float32(rng.standard_normal(y.shape.as_list()))) for y in fast]
    results = [ys + tf.gradients(ys, sources, cotangents) for ys in (fast, plain)]
    for got, expected in zip(*session.run(results)):
        # Where a cluster is normalised, the gradient of its mass is zero but for rounding.
        assert np.abs(got - expected).max() <= 5e-6 * max(np.abs(expected).max(), 1e-1)


@fast_at_every_size
@each_configuration_and_lengths(CONFIGURATIONS)
def test_layer(configuration, has_lengths, session, rng):
    x = tf.constant(np.float32(rng.standard_normal([BATCH, SAMPLES, FEATURES])))
    lengths = tf.constant(LENGTHS) if has_lengths else None
    fast = configuration.layer().forward(x, lengths)
    with tf.variable_scope(tf.get_variable_scope(), reuse=True), in_place_of(*PLAIN_FORMS):
        plain = configuration.layer().forward(x, lengths)
    randomize(session, rng)
    cotangent = tf.constant(np.float32(rng.standard_normal(fast.shape.as_list())))
    sources = [x] + tf.trainable_variables()
    results = [[y] + tf.gradients(y, sources, cotangent) for y in (fast, plain)]
    for got, expected in zip(*session.run(results)):
        # Some gradients are sums that cancel.
        assert np.abs(got - expected).max() <= 2e-5 * max(np.abs(expected).max(), 1e-2)


@fast_at_every_size
def test_products_of_complex_numbers_keep_their_gradient(session, rng):
    v, weights, cotangent = (
        tf.constant(np.complex64(rng.standard_normal(shape) + 1j * rng.standard_normal(shape)))
        for shape in ([3, 4], [4, 2], [3, 2])
    )
    products = [form(v, weights) for form in (loupe.project, tf.matmul)]
    got, expected = session.run([tf.gradients(y, [v, weights], cotangent) for y in products])
    for pair in zip(got, expected):
        np.testing.assert_allclose(*pair, 1e-5, 1e-5)


def registered_gradients(graph):
    name = "_gradient_op_type"
    return [op.get_attr(name) for op in graph.get_operations() if name in op.node_def.attr]


def test_which_products_have_fast_gradients(graph):
    lists = tf.zeros([2, 3, 64])
    with tf.variable_scope("small"):
        loupe.NetVLAD(64, 3, 32, 127).forward(lists)
    assert registered_gradients(graph) == [b"LoupeAssignment"]
    with tf.variable_scope("large"):
        loupe.NetVLAD(64, 3, 32, 512).forward(lists)
    assert registered_gradients(graph)[1:] == [b"LoupeAssignment", b"LoupeProjection", b"LoupeProjection"]


@fast_at_every_size
def test_functions_have_a_gradient_that_can_be_saved(rng):
    """The gradient of the function itself is right, too."""
    with context.eager_mode():
        v, weights = (tf2.constant(np.float32(rng.standard_normal(shape))) for shape in ([3, 4], [4, 2]))
        results = []
        for form in (loupe.project, loupe.rows_times, tf.matmul):

            @tf2.function
            def penalty(v, weights, form=form):
                with tf.GradientTape() as outer:
                    outer.watch([v, weights])
                    with tf.GradientTape() as inner:
                        inner.watch([v, weights])
                        loss = tf.reduce_sum(tf.square(form(v, weights)))
                    gradients = inner.gradient(loss, [v, weights])
                    norm = tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in gradients])
                return gradients + outer.gradient(norm, [v, weights])

            results.append([value.numpy() for value in penalty(v, weights)])
        for *fast, plain in zip(*results):
            for values in fast:
                np.testing.assert_allclose(values, plain, 1e-4, 1e-4)
        forms = (loupe.project, loupe.rows_times)
        concrete = [tf2.function(form).get_concrete_function(v, weights) for form in forms]
    for function in concrete:
        names = registered_gradients(function.graph)
        if tf.__version__.startswith("1."):
            assert names == []
        else:
            assert len(names) == 1 and names[0].startswith(b"CustomGradient")


@fast_at_every_size
@pytest.mark.parametrize("form", ["project", "rows_times"])
def test_products_have_gradients_that_are_slices(form, session, rng):
    """The gradient of tf.gather is IndexedSlices."""
    v, weights = (tf.constant(np.float32(rng.standard_normal(shape))) for shape in ([5, 4], [4, 3]))
    products = [product(v, weights) for product in (getattr(loupe, form), tf.matmul)]
    got, expected = session.run([tf.gradients(tf.gather(y, [1, 1, 3]), [v, weights]) for y in products])
    for pair in zip(got, expected):
        np.testing.assert_allclose(*pair, 1e-5, 1e-5)


def test_rows_of_another_rank_have_the_product_and_the_gradients_of_tensorflow(rng):
    with context.eager_mode():
        rows, weights = (tf2.constant(np.float32(rng.standard_normal(shape))) for shape in ([2, 5, 4], [4, 3]))
        results = []
        for form in (loupe.rows_times, tf.matmul):
            with tf.GradientTape() as tape:
                tape.watch([rows, weights])
                y = form(rows, weights)
            results.append([y, *tape.gradient(y, [rows, weights])])
        for pair in zip(*results):
            np.testing.assert_allclose(*pair, 1e-5, 1e-5)


@fast_at_every_size
@pytest.mark.parametrize("form", ["project", "rows_times"])
def test_the_product_of_the_gradient_has_no_transposed_operand(form, session):
    """TensorFlow's rewrites turn a transposition before a product into a flag of the product, and the flag is slow."""
    v, weights, seed = (
        tf.get_variable(name, shape, use_resource=True).read_value()
        for name, shape in [("v", [4, 64]), ("weights", [64, 8]), ("seed", [4, 8])]
    )
    session.run(tf.global_variables_initializer())
    source = v if form == "project" else weights
    gradient = tf.gradients(getattr(loupe, form)(v, weights), source, seed)[0]
    metadata = tf.RunMetadata()
    session.run(gradient.op, options=tf.RunOptions(output_partition_graphs=True), run_metadata=metadata)
    products = [node for graph in metadata.partition_graphs for node in graph.node if "MatMul" in node.op]
    assert [(node.attr["transpose_a"].b, node.attr["transpose_b"].b) for node in products] == [(False, False)]


@fast_at_every_size
def test_exports(session, rng, monkeypatch):
    configurations = [
        Configuration(method, add_batch_norm=True, gating=True, is_training=False) for method in METHODS_OF_2017
    ]
    assert_same_in_tflite(configurations, False, session, rng, monkeypatch)
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        assert_same_in_onnx(configurations, False, session, rng)


def test_projections_of_other_ranks():
    weights = tf.zeros([4, 2])
    for v in (tf.zeros([3, 5, 4]), tf.zeros([4])):
        with pytest.raises(ValueError, match=r"^v, weights: expected shapes \[B, P\] and \[P, O\], got"):
            loupe.project(v, weights)
    with pytest.raises(ValueError, match=r"^v, weights: expected shapes"):
        loupe.project(tf.zeros([3, 4]), tf.zeros([1, 4, 2]))
