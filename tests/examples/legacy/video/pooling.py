"""A pooling class in the manner of 2017, in a package that imports as Python 2 does."""

import math

import tensorflow as tf
import tensorflow.contrib.slim as slim

import scopes


class BasePooling(object):
    def __init__(self, feature_size, max_samples, cluster_size):
        self.feature_size = feature_size
        self.max_samples = max_samples
        self.cluster_size = cluster_size

    def forward(self, reshaped_input):
        raise NotImplementedError("Models should implement the forward pass.")


class SoftPooling(BasePooling):
    def forward(self, reshaped_input):
        stddev = 1 / math.sqrt(self.feature_size)
        cluster_weights = tf.get_variable(
            "cluster_weights", [self.feature_size, self.cluster_size / 2], initializer=scopes.normal(stddev)
        )
        activation = slim.batch_norm(
            tf.matmul(reshaped_input, cluster_weights),
            center=True,
            scale=True,
            is_training=True,
            decay=0.9,
            fused=False,
            scope="cluster_bn",
        )
        activation = tf.reshape(tf.nn.softmax(activation), [-1, self.max_samples, self.cluster_size / 2])
        samples = tf.reshape(reshaped_input, [-1, self.max_samples, self.feature_size])
        pooled = tf.matmul(activation, samples, transpose_a=True)
        pooled = tf.nn.l2_normalize(pooled, dim=2)
        return tf.reshape(pooled, [-1, self.cluster_size / 2 * self.feature_size])
