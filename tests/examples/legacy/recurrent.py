"""dynamic_rnn over cells of tf.nn.rnn_cell and tf.contrib.rnn, of sequences of different lengths."""

import os
import sys

import starting
import tensorflow as tf
from tensorflow.contrib import rnn

TIMES, WIDTH, CLASSES, UNITS = 5, 4, 3, 10
config = {"units": UNITS / 3, "layers": 2}


def encode(sequences, lengths):
    cells = [
        rnn.DropoutWrapper(rnn.BasicLSTMCell(config["units"]), output_keep_prob=1.0) for _ in range(config["layers"])
    ]
    cell = rnn.MultiRNNCell(cells, state_is_tuple=True)
    state = cell.zero_state(tf.shape(sequences)[0], tf.float32)
    outputs, states = tf.nn.dynamic_rnn(cell, sequences, lengths, initial_state=state, scope="lstm")
    forward, backward = tf.nn.rnn_cell.GRUCell(2), tf.nn.rnn_cell.GRUCell(2)
    both, _ = tf.nn.bidirectional_dynamic_rnn(forward, backward, outputs, lengths, dtype=tf.float32)
    last = tf.reduce_max(tf.concat(both, 2), axis=1)
    return tf.concat([last, states[-1].h], 1)


def main(argv):
    directory, checkpoint = argv[0], (argv[1:] or [None])[0]
    sequences = tf.placeholder(tf.float32, [None, TIMES, WIDTH])
    lengths = tf.placeholder(tf.int32, [None])
    labels = tf.placeholder(tf.int32, [None])
    with tf.variable_scope("model", initializer=tf.random_uniform_initializer(-0.1, 0.1)):
        code = encode(sequences, lengths)
        weights = tf.get_variable("softmax_w", [code.get_shape()[1].value, CLASSES])
        logits = tf.matmul(code, weights)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=labels))
    variables = tf.trainable_variables()
    gradients, _ = tf.clip_by_global_norm(tf.gradients(loss, variables), 5)
    step_op = tf.train.AdagradOptimizer(0.1).apply_gradients(zip(gradients, variables))
    saver = tf.train.Saver()

    def feed(step):
        samples, targets = starting.batch(step, 6, TIMES * WIDTH, CLASSES)
        return {sequences: samples.reshape(-1, TIMES, WIDTH), lengths: [5, 3, 1, 5, 2, 4], labels: targets}

    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        starting.start(session)
        if checkpoint is not None:
            saver.restore(session, checkpoint)
            starting.show(10, session.run(loss, feed(99)))
        else:
            for step in range(10):
                value, _ = session.run([loss, step_op], feed_dict=feed(step))
                starting.show(step, value)
            saver.save(session, os.path.join(directory, "recurrent.ckpt"))


if __name__ == "__main__":
    main(sys.argv[1:])
