"""The layers of LOUPE_Keras for Keras 3, and for Keras 2 in TensorFlow 2.12 and later, as ``import loupe_keras``.

LOUPE_Keras (github.com/shamangary/LOUPE_Keras) is the toolbox of 2017 as Keras layers, for lists [B, N, D]. Its
`NetVLAD`, `NetRVLAD`, `SoftDBoW` and `NetFV` have no batch norm and no gates; `ContextGating` is a layer of its own.
Arguments, numbers, initial values, and the names and order of the weights are the same here, so that
``model.load_weights("old.h5")`` reads a file that Keras 2 wrote. This module needs loupe.py and tf2.py beside it.
"""

import math

import loupe
import tensorflow as tf
from tf2 import PoolingLayer, keras

NAMES = {
    "cluster_weights": "kernel_W1",
    "covar_weights": "kernel_C1",
    "cluster_biases": "kernel_B1",
    "cluster_weights2": "kernel_W2",
    "hidden1_weights": "kernel_H1",
}


class KerasPooling(PoolingLayer):
    """The base class of the four layers.

    Args:
      feature_size: D, the width of a sample, a positive integer.
      max_samples: N, the number of samples in each list, a positive integer.
      cluster_size: K, the number of clusters, a positive integer.
      output_dim: O, the width of the output, a positive integer.
      kwargs: arguments of a Keras layer, such as `name`.

    The layers are called as `tf2.PoolingLayer` is, with `num_samples` or a mask if the lists are padded.
    """

    method = None

    def __init__(self, feature_size, max_samples, cluster_size, output_dim, **kwargs):
        arguments = (self.method, feature_size, max_samples, cluster_size, output_dim)
        super().__init__(*arguments, gating=False, add_batch_norm=False, **kwargs)

    def add_weight(self, name, **kwargs):
        return super().add_weight(name=NAMES.get(name, name), **kwargs)

    def get_config(self):
        config = super().get_config()
        for name in ("method", "gating", "add_batch_norm", "decay"):
            del config[name]
        return config


@keras.utils.register_keras_serializable("loupe_keras")
class NetVLAD(KerasPooling):
    """`loupe.NetVLAD` without batch norm and gates."""

    method = loupe.NetVLAD


@keras.utils.register_keras_serializable("loupe_keras")
class NetRVLAD(KerasPooling):
    """`loupe.NetRVLAD` without batch norm and gates."""

    method = loupe.NetRVLAD


@keras.utils.register_keras_serializable("loupe_keras")
class SoftDBoW(KerasPooling):
    """`loupe.SoftDBoW` without batch norm and gates."""

    method = loupe.SoftDBoW


class FisherVector(loupe.NetFV):
    """`loupe.NetFV` with covar_weights that start from N(0, 1/sqrt(D)), as in LOUPE_Keras, not N(1, 1/sqrt(D))."""

    def cluster_weights(self, name="cluster_weights", mean=0.0):
        return super().cluster_weights(name)


@keras.utils.register_keras_serializable("loupe_keras")
class NetFV(KerasPooling):
    """`loupe.NetFV` without batch norm and gates; see `FisherVector` for its initial values."""

    method = FisherVector


@keras.utils.register_keras_serializable("loupe_keras")
class ContextGating(keras.layers.Layer):
    """Context Gating with biases: ``y * sigmoid(y G + b)``, for y ``[B, M]`` of any width M."""

    def build(self, input_shape):
        width = input_shape[-1]
        initializer = tf.random_normal_initializer(stddev=1 / math.sqrt(width))
        self.gating_weights = self.add_weight(name="kernel_W1", shape=[width, width], initializer=initializer)
        self.gating_biases = self.add_weight(name="kernel_B1", shape=[width], initializer=initializer)
        super().build(input_shape)

    def call(self, y):
        return y * tf.sigmoid(tf.matmul(y, self.gating_weights) + self.gating_biases)

    def compute_output_shape(self, input_shape):
        return input_shape
