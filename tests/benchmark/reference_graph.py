"""The pooling methods written step by step, as a user of TensorFlow 1 would in 2017: what `loupe` is measured against.

Each step is one plain op in the order of the formula. Nothing here is meant to be fast. The variables are those of
`loupe`, and so is the batch norm.
"""

import math

import tensorflow.compat.v1 as tf

import loupe  # before tf_slim is used, because loupe repairs it


def forward(method, x, max_samples, cluster_size, output_dim, gating=True, add_batch_norm=True, is_training=True):
    """Pools the rows x [B * N, D] by the method of this name, projects and gates. [B, O]"""
    descriptor = pooled(method, x, max_samples, cluster_size, add_batch_norm, is_training)
    width = int(descriptor.shape[1])
    output = tf.matmul(descriptor, variable("hidden1_weights", [width, output_dim], 1 / math.sqrt(cluster_size)))
    return gated(output, "gating_weights", "gating", add_batch_norm, is_training) if gating else output


def pooled(method, x, max_samples, cluster_size, add_batch_norm=True, is_training=True):
    """The descriptors [B, P] of the rows x [B * N, D]."""
    pool = {"NetVLAD": _netvlad, "NetRVLAD": _netrvlad, "SoftDBoW": _soft_dbow, "NetFV": _netfv}[method]
    feature_size = int(x.shape[1])
    stddev = 1 / math.sqrt(feature_size)

    def assign(weights):
        activation = tf.matmul(x, weights)
        activation = _norm(activation, "cluster", stddev, add_batch_norm, is_training)
        activation = tf.nn.softmax(activation)
        return tf.reshape(activation, [-1, max_samples, cluster_size])  # [B, N, K]

    lists = tf.reshape(x, [-1, max_samples, feature_size])  # [B, N, D]
    return pool(lists, assign, cluster_size, stddev)


def gated(y, weights, scope, add_batch_norm=True, is_training=True):
    """Context Gating of y [B, M] by the variables of these names."""
    width = int(y.shape[1])
    stddev = 1 / math.sqrt(width)
    gates = tf.matmul(y, variable(weights, [width, width], stddev))
    gates = _norm(gates, scope, stddev, add_batch_norm, is_training)
    gates = tf.sigmoid(gates)
    return tf.multiply(y, gates)


def _norm(activation, name, stddev, add_batch_norm, is_training):
    if add_batch_norm:
        return loupe.slim.batch_norm(activation, center=True, scale=True, is_training=is_training, scope=name + "_bn")
    return activation + variable(name + "_biases", [activation.shape[1]], stddev)


def _netvlad(lists, assign, cluster_size, stddev):
    feature_size = int(lists.shape[2])
    weights = variable("cluster_weights", [feature_size, cluster_size], stddev)
    assignment = assign(weights)
    mass = tf.reduce_sum(assignment, axis=1, keepdims=True)  # [B, 1, K]
    centers = variable("cluster_weights2", [1, feature_size, cluster_size], stddev)
    centers = tf.multiply(mass, centers)  # [B, D, K]
    residuals = _aggregate(assignment, lists)
    residuals = tf.subtract(residuals, centers)
    return _flat_normalized(tf.nn.l2_normalize(residuals, 1), feature_size * cluster_size)


def _netrvlad(lists, assign, cluster_size, stddev):
    feature_size = int(lists.shape[2])
    assignment = assign(variable("cluster_weights", [feature_size, cluster_size], stddev))
    first = _aggregate(assignment, lists)
    return _flat_normalized(tf.nn.l2_normalize(first, 1), feature_size * cluster_size)


def _soft_dbow(lists, assign, cluster_size, stddev):
    assignment = assign(variable("cluster_weights", [int(lists.shape[2]), cluster_size], stddev))
    return tf.nn.l2_normalize(tf.reduce_sum(assignment, axis=1), 1)


def _netfv(lists, assign, cluster_size, stddev):
    feature_size = int(lists.shape[2])
    weights = variable("cluster_weights", [feature_size, cluster_size], stddev)
    covariances = variable("covar_weights", [feature_size, cluster_size], stddev, mean=1.0)
    covariances = tf.square(covariances)
    covariances = tf.add(covariances, 1e-6)
    assignment = assign(weights)
    mass = tf.reduce_sum(assignment, axis=1, keepdims=True)  # [B, 1, K]
    centers = variable("cluster_weights2", [1, feature_size, cluster_size], stddev)

    first = _aggregate(assignment, lists)
    fisher1 = tf.subtract(first, tf.multiply(mass, centers))
    fisher1 = tf.divide(fisher1, covariances)
    fisher1 = _flat_normalized(tf.nn.l2_normalize(fisher1, 1), feature_size * cluster_size)

    fisher2 = _aggregate(assignment, tf.square(lists))
    crossed = tf.multiply(first, centers)
    crossed = tf.multiply(crossed, 2.0)
    fisher2 = tf.subtract(fisher2, crossed)
    fisher2 = tf.add(fisher2, tf.multiply(mass, tf.square(centers)))
    fisher2 = tf.divide(fisher2, tf.square(covariances))
    fisher2 = tf.subtract(fisher2, mass)
    fisher2 = _flat_normalized(fisher2, feature_size * cluster_size)
    return tf.concat([fisher1, fisher2], 1)


def _aggregate(assignment, lists):
    """The sum of the samples of each list, weighted by their assignment. [B, D, K]"""
    assignment = tf.transpose(assignment, [0, 2, 1])  # [B, K, N]
    aggregated = tf.matmul(assignment, lists)  # [B, K, D]
    return tf.transpose(aggregated, [0, 2, 1])


def _flat_normalized(v, width):
    v = tf.reshape(v, [-1, width])
    return tf.nn.l2_normalize(v, 1)


def variable(name, shape, stddev, mean=0.0):
    return tf.get_variable(name, shape, initializer=tf.random_normal_initializer(mean, stddev))
