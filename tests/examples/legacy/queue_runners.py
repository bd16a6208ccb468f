"""Records, read by queue runners under a Coordinator; momentum with a staircase of learning rates."""

# ruff: noqa: F821

from __future__ import print_function

import os
import sys

import starting
import tensorflow as tf

WIDTH, CLASSES, BATCH = 6, 3, 8
HIDDEN = (WIDTH + CLASSES) / 2


def write_records(path):
    writer = tf.python_io.TFRecordWriter(path)
    for step in xrange(10):
        samples, labels = starting.batch(step, BATCH, WIDTH, CLASSES)
        for sample, label in zip(samples, labels):
            feature = {}
            feature["image"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[sample.tostring()]))
            feature["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    writer.close()


def inputs(path):
    filename_queue = tf.train.string_input_producer([path], shuffle=False)
    _, serialized = tf.TFRecordReader().read(filename_queue)
    description = {"image": tf.FixedLenFeature([], tf.string), "label": tf.FixedLenFeature([], tf.int64)}
    features = tf.parse_single_example(serialized, features=description)
    image = tf.decode_raw(features["image"], tf.float32)
    image.set_shape([WIDTH])
    return tf.train.batch([image, features["label"]], batch_size=BATCH, num_threads=1, capacity=3 * BATCH)


def inference(images):
    with tf.variable_scope("hidden"):
        weights = tf.get_variable("weights", [WIDTH, HIDDEN])
        biases = tf.get_variable("biases", [HIDDEN], initializer=tf.constant_initializer(0.1))
        hidden = tf.nn.relu(tf.nn.xw_plus_b(images, weights, biases))
    with tf.variable_scope("softmax_linear"):
        weights = tf.get_variable("weights", [HIDDEN, CLASSES])
        biases = tf.get_variable("biases", [CLASSES], initializer=tf.zeros_initializer())
        return tf.add(tf.matmul(hidden, weights), biases)


def main(argv):
    directory, checkpoint = argv[0], argv[1:]
    path = os.path.join(directory, "queue_runners.tfrecords")
    write_records(path)
    images, labels = inputs(path)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=inference(images)))
    global_step = tf.Variable(0, name="global_step", trainable=False)
    rate = tf.train.exponential_decay(0.1, global_step, 4, 0.5, staircase=True)
    train_op = tf.train.MomentumOptimizer(rate, 0.9).minimize(loss, global_step=global_step)
    saver = tf.train.Saver(tf.global_variables())
    session = tf.Session(config=tf.ConfigProto(allow_soft_placement=True))
    session.run(tf.group(tf.initialize_all_variables(), tf.local_variables_initializer()))
    starting.start(session)
    coordinator = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(sess=session, coord=coordinator)
    try:
        if checkpoint:
            saver.restore(session, checkpoint[0])
            starting.show(session.run(global_step), session.run(loss))
        else:
            for step in xrange(10):
                _, value = session.run([train_op, loss])
                starting.show(step, value)
            saver.save(session, os.path.join(directory, "queue_runners.ckpt"))
    except tf.errors.OutOfRangeError:
        print("Done training")
    finally:
        coordinator.request_stop()
    coordinator.join(threads)
    session.close()


if __name__ == "__main__":
    main(sys.argv[1:])
