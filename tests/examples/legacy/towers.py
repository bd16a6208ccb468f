"""Towers that share their variables, whose gradients are averaged on the CPU, as in the CIFAR-10 tutorial."""

# ruff: noqa: F821

from __future__ import division
from __future__ import print_function

import os
import re
import sys

import starting
import tensorflow as tf
import tensorflow.contrib.layers as tcl

TOWERS = 2
TOWER_NAME = "tower"


def _variable_with_weight_decay(name, shape, wd):
    with tf.device("/cpu:0"):
        var = tf.get_variable(name, shape, initializer=tf.truncated_normal_initializer(stddev=0.1))
    if wd is not None:
        tf.add_to_collection("losses", tf.multiply(tf.nn.l2_loss(var), wd, name="weight_loss"))
    return var


def inference(images):
    with tf.variable_scope("local"):
        kernel = _variable_with_weight_decay("weights", [6, 7 // 2], wd=1 / 250)
        biases = tf.get_variable("biases", [3], initializer=tf.constant_initializer(0.1))
        local = tf.nn.elu(tf.matmul(images, kernel) + biases, name="local")
    normed = tcl.batch_norm(local, decay=0.9, updates_collections=None, is_training=True, scope="bn")
    return tcl.fully_connected(normed, 3, activation_fn=None, biases_initializer=None, scope="logits")


def tower_loss(scope, images, labels):
    logits = inference(images)
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    tf.add_to_collection("losses", tf.reduce_mean(cross_entropy, name="cross_entropy"))
    losses = tf.get_collection("losses", scope)
    total_loss = tf.add_n(losses, name="total_loss")
    for tensor in losses + [total_loss]:
        tf.summary.scalar(re.sub("%s_[0-9]*/" % TOWER_NAME, "", tensor.op.name), tensor)
    return total_loss


def average_gradients(tower_grads):
    average_grads = []
    for grad_and_vars in zip(*tower_grads):
        grad = tf.concat(axis=0, values=[tf.expand_dims(g, 0) for g, _ in grad_and_vars])
        average_grads.append((tf.reduce_mean(grad, 0), grad_and_vars[0][1]))
    return average_grads


def main(argv):
    directory, checkpoint = argv[0], argv[1:]
    with tf.device("/cpu:0"):
        images = tf.placeholder(tf.float32, [None, 6])
        labels = tf.placeholder(tf.int64, [None])
        global_step = tf.get_variable("global_step", [], initializer=tf.constant_initializer(0), trainable=False)
        opt = tf.train.FtrlOptimizer(tf.train.polynomial_decay(0.1, global_step, 10, 0.01))
        tower_grads, tower_losses = [], []
        image_splits, label_splits = tf.split(images, TOWERS), tf.split(labels, TOWERS)
        with tf.variable_scope(tf.get_variable_scope()):
            for i in xrange(TOWERS):
                with tf.device("/cpu:0"), tf.name_scope("%s_%d" % (TOWER_NAME, i)) as scope:
                    tower_losses.append(tower_loss(scope, image_splits[i], label_splits[i]))
                    tf.get_variable_scope().reuse_variables()
                    tower_grads.append(opt.compute_gradients(tower_losses[-1]))
        with tf.variable_scope(tf.get_variable_scope(), reuse=False):
            apply_gradient_op = opt.apply_gradients(average_gradients(tower_grads), global_step=global_step)
            averages = tf.train.ExponentialMovingAverage(0.5, global_step)
            train_op = tf.group(apply_gradient_op, averages.apply(tf.trainable_variables()))
        loss = tf.add_n(tower_losses) / TOWERS
        saver = tf.train.Saver(tf.all_variables() if hasattr(tf, "all_variables") else tf.global_variables())
        sess = tf.InteractiveSession()
        sess.run(tf.global_variables_initializer())
        starting.start(sess)
        if checkpoint:
            saver.restore(sess, checkpoint[0])
            samples, targets = starting.batch(99, 8, 6, 3)
            starting.show(global_step.eval(), loss.eval({images: samples, labels: targets}))
        else:
            for step in xrange(10):
                samples, targets = starting.batch(step, 8, 6, 3)
                _, value = sess.run([train_op, loss], feed_dict={images: samples, labels: targets})
                starting.show(step, value)
            saver.save(sess, os.path.join(directory, "towers.ckpt"))
        sess.close()


if __name__ == "__main__":
    main(sys.argv[1:])
