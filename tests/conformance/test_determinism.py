"""The same seed gives the same training, bit for bit."""

import contextlib

import numpy as np
import tensorflow.compat.v1 as tf
from support.configurations import BATCH, CONFIGURATIONS, EIGHTH, OUTPUTS, TRAINING
from support.pooling_graph import build, each_configuration_and_lengths, random_lists
from tensorflow.python.framework import config


@contextlib.contextmanager
def op_determinism():
    """Makes TensorFlow refuse ops that are not deterministic, where it has enable_op_determinism."""
    if not hasattr(tf.config.experimental, "enable_op_determinism"):
        yield
        return
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        config.disable_op_determinism()


def trained(configuration, has_lengths, seed):
    rng = np.random.RandomState(1)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        graph = build(configuration, has_lengths)
        target = rng.uniform(-0.5, 0.5, [BATCH, OUTPUTS]).astype(np.float32)
        loss = tf.reduce_mean(tf.square(graph.y - target))
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train = tf.train.AdamOptimizer(0.01).minimize(loss)
        session.run(tf.global_variables_initializer())
        feed = graph.feed(random_lists(rng))
        for _ in range(3):
            session.run(train, feed)
        return session.run([graph.y, loss] + tf.global_variables(), feed)


@each_configuration_and_lengths([c for c in CONFIGURATIONS if c.is_training], quick=EIGHTH)
def test_one_seed_gives_one_training(configuration, has_lengths):
    with op_determinism():
        first, second = (trained(configuration, has_lengths, seed=3) for _ in range(2))
    for one, two in zip(first, second):
        np.testing.assert_array_equal(one, two)


def test_another_seed_gives_another_training():
    one, other = (trained(TRAINING, False, seed)[0] for seed in (3, 4))
    assert (one != other).any()
