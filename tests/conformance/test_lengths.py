"""Lists of different lengths: num_samples says how many leading samples of each list are real; the rest is ignored."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import assign, by_name, randomize, relative_error
from support.configurations import (
    BATCH,
    CONFIGURATIONS,
    FEATURES,
    QUARTER,
    SAMPLES,
    Configuration,
    TRAINING,
    a_configuration_of_each_method,
    each_configuration,
    each_method,
    parametrize,
)
from support.numpy_pooling import pool
from support.pooling_graph import LENGTHS, build, random_lists

EMPTY = [0] * BATCH
each_inference_configuration = parametrize([c for c in CONFIGURATIONS if not c.is_training], QUARTER)


def update(session, feed):
    """The moving averages before and after the updates of a run."""
    averages = {name: value for name, value in by_name(tf.model_variables()).items() if "moving" in name}
    before = session.run(averages)
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), feed)
    return before, session.run(averages)


def filled(lists, lengths, padding):
    """The lists with their padding set to `padding`."""
    is_padding = np.arange(SAMPLES) >= np.reshape(lengths, [-1, 1])
    return np.where(is_padding[:, :, np.newaxis], np.float32(padding), lists)


@each_inference_configuration
def test_a_list_is_pooled_at_its_true_length(configuration, session, rng):
    x = tf.constant(random_lists(rng))
    together = configuration.layer().forward(x, LENGTHS)
    randomize(session, rng)
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        alone = [
            configuration.layer(max_samples=length).forward(x[i : i + 1, :length])
            for i, length in enumerate(LENGTHS)
            if length > 0
        ]
    sources = [x] + tf.trainable_variables()
    (came, came_gradients), (expected, expected_gradients) = session.run(
        [
            (y, tf.gradients(tf.square(y), sources))
            for y in (tf.gather(together, np.flatnonzero(LENGTHS)), tf.concat(alone, axis=0))
        ]
    )
    assert relative_error(came, expected) <= 1e-6
    largest = max(np.abs(gradient).max() for gradient in expected_gradients)
    for gradient, value in zip(came_gradients, expected_gradients):
        # A gradient that is zero but for rounding is compared with the largest.
        assert np.abs(gradient - value).max() <= 1e-5 * max(np.abs(value).max(), 1e-2 * largest)


@each_method
def test_batch_statistics_are_those_of_the_real_samples(method, session, rng):
    """The moving averages against the statement of the formulas."""
    configuration = Configuration(method, add_batch_norm=True, gating=False, is_training=True)
    graph = build(configuration, has_lengths=True)
    values, lists = randomize(session, rng), random_lists(rng)
    moved = pool(configuration, lists, values, num_samples=LENGTHS)[1]
    before, after = update(session, graph.feed(lists))
    assert sorted(after) == sorted(moved)
    for name in moved:
        assert relative_error(after[name], moved[name]) <= 4e-7
        # An average moves by only a thousandth of the statistic, so the movement shows an error better.
        assert relative_error(after[name] - before[name], moved[name] - before[name]) <= 1e-3


@each_configuration
def test_padding_does_not_matter(configuration, session, rng):
    """Outputs, gradients and moving averages do not depend on padding, whose own gradient is exactly zero."""
    graph = build(configuration, has_lengths=True)
    values = randomize(session, rng)
    gradients = tf.gradients(tf.square(graph.y), [graph.x] + tf.trainable_variables())
    lists = random_lists(rng)
    came = {}
    for padding in (0.0, -3e38, np.inf, np.nan):
        assign(session, values)
        feed = graph.feed(filled(lists, LENGTHS, padding))
        came[padding] = session.run([graph.y] + gradients, feed)
        before, after = update(session, feed)
        assert [(after[name] != before[name]).all() for name in before] == [configuration.is_training] * len(before)
        came[padding].extend(after.values())
    is_padding = np.arange(SAMPLES) >= np.reshape(LENGTHS, [-1, 1])
    for padding, results in came.items():
        assert all(np.isfinite(result).all() for result in results), padding
        assert (results[1][is_padding] == 0).all()
        assert (results[1][~is_padding] != 0).any()
        for result, expected in zip(results, came[0.0]):
            np.testing.assert_array_equal(result, expected)


@each_configuration
def test_empty_lists(configuration, session, rng):
    """Outputs, gradients and moving averages are finite if some or all lists are empty, or if there are no lists."""
    graph = build(configuration, has_lengths=True)
    randomize(session, rng)
    gradients = tf.gradients(tf.square(graph.y), [graph.x] + tf.trainable_variables())
    for lengths in ([0, SAMPLES, 0, 2], EMPTY, []):
        feed = graph.feed(random_lists(rng, batch=len(lengths)), lengths)
        results = session.run([graph.y] + gradients, feed)
        assert len(results[0]) == len(lengths)
        assert all(np.isfinite(result).all() for result in results)
        _, after = update(session, feed)
        assert all(np.isfinite(value).all() for value in after.values())


@each_method
def test_a_batch_without_samples_does_not_spoil_the_moving_averages(method, session, rng):
    """The averages move towards zero by at most a thousandth, as a batch of zeros would move them."""
    graph = build(Configuration(method, add_batch_norm=True, gating=True, is_training=True), has_lengths=True)
    randomize(session, rng)
    before, after = update(session, graph.feed(random_lists(rng), EMPTY))
    for name in before:
        assert (np.abs(after[name] - before[name]) <= 1.001e-3 * np.abs(before[name])).all()


@a_configuration_of_each_method
def test_without_lengths_a_batch_of_no_lists_leaves_all_averages_finite(configuration, session, rng):
    graph = build(configuration)
    randomize(session, rng)
    gradients = tf.gradients(tf.square(graph.y), tf.trainable_variables())
    feed = graph.feed(random_lists(rng, batch=0))
    y, gradients = session.run([graph.y, gradients], feed)
    assert len(y) == 0 and all(np.isfinite(gradient).all() for gradient in gradients)
    _, after = update(session, feed)
    assert all(np.isfinite(value).all() for value in after.values())


@each_method
def test_rows_lists_and_maps(method, session, rng):
    values, lengths = rng.standard_normal((BATCH, 6, FEATURES)).astype(np.float32), [6, 0, 2, 5]
    layer = TRAINING._replace(method=method, is_training=False).layer(max_samples=6)
    outputs = [layer.forward(values, lengths)]
    randomize(session, rng)
    for shape in ([BATCH * 6, FEATURES], [BATCH, 6, FEATURES], [BATCH, 2, 3, FEATURES]):
        x = values.reshape(shape)
        dynamic = tf.placeholder_with_default(x, [None] * (len(shape) - 1) + [FEATURES])
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            outputs += [layer.forward(x, lengths), layer.forward(dynamic, lengths)]
    expected, *others = session.run(outputs)
    assert all(relative_error(y, expected) <= 1e-6 for y in others)


def test_types_of_lengths(session, rng, lists):
    """Lengths as array and as tensors of several types and known shapes, and with max_samples as tensor."""
    configuration = TRAINING._replace(is_training=False)
    size = tf.placeholder_with_default(SAMPLES, [])
    outputs = [configuration.layer().forward(lists, LENGTHS)]
    randomize(session, rng)
    kinds = [np.array(LENGTHS)] + [tf.constant(LENGTHS, dtype) for dtype in (tf.uint8, tf.int32, tf.int64)]
    kinds += [tf.placeholder_with_default(np.int64(LENGTHS), shape) for shape in ([BATCH], [None], None)]
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        outputs += [configuration.layer().forward(lists, lengths) for lengths in kinds]
        outputs += [configuration.layer(max_samples=size).forward(lists, kinds[-1])]
    expected, *others = session.run(outputs)
    assert all(relative_error(y, expected) <= 1e-6 for y in others)


@each_method
def test_lengths_out_of_range(method, session, rng):
    configuration, lists = TRAINING._replace(method=method), random_lists(rng)
    with tf.variable_scope("at_run_time"):
        graph = build(configuration, has_lengths=True)
    # Neither a fetched output nor an update alone gets past the check.
    fetches = [graph.y] + tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    session.run(tf.global_variables_initializer())
    for length in (-1, SAMPLES + 1, -(2**31)):
        lengths = [1, length, 2, 3]
        for known in (lengths, np.array(lengths), tf.constant(lengths)):
            with pytest.raises(ValueError, match="num_samples: expected lengths from 0 to max_samples = 7, got"):
                configuration.layer().forward(lists, known)
        for fetch in fetches:
            with pytest.raises(tf.errors.InvalidArgumentError, match="num_samples: expected lengths"):
                session.run(fetch, graph.feed(lists, lengths))


def test_the_first_list_too_long_for_32_bits(session, rng):
    """A length of 2**32 + 1 must not become 1."""
    layer = Configuration("SoftDBoW", add_batch_norm=False, gating=False, is_training=False).layer()
    num_samples = tf.placeholder(tf.int64, [None])
    y = layer.forward(random_lists(rng), num_samples)
    session.run(tf.global_variables_initializer())
    with pytest.raises(tf.errors.InvalidArgumentError, match="num_samples"):
        session.run(y, {num_samples: [2**32 + 1, 1, 1, 1]})


@each_method
def test_lengths_of_a_wrong_shape(method, session, rng):
    layer, lists = TRAINING._replace(method=method).layer(), random_lists(rng)
    num_samples = tf.placeholder(tf.int32, None)
    y = layer.forward(lists, num_samples)
    session.run(tf.global_variables_initializer())
    for lengths in ([1, 2, 3], [1] * 5, [[1, 2], [3, 4]], []):
        lengths = np.array(lengths, np.int32)
        with pytest.raises(ValueError, match="num_samples: expected shape"):
            layer.forward(lists, lengths)
        with pytest.raises(tf.errors.InvalidArgumentError, match="num_samples"):
            session.run(y, {num_samples: lengths})


def test_one_length_for_all_lists_is_refused(rng):
    with pytest.raises(ValueError, match="num_samples: expected shape"):
        TRAINING.layer().forward(random_lists(rng), 3)


@each_method
def test_lengths_of_a_wrong_type(method, rng):
    layer = TRAINING._replace(method=method).layer()
    for value in (1.0, True, "1"):
        with pytest.raises(TypeError, match="num_samples: expected integers, got"):
            layer.forward(random_lists(rng), [value] * BATCH)


@each_configuration
def test_without_lengths_the_graph_has_nothing_of_them(configuration, graph):
    """It has no op that only lengths need."""
    x = np.zeros([BATCH, SAMPLES, FEATURES], np.float32)
    configuration.layer().forward(x)
    plain = graph.as_graph_def()
    with tf.Graph().as_default() as with_lengths:
        configuration.layer().forward(x, LENGTHS)
    # By type, so as not to depend on names.
    checks_and_masks = {"Assert", "GatherNd", "GatherV2", "ScatterNd", "Select", "SelectV2", "Where"}
    assert not checks_and_masks & {node.op for node in plain.node}
    assert checks_and_masks & {op.type for op in with_lengths.get_operations()}
    assert len(plain.node) < len(with_lengths.get_operations())
