"""A program in the manner of CVM-Net: views of a place from the ground and from above, matched by a siamese network.

Both branches share their variables; the maps of local features, of different sizes, have a tensor for max_samples.
"""

import cvmnet as lp
import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim as slim

SHAPE = [None, None, None, 3]
PLACES = 12


def network(images, is_training):
    """Descriptors of images [B, H, W, 3], of length 1. [B, 16]"""
    with tf.variable_scope("siamese", reuse=tf.AUTO_REUSE):
        arguments = {"is_training": is_training, "decay": 0.9}
        maps = slim.conv2d(images, 8, [3, 3], normalizer_fn=slim.batch_norm, normalizer_params=arguments, scope="conv")
        samples = tf.shape(maps)[1] * tf.shape(maps)[2]
        pooling = lp.NetVLAD(8, samples, 4, 16, gating=True, add_batch_norm=False, is_training=is_training)
        return tf.nn.l2_normalize(pooling.forward(maps, True), axis=1)


def views(rng):
    """Each place from the ground [places, 4, 6, 3] and from above [places, 5, 5, 3]: its colours, shuffled."""
    colours = np.random.RandomState(0).uniform(-1, 1, [PLACES, 5, 3])
    choices = [rng.randint(5, size=[PLACES, n]) for n in (24, 25)]
    ground, aerial = (np.stack([c[i] for c, i in zip(colours, choice)]) for choice in choices)
    ground, aerial = ground.reshape([-1, 4, 6, 3]), aerial.reshape([-1, 5, 5, 3])
    return [view + 0.1 * rng.standard_normal(view.shape) for view in (ground, aerial)]


def train(directory, steps=150):
    """Trains, and saves model.ckpt there. Returns images, their descriptors, and the share of places matched right."""
    rng = np.random.RandomState(1)
    ground, aerial = tf.placeholder(tf.float32, SHAPE), tf.placeholder(tf.float32, SHAPE)
    is_training = tf.placeholder(tf.bool, [])
    described = [network(images, is_training) for images in (ground, aerial)]
    distances = 2 - 2 * tf.matmul(*described, transpose_b=True)  # [ground, aerial]
    right = tf.expand_dims(tf.linalg.diag_part(distances), 1)
    triplets = tf.log(1 + tf.exp(10 * (right - distances))) * (1 - tf.eye(PLACES))
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        step = tf.train.AdamOptimizer(0.01).minimize(tf.reduce_sum(triplets))
    matched = tf.reduce_mean(tf.cast(tf.equal(tf.argmin(distances, axis=1), np.arange(PLACES)), tf.float32))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            session.run(step, dict(zip([ground, aerial, is_training], views(rng) + [True])))
        feed = dict(zip([ground, aerial, is_training], views(rng) + [False]))
        descriptors, recall = session.run([described[0], matched], feed)
        tf.train.Saver().save(session, directory + "/model.ckpt")
    return feed[ground], descriptors, recall
