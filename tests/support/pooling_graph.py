"""The graph that most tests use: placeholders, the layer of a configuration, its output."""

import collections

import pytest
import tensorflow.compat.v1 as tf
from support.configurations import BATCH, EIGHTH, FEATURES, QUARTER, SAMPLES

# The lengths of a full, an empty, a half-full and a shortest list.
LENGTHS = (SAMPLES, 0, 3, 1)


def each_configuration_and_lengths(configurations, quick=QUARTER):
    """Parametrizes by configuration and has_lengths. The default run takes two configurations of each method: one with
    lengths and one without. With quick=EIGHTH it takes the one with lengths."""
    return pytest.mark.parametrize(
        "configuration, has_lengths",
        [
            pytest.param(
                configuration,
                has_lengths,
                id="{}-{}".format(configuration, "lengths" if has_lengths else "full"),
                marks=[] if is_quick(configuration, has_lengths, quick) else [pytest.mark.long],
            )
            for configuration in configurations
            for has_lengths in (False, True)
        ],
    )


def is_quick(configuration, has_lengths, quick=QUARTER):
    return configuration in quick and has_lengths == (configuration in EIGHTH)


class PoolingGraph(collections.namedtuple("PoolingGraph", "x num_samples y")):
    """num_samples is None where all lists are full."""

    def inputs(self):
        return [self.x] if self.num_samples is None else [self.x, self.num_samples]

    def feed(self, lists, lengths=LENGTHS):
        """What to feed for these lists [B, N, D], whose lengths repeat over a larger batch."""
        feed = {self.x: lists}
        if self.num_samples is not None:
            feed[self.num_samples] = [lengths[i % len(lengths)] for i in range(len(lists))]
        return feed


def build(configuration, has_lengths=False, batch=None, name="y", **changes):
    """The layer of the configuration on a batch of lists, whose size is `batch` or, by default, unknown."""
    layer = configuration.layer(**changes)
    x = tf.placeholder(tf.float32, [batch, SAMPLES, FEATURES], name="x")
    num_samples = tf.placeholder(tf.int32, [batch], name="num_samples") if has_lengths else None
    return PoolingGraph(x, num_samples, tf.identity(layer.forward(x, num_samples), name=name))


def random_lists(rng, batch=BATCH):
    return rng.standard_normal((batch, SAMPLES, FEATURES)).astype("float32")


def build_all(configurations, has_lengths=False, batch=None):
    """All these configurations on the same input, each in a scope of its name, because many graphs take too long.

    Returns a dict of `PoolingGraph` by name.
    """
    x = tf.placeholder(tf.float32, [batch, SAMPLES, FEATURES], name="x")
    num_samples = tf.placeholder(tf.int32, [batch], name="num_samples") if has_lengths else None
    graphs = collections.OrderedDict()
    for configuration in configurations:
        with tf.variable_scope(str(configuration)):
            y = configuration.layer().forward(x, num_samples)
        graphs[str(configuration)] = PoolingGraph(x, num_samples, tf.identity(y, name="y_" + str(configuration)))
    return graphs
