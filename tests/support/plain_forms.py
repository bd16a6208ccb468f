"""The plain form of each fast form of loupe, under its name: what it equals, as one would write it at first."""

import contextlib
from unittest import mock

import loupe
import tensorflow.compat.v1 as tf


def mass_and_means(assignment, *samples, is_training=True):
    mass = tf.reduce_sum(assignment, axis=1, keepdims=True)
    return (mass,) + tuple(tf.matmul(x, assignment, transpose_a=True) / tf.maximum(mass, 1e-18) for x in samples)


def weighted_sums(weights, x, is_training=True):
    return tf.matmul(x, weights, transpose_a=True)


def add_constants(v, constants, is_training=True):
    return v + constants


def l2_normalized(v, mass=1.0, each_cluster=False):
    v = mass * v
    if each_cluster:
        v = tf.nn.l2_normalize(v, axis=1, epsilon=1e-12)
    return tf.nn.l2_normalize(tf.reshape(v, [-1, v.shape[1:].num_elements()]), axis=1, epsilon=1e-12)


def project(v, weights):
    return tf.matmul(v, weights)


PLAIN_FORMS = {form.__name__: form for form in (mass_and_means, weighted_sums, add_constants, l2_normalized, project)}


@contextlib.contextmanager
def in_place_of(*names):
    """Within it, layers are built with these plain forms in place of the fast ones."""
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(loupe, name, PLAIN_FORMS[name]))
        yield
