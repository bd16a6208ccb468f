"""Initial values and data that are the same with every TensorFlow: those of NumPy, by the variables' names."""

import zlib

import numpy as np
import tensorflow as tf


def value(name, shape):
    rng = np.random.RandomState(zlib.crc32(name.encode("utf-8")) & 0x7FFFFFFF)
    values = 0.3 * rng.standard_normal(shape)
    return 1 + values if name.endswith("gamma") else values


def start(session):
    """Gives the trainable variables their initial values, which takes no new operation."""
    for variable in tf.trainable_variables():
        variable.load(value(variable.op.name, variable.get_shape().as_list()), session)


def batch(step, size, width, classes):
    """Samples of classes that a small network can tell apart. [size, width], [size]"""
    rng = np.random.RandomState(step)
    labels = rng.randint(classes, size=size)
    centers = np.random.RandomState(0).standard_normal([classes, width])
    return (centers[labels] + 0.1 * rng.standard_normal([size, width])).astype(np.float32), labels.astype(np.int64)


def show(step, loss):
    print("step %d loss %.8f" % (step, loss))
