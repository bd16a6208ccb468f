"""A MonitoredTrainingSession with hooks; tf.data; streaming metrics of tf.contrib.metrics."""

from __future__ import print_function

import os
import sys

import numpy as np
import starting
import tensorflow as tf
from tensorflow.contrib import metrics as contrib_metrics

tfm = tf.contrib.metrics


class ShowHook(tf.train.SessionRunHook):
    def __init__(self, loss, global_step):
        self.tensors = {"loss": loss, "step": global_step}

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self.tensors)

    def after_run(self, run_context, run_values):
        starting.show(run_values.results["step"], run_values.results["loss"])


def input_fn(steps):
    samples, labels = map(np.array, zip(*[starting.batch(step, 8, 6, 3) for step in steps]))
    dataset = tf.data.Dataset.from_tensor_slices((samples, labels))
    dataset = dataset.map(lambda x, y: (x / 2, tf.cond(y[0] > 0, lambda: y, lambda: tf.identity(y))), 1)
    return dataset.repeat().make_one_shot_iterator().get_next()


def model_fn(features, labels):
    net = tf.contrib.layers.fully_connected(features, 5, activation_fn=tf.sigmoid)
    logits = tf.contrib.layers.fully_connected(net, 3, None)
    loss = tf.contrib.losses.sparse_softmax_cross_entropy(logits, labels)
    predictions = tf.argmax(logits, 1)
    names_to_values, names_to_updates = contrib_metrics.aggregate_metric_map(
        {
            "accuracy": tfm.streaming_accuracy(predictions, labels),
            "mean": tfm.streaming_mean(loss),
        }
    )
    matrix = tfm.confusion_matrix(labels, predictions, num_classes=3)
    return loss, names_to_values, names_to_updates.values(), matrix


def main(argv):
    directory, checkpoint = argv[0], (argv[1:] or [None])[0]
    features, labels = input_fn([99] if checkpoint else range(10))
    loss, values, updates, matrix = model_fn(features, labels)
    global_step = tf.train.get_or_create_global_step()
    optimizer = tf.train.AdadeltaOptimizer(1.0, epsilon=1e-3)
    gradients = optimizer.compute_gradients(loss)
    train_op = optimizer.apply_gradients(gradients, global_step)
    saver = tf.train.Saver()
    if checkpoint:
        with tf.train.MonitoredSession() as session:
            saver.restore(session._coordinated_creator.tf_sess, checkpoint)
            starting.show(*session.run([global_step, loss]))
        return
    scaffold = tf.train.Scaffold(saver=saver, init_fn=lambda _, session: starting.start(session))
    hooks = [
        tf.train.StopAtStepHook(last_step=10),
        tf.train.NanTensorHook(loss),
        tf.train.LoggingTensorHook({"loss": loss}, every_n_iter=5),
        tf.train.CheckpointSaverHook(directory, save_steps=10, checkpoint_basename="monitored.ckpt", saver=saver),
        ShowHook(loss, global_step),
    ]
    with tf.train.MonitoredTrainingSession(
        scaffold=scaffold, hooks=hooks, save_checkpoint_secs=None, save_summaries_steps=None
    ) as session:
        while not session.should_stop():
            results = session.run([train_op, values, matrix] + list(updates))
    assert results[2].sum() == 8 and 0 <= results[1]["accuracy"] <= 1
    for suffix in ("index", "data-00000-of-00001"):
        name = os.path.join(directory, "monitored.ckpt")
        os.rename("%s-10.%s" % (name, suffix), "%s.%s" % (name, suffix))


if __name__ == "__main__":
    main(sys.argv[1:])
