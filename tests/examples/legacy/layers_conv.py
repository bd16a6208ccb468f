"""tf.layers: a convolutional network with batch normalisation that a placeholder switches, and UPDATE_OPS."""

from __future__ import print_function

import os
import sys

import numpy as np
import starting
import tensorflow as tf


class Model(object):
    def __init__(self, size=4, filters=6, classes=3):
        self.x = tf.placeholder(tf.float32, [None, size, size, 2], "x")
        self.y = tf.placeholder(tf.int64, [None], "y")
        self.training = tf.placeholder(tf.bool, name="training")
        net = tf.layers.conv2d(self.x, filters, 3, padding="same", use_bias=False, name="conv1")
        net = tf.layers.batch_normalization(net, training=self.training, momentum=0.9, name="bn1")
        net = tf.nn.leaky_relu(net)
        net = tf.layers.max_pooling2d(net, 2, 2)
        net = tf.layers.separable_conv2d(net, filters / 4, 2, activation=tf.nn.relu)
        net = tf.layers.conv2d_transpose(net, 2, [2, 2], strides=2)
        net = tf.contrib.layers.flatten(net)
        net = tf.layers.dropout(net, rate=0.0, training=self.training)
        regularizer = tf.contrib.layers.l2_regularizer(scale=0.01)
        self.logits = tf.layers.dense(net, classes, kernel_regularizer=regularizer, name="logits")
        self.loss = tf.losses.sparse_softmax_cross_entropy(self.y, self.logits) + tf.losses.get_regularization_loss()
        correct = tf.equal(tf.argmax(self.logits, 1), self.y)
        self.accuracy = tf.reduce_mean(tf.to_float(correct))
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            self.step = tf.train.GradientDescentOptimizer(0.1).minimize(self.loss)


def feed_of(model, step, training):
    samples, labels = starting.batch(step, 8, 32, 3)
    return {model.x: samples.reshape([-1, 4, 4, 2]).astype(np.float), model.y: labels, model.training: training}


def main(argv):
    directory, checkpoint = argv[0], (argv[1:] or [None])[0]
    model = Model()
    saver = tf.train.Saver({v.op.name: v for v in tf.global_variables()})
    with tf.Session() as sess:
        tf.global_variables_initializer().run()
        starting.start(sess)
        if checkpoint:
            saver.restore(sess, checkpoint)
            starting.show(10, sess.run(model.loss, feed_of(model, 99, False)))
            return
        for step in range(10):
            _, loss = sess.run([model.step, model.loss], feed_of(model, step, True))
            starting.show(step, loss)
        saver.save(sess, os.path.join(directory, "layers_conv.ckpt"))


if __name__ == "__main__":
    main(sys.argv[1:])
