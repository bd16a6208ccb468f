"""tf.app.run with flags, as in the scripts of slim's model library; Adam, a moving average of the weights."""

# ruff: noqa: F821

from __future__ import absolute_import
from __future__ import print_function

import os

import starting
import tensorflow as tf
import tensorflow.contrib.slim as slim

tf.app.flags.DEFINE_string("train_dir", "/tmp/train", "Where checkpoints go.")
tf.app.flags.DEFINE_string("checkpoint_path", None, "A checkpoint to evaluate.")
tf.app.flags.DEFINE_integer("max_number_of_steps", 10, "How many steps.")
tf.app.flags.DEFINE_float("weight_decay", 0.001, "Of all weights.")
tf.app.flags.DEFINE_boolean("verbose", True, "Whether to log.")
FLAGS = tf.app.flags.FLAGS

settings = {"width": 6, "classes": 3, "size": 8}


def network(images, is_training=True, scope="LeNet"):
    regularizer = slim.l2_regularizer(FLAGS.weight_decay)
    with slim.arg_scope([slim.fully_connected], weights_regularizer=regularizer, activation_fn=tf.nn.relu6):
        with tf.variable_scope(scope, "LeNet", [images]) as scope:
            end_points_collection = scope.original_name_scope + "_end_points"
            with slim.arg_scope([slim.fully_connected], outputs_collections=end_points_collection):
                net = slim.stack(images, slim.fully_connected, [8, 16 / 3], scope="fc")
                net = slim.dropout(net, 0.5, is_training=False, scope="dropout")
                logits = slim.fully_connected(net, settings["classes"], activation_fn=None, scope="logits")
            end_points = slim.utils.convert_collection_to_dict(end_points_collection)
    return logits, end_points


def main(unused_argv):
    tf.logging.set_verbosity(tf.logging.INFO if FLAGS.verbose else tf.logging.ERROR)
    if not tf.gfile.Exists(FLAGS.train_dir):
        tf.gfile.MakeDirs(FLAGS.train_dir)
    images = tf.placeholder(tf.float32, [None, settings["width"]], name="images")
    labels = tf.placeholder(tf.int64, [None], name="labels")
    logits, end_points = network(images)
    for name, activation in end_points.iteritems():
        tf.summary.histogram("activations/" + name, activation)
    tf.losses.sparse_softmax_cross_entropy(labels, logits)
    loss = tf.losses.get_total_loss()
    global_step = slim.get_or_create_global_step()
    train_op = tf.train.AdamOptimizer(0.01, epsilon=1e-4).minimize(loss, global_step)
    averages = tf.train.ExponentialMovingAverage(0.9, global_step)
    with tf.control_dependencies([train_op]):
        train_op = averages.apply(slim.get_model_variables())
    saver = tf.train.Saver(max_to_keep=1)
    with tf.Session() as sess:
        sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
        starting.start(sess)
        steps = xrange(FLAGS.max_number_of_steps)
        if FLAGS.checkpoint_path:
            saver.restore(sess, FLAGS.checkpoint_path)
            steps = []
            feed = dict(zip((images, labels), starting.batch(99, settings["size"], 6, 3)))
            starting.show(tf.train.global_step(sess, global_step), sess.run(loss, feed_dict=feed))
        for step in steps:
            feed = dict(zip((images, labels), starting.batch(step, settings["size"], 6, 3)))
            value, _ = sess.run([loss, train_op], feed_dict=feed)
            starting.show(step, value)
        if steps:
            saver.save(sess, os.path.join(FLAGS.train_dir, "flags_app.ckpt"), write_meta_graph=False)


if __name__ == "__main__":
    tf.app.run()
