"""The plain form of each fast form of loupe, which has the same results and is written in the obvious way."""

import contextlib
from unittest import mock

import loupe
import tensorflow.compat.v1 as tf


def l2_normalized(v, times=None, each_cluster=False):
    v = v if times is None else times * v
    if each_cluster:
        v = tf.nn.l2_normalize(v, axis=1, epsilon=1e-12)
    return tf.nn.l2_normalize(tf.reshape(v, [-1, v.shape[1:].num_elements()]), axis=1, epsilon=1e-12)


def project(v, weights):
    return tf.matmul(v, weights)


def rows_times(rows, weights):
    return tf.matmul(rows, weights)


PLAIN_FORMS = {form.__name__: form for form in (l2_normalized, project, rows_times)}


@contextlib.contextmanager
def in_place_of(*names):
    """A context in which layers are built with these plain forms in place of the fast ones."""
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(loupe, name, PLAIN_FORMS[name]))
        yield
