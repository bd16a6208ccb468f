"""A program in the manner of PointNetVLAD: an encoder of point clouds, trained by lazy triplets from a queue."""

import numpy as np
import pointnetvlad as lp
import tensorflow.compat.v1 as tf
import tf_slim as slim

POINTS, NEGATIVES, PLACES = 32, 4, 10
SHAPE = [None, POINTS, 3]


def network(clouds, is_training, decay=0.9):
    """Descriptors of point clouds [B, N, 3], of length 1. [B, 16]"""
    with tf.variable_scope("query_triplets", reuse=tf.AUTO_REUSE), slim.arg_scope([slim.batch_norm], decay=decay):
        features = tf.expand_dims(clouds, 2)  # [B, N, 1, 3]
        for i, width in enumerate([16, 16]):
            features = slim.conv2d(features, width, [1, 1], activation_fn=None, scope=f"conv{i}")
            features = slim.batch_norm(features, is_training=is_training, fused=False, scope=f"conv{i}/bn")
            features = tf.nn.relu(features)
        points = tf.reshape(features, [-1, 16])
        pooling = lp.NetVLAD(16, POINTS, 4, 16, gating=True, add_batch_norm=True, is_training=is_training)
        return tf.nn.l2_normalize(pooling.forward(points), axis=1)


def clouds_of(places, rng):
    """A new cloud of each of these places: some of its surface's points. [places, N, 3]"""
    surfaces = np.random.RandomState(0).uniform(-1, 1, [PLACES, 12, 3])
    clouds = np.stack([surfaces[place][rng.randint(12, size=POINTS)] for place in places])
    return (clouds + 0.05 * rng.standard_normal(clouds.shape)).astype(np.float32)


def train(directory, steps=200):
    """Trains, and saves model.ckpt there. Returns clouds, their descriptors, and the share of places found again."""
    rng = np.random.RandomState(1)
    global_step = tf.train.get_or_create_global_step()
    decay = tf.minimum(0.95, 1 - tf.train.exponential_decay(0.5, global_step, 20, 0.8, staircase=True))
    is_training = tf.placeholder(tf.bool, [])
    triplet = tf.placeholder(tf.float32, [2 + NEGATIVES, POINTS, 3])  # query, positive, negatives
    queue = tf.FIFOQueue(8, [tf.float32], [triplet.shape])
    enqueue = queue.enqueue(triplet)
    described = network(tf.reshape(queue.dequeue_many(4), [-1, POINTS, 3]), is_training, decay)
    described = tf.reshape(described, [4, 2 + NEGATIVES, 16])
    query, positive, negatives = described[:, :1], described[:, 1:2], described[:, 2:]
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    near, far = (tf.reduce_sum(tf.square(query - other), axis=2) for other in (positive, negatives))  # [4, 1], [4, neg]
    lazy = tf.reduce_max(tf.nn.relu(0.5 + near - far), axis=1)
    with tf.control_dependencies(updates):
        step = tf.train.AdamOptimizer(0.005).minimize(tf.reduce_mean(lazy), global_step)
    clouds = tf.placeholder(tf.float32, SHAPE)
    descriptors = network(clouds, is_training, decay)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            for _ in range(4):
                place, *others = rng.permutation(PLACES)[: 1 + NEGATIVES]
                session.run(enqueue, {triplet: clouds_of([place, place] + others, rng)})
            session.run(step, {is_training: True})
        before, after = clouds_of(range(PLACES), rng), clouds_of(range(PLACES), rng)
        one, two = (session.run(descriptors, {clouds: x, is_training: False}) for x in (before, after))
        tf.train.Saver().save(session, directory + "/model.ckpt")
    return before, one, np.mean(np.argmax(one @ two.T, axis=1) == np.arange(PLACES))
