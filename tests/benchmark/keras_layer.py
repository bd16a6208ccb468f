"""The pooling layers in Keras 3, as a user of Keras writes them, with einsum."""

import math

import keras
import tensorflow as tf
from keras import ops


class Pooling(keras.layers.Layer):
    """The method of this name, with projection, Context Gating and batch norm. [B, N, D] -> [B, O]"""

    def __init__(self, method, clusters, outputs):
        super().__init__()
        self.method, self.clusters, self.outputs = method, clusters, outputs
        self.cluster_bn = keras.layers.BatchNormalization(momentum=0.999, epsilon=0.001, name="cluster_bn")
        self.gating_bn = keras.layers.BatchNormalization(momentum=0.999, epsilon=0.001, name="gating_bn")

    def build(self, shape):
        features, clusters, outputs = shape[-1], self.clusters, self.outputs
        width = {"SoftDBoW": clusters, "NetFV": 2 * features * clusters}.get(self.method, features * clusters)
        self.cluster_weights = self._weights("cluster_weights", [features, clusters], features)
        if self.method in ("NetVLAD", "NetFV"):
            self.cluster_weights2 = self._weights("cluster_weights2", [1, features, clusters], features)
        if self.method == "NetFV":
            self.covar_weights = self._weights("covar_weights", [features, clusters], features, mean=1.0)
        self.hidden1_weights = self._weights("hidden1_weights", [width, outputs], clusters)
        self.gating_weights = self._weights("gating_weights", [outputs, outputs], outputs)
        self.cluster_bn.build([None, None, clusters])
        self.gating_bn.build([None, outputs])

    def _weights(self, name, shape, width, mean=0.0):
        return self.add_weight(shape, keras.initializers.RandomNormal(mean, 1 / math.sqrt(width)), name=name)

    def call(self, x, training=False):
        activation = self.cluster_bn(ops.einsum("bnd,dk->bnk", x, self.cluster_weights), training=training)
        a = ops.softmax(activation)  # [B, N, K]
        y = ops.matmul(getattr(self, self.method)(x, a), self.hidden1_weights)
        return y * ops.sigmoid(self.gating_bn(ops.matmul(y, self.gating_weights), training=training))

    def NetVLAD(self, x, a):  # noqa: N802
        mass = ops.sum(a, axis=1, keepdims=True)  # [B, 1, K]
        return _normalized_twice(ops.einsum("bnk,bnd->bdk", a, x) - mass * self.cluster_weights2)

    def NetRVLAD(self, x, a):  # noqa: N802
        return _normalized_twice(ops.einsum("bnk,bnd->bdk", a, x))

    def SoftDBoW(self, x, a):  # noqa: N802
        return ops.normalize(ops.sum(a, axis=1), axis=1)

    def NetFV(self, x, a):  # noqa: N802
        c, s = self.cluster_weights2, ops.square(self.covar_weights) + 1e-6
        mass = ops.sum(a, axis=1, keepdims=True)  # [B, 1, K]
        first = ops.einsum("bnk,bnd->bdk", a, x)
        second = ops.einsum("bnk,bnd->bdk", a, ops.square(x))
        f1 = (first - mass * c) / s
        f2 = (second - 2 * c * first + mass * ops.square(c)) / ops.square(s) - mass
        f2 = ops.reshape(f2, [-1, f2.shape[1] * f2.shape[2]])
        return ops.concatenate([_normalized_twice(f1), ops.normalize(f2, axis=1)], axis=1)


def _normalized_twice(v):
    v = ops.normalize(v, axis=1)  # [B, D, K]
    return ops.normalize(ops.reshape(v, [-1, v.shape[1] * v.shape[2]]), axis=1)


def step(method, sizes, mode):
    """A function that computes the output or, in training, the gradients of all parameters."""
    batch, samples, features, clusters, outputs = sizes
    layer = Pooling(method, clusters, outputs)
    layer.build([batch, samples, features])
    x = tf.Variable(tf.random.normal([batch, samples, features]), trainable=False)
    d_output = tf.random.normal([batch, outputs])

    @tf.function
    def inference():
        return layer(x.read_value())

    @tf.function
    def training():
        lists = x.read_value()
        sources = layer.trainable_variables + ([lists] if mode == "training-input" else [])
        with tf.GradientTape() as tape:
            tape.watch(lists)
            y = layer(lists, training=True)
        return tape.gradient(y, sources, d_output)

    return inference if mode == "inference" else training
