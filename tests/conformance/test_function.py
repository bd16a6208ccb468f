"""Layers built inside functions: tf.compat.v1.wrap_function, tf.function and XLA."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2
from support.comparison import randomize, relative_error
from support.configurations import CONFIGURATIONS, EIGHTH, FEATURES, SAMPLES, parametrize
from support.pooling_graph import LENGTHS, build, each_configuration_and_lengths, random_lists
from tensorflow.python.eager import context


fast_at_every_size = pytest.mark.usefixtures("fast_at_every_size")

# XLA takes seconds to compile a layer, so that the default run compiles two.
COMPILED = [c for c in EIGHTH if c.is_training]
each_to_compile = pytest.mark.parametrize(
    "configuration, has_lengths",
    [
        pytest.param(
            configuration,
            has_lengths,
            id="{}-{}".format(configuration, "lengths" if has_lengths else "full"),
            marks=[] if configuration in COMPILED and not has_lengths else [pytest.mark.long],
        )
        for configuration in CONFIGURATIONS
        for has_lengths in (False, True)
    ],
)


def specifications(has_lengths):
    x = tf.TensorSpec([None, SAMPLES, FEATURES], tf.float32)
    return [x, tf.TensorSpec([None], tf.int32)] if has_lengths else [x]


def arguments(lists, has_lengths):
    return [tf.constant(lists)] + ([tf.constant(LENGTHS, tf.int32)] if has_lengths else [])


@fast_at_every_size
@each_configuration_and_lengths(CONFIGURATIONS, quick=EIGHTH)
def test_wrap_function(configuration, has_lengths, session, rng):
    """A wrapped layer is called in eager mode and inside a tf.function, and differentiated by a tape."""
    graph = build(configuration, has_lengths)
    values, lists = randomize(session, rng), random_lists(rng)
    names = [variable.op.name for variable in tf.trainable_variables()]
    gradients = tf.gradients(tf.square(graph.y), [graph.x] + tf.trainable_variables())
    expected = session.run([graph.y] + gradients, graph.feed(lists))

    with context.eager_mode():
        pool = tf.wrap_function(configuration.layer().forward, specifications(has_lengths))
        variables = {variable.name.split(":")[0]: variable for variable in pool.graph.variables}
        assert sorted(variables) == sorted(values)
        for name, variable in variables.items():
            variable.assign(values[name])
        inputs = arguments(lists, has_lengths)
        for call in (pool, tf2.function(lambda *inputs: pool(*inputs))):
            sources = inputs[:1] + [variables[name] for name in names]
            assert_close(value_and_gradients(call, inputs, sources), expected)


@fast_at_every_size
@parametrize(CONFIGURATIONS, quick=COMPILED)
def test_saved_model_of_a_function(configuration, rng, tmp_path):
    """tf.saved_model.save keeps the gradients of a function."""
    with context.eager_mode():
        pool = tf.wrap_function(configuration.layer().forward, specifications(False))
        module = tf2.Module()
        module.weights = list(pool.graph.variables)
        module.pool = tf2.function(lambda x: pool(x), input_signature=specifications(False))
        tf2.saved_model.save(module, str(tmp_path))
        loaded = tf2.saved_model.load(str(tmp_path))
        lists = tf.constant(random_lists(rng))
        expected = [value.numpy() for value in value_and_gradients(pool, [lists], [lists])]
        assert_close(value_and_gradients(loaded.pool, [lists], [lists]), expected)


def value_and_gradients(call, inputs, sources):
    """A list: the result of the call for the inputs, and the gradients of its sum of squares to the sources."""
    with tf.GradientTape() as tape:
        tape.watch(inputs[0])
        y = call(*inputs)
        loss = tf.reduce_sum(tf.square(y))
    return [y] + tape.gradient(loss, sources)


def assert_close(came, expected):
    y, gradients = came[0], came[1:]
    # Both are float32, with errors of up to 2e-6.
    assert relative_error(y, expected[0]) <= 4e-6
    scale = max(np.abs(gradient).max() for gradient in expected[1:])
    for gradient, value in zip(gradients, expected[1:]):
        assert np.abs(gradient - value).max() <= 1e-5 * scale


def are_compiled(metadata):
    """Whether XLA compiled parts of the graph that was run."""
    return any(
        "XlaRun" in node.op or "XlaLaunch" in node.op for graph in metadata.partition_graphs for node in graph.node
    )


@each_to_compile
def test_xla_scope(configuration, has_lengths, session, rng):
    """The parts of a layer and its gradients that tf.xla.experimental.jit_scope compiles give the same numbers."""
    with tf.variable_scope(tf.get_variable_scope(), reuse=tf.AUTO_REUSE):
        graph = build(configuration, has_lengths)
        gradients = tf.gradients(tf.square(graph.y), [graph.x] + tf.trainable_variables())
        with tf.xla.experimental.jit_scope():
            y = configuration.layer().forward(graph.x, graph.num_samples)
            compiled = [y] + tf.gradients(tf.square(y), [graph.x] + tf.trainable_variables())
    randomize(session, rng)
    feed = graph.feed(random_lists(rng))
    options, metadata = tf.RunOptions(output_partition_graphs=True), tf.RunMetadata()
    came = session.run(compiled, feed, options, metadata)
    if not are_compiled(metadata):
        pytest.skip("this TensorFlow has no XLA for the CPU")
    assert_close(came, session.run([graph.y] + gradients, feed))


@fast_at_every_size
@each_to_compile
def test_xla_function(configuration, has_lengths, session, rng):
    """The whole layer compiled, by tf.function(jit_compile=True)."""
    if tf.__version__.startswith("1."):
        pytest.skip("TensorFlow 1.15 has no tf.function(jit_compile=True)")
    graph = build(configuration, has_lengths)
    values, lists = randomize(session, rng), random_lists(rng)
    expected = session.run([graph.y, tf.gradients(tf.square(graph.y), graph.x)[0]], graph.feed(lists))
    with context.eager_mode():
        pool = tf.wrap_function(configuration.layer().forward, specifications(has_lengths))
        for variable in pool.graph.variables:
            variable.assign(values[variable.name.split(":")[0]])

        @tf2.function(jit_compile=True)
        def compiled(*inputs):
            return value_and_gradients(pool, inputs, [inputs[0]])

        assert_close([value.numpy() for value in compiled(*arguments(lists, has_lengths))], expected)
