"""A Supervisor's managed session, with summaries; tf.contrib.layers with batch norm and a bottleneck."""

import os
import sys

import numpy as np
import starting
import tensorflow as tf
from tensorflow.contrib import layers
from tensorflow.contrib.framework.python.ops import add_arg_scope, arg_scope
from tensorflow.contrib.layers.python.layers import initializers

WIDTH = 6
CLASSES = 3


@add_arg_scope
def block(net, num_outputs, stride=2, scope=None):
    with tf.variable_scope(scope, "block", [net]):
        net = layers.fully_connected(net, num_outputs / stride, scope="bottleneck")
        return layers.fully_connected(net, num_outputs, activation_fn=tf.nn.tanh, scope="wide")


def network(images, is_training):
    normalizer_params = {"is_training": is_training, "decay": 0.9, "epsilon": 1e-3, "scale": True}
    normalizer_params["updates_collections"] = None
    with arg_scope(
        [layers.fully_connected],
        weights_initializer=initializers.xavier_initializer(),
        weights_regularizer=layers.l1_l2_regularizer(1e-4, 1e-4),
        normalizer_fn=layers.batch_norm,
        normalizer_params=normalizer_params,
    ), arg_scope([block], stride=3):
        net = layers.repeat(images, 2, block, 8, scope="blocks")
    net = layers.layer_norm(net)
    return layers.linear(net, CLASSES, scope="logits")


def main(argv):
    directory, checkpoint = argv[0], (argv[1:] or [None])[0]
    images = tf.placeholder(tf.float32, [None, WIDTH])
    labels = tf.placeholder(tf.int32, [None])
    is_training = tf.placeholder_with_default(True, [])
    logits = network(images, is_training)
    cross_entropy = tf.nn.softmax_cross_entropy_with_logits(logits=logits, labels=tf.one_hot(labels, CLASSES))
    regularization = tf.add_n(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES))
    loss = tf.reduce_mean(cross_entropy, name="cross_entropy") + regularization
    tf.summary.scalar("loss", loss)
    global_step = tf.contrib.framework.get_or_create_global_step()
    train_op = tf.contrib.layers.optimize_loss(
        loss, global_step, learning_rate=0.05, optimizer="SGD", clip_gradients=1.0, summaries=["gradients"]
    )
    saver = tf.train.Saver()
    supervisor = tf.train.Supervisor(
        logdir=os.path.join(directory, "supervised"),
        saver=saver,
        checkpoint_basename="supervised.ckpt",
        save_model_secs=0,
        init_fn=starting.start,
        global_step=global_step,
        summary_op=None,
    )
    with supervisor.managed_session() as sess:
        if checkpoint:
            saver.restore(sess, checkpoint)
            samples, targets = starting.batch(99, 8, WIDTH, CLASSES)
            feed = {images: samples, labels: targets, is_training: False}
            starting.show(sess.run(global_step), sess.run(loss, feed))
            return
        losses = []
        while not supervisor.should_stop() and len(losses) < 10:
            samples, targets = starting.batch(len(losses), 8, WIDTH, CLASSES)
            losses.append(sess.run([loss, train_op], {images: samples, labels: targets})[0])
            starting.show(len(losses) - 1, losses[-1])
        saver.save(sess, os.path.join(directory, "supervised.ckpt"))
        assert np.all(np.isfinite(losses))
        supervisor.request_stop()


if __name__ == "__main__":
    main(sys.argv[1:])
