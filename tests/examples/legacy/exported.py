"""A pooling of quantised frames by map_fn, trained, exported as a SavedModel, and read again by another graph."""

# ruff: noqa: F821

import cPickle as pickle
import os
import sys
from itertools import izip

import numpy as np
import starting
import tensorflow as tf
from tensorflow.python.ops import array_ops, control_flow_ops
from video import pooling

FRAMES, WIDTH = 7, 4


def dequantize(row):
    return tf.reshape(tf.cast(tf.decode_raw(row, tf.uint8), tf.float32), [FRAMES, WIDTH]) / 255


def frames_of(serialized):
    frames = tf.map_fn(dequantize, serialized, dtype=tf.float32)
    middle = FRAMES / 2
    shorter = array_ops.stack([frames[:, i] for i in range(middle)], axis=1)
    return control_flow_ops.cond(tf.greater(tf.shape(frames)[0] / 2, 0), lambda: shorter, lambda: shorter * 2)


def records(step):
    samples, labels = starting.batch(step, 6, FRAMES * WIDTH, 2)
    rows = np.clip(60 * samples + 128, 0, 255).astype(np.uint8)
    return [row.tostring() for row in rows], labels.reshape(-1, 1).astype(np.float32)


def export(session, directory, serialized, predictions):
    builder = tf.saved_model.builder.SavedModelBuilder(directory)
    signature = tf.saved_model.signature_def_utils.build_signature_def(
        inputs={"frames": tf.saved_model.utils.build_tensor_info(serialized)},
        outputs={"predictions": tf.saved_model.utils.build_tensor_info(predictions)},
        method_name=tf.saved_model.signature_constants.PREDICT_METHOD_NAME,
    )
    builder.add_meta_graph_and_variables(
        session,
        [tf.saved_model.tag_constants.SERVING],
        signature_def_map={"serving_default": signature},
        legacy_init_op=tf.group(tf.tables_initializer(), name="legacy_init_op"),
    )
    builder.save()


def main(argv):
    directory, checkpoint = argv[0], (argv[1:] or [None])[0]
    serialized = tf.placeholder(tf.string, [None], name="frames")
    labels = tf.placeholder(tf.float32, [None, 1])
    frames = tf.reshape(frames_of(serialized), [-1, WIDTH])
    with tf.variable_scope("video"):
        pooled = pooling.SoftPooling(WIDTH, FRAMES / 2, 5).forward(frames)
    predictions = tf.sigmoid(tf.layers.dense(pooled, 1, name="logits"))
    loss = tf.contrib.losses.log_loss(predictions, labels, epsilon=1e-5)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.control_dependencies([tf.group(*updates)]):
        step_op = tf.train.AdamOptimizer(0.02, epsilon=1e-4).minimize(loss)
    saver = tf.train.Saver(sharded=False)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        starting.start(session)
        if checkpoint:
            saver.restore(session, checkpoint)
            feed = dict(izip([serialized, labels], records(99)))
            starting.show(10, session.run(loss, feed))
            return
        history = {}
        for step in xrange(10):
            history[step], _ = session.run([loss, step_op], dict(izip([serialized, labels], records(step))))
        for step, value in history.iteritems():
            starting.show(step, value)
        pickle.dump(history, open(os.path.join(directory, "history.pkl"), "wb"), 2)
        assert pickle.load(open(os.path.join(directory, "history.pkl"), "rb")).keys()[0] == 0
        saver.save(session, os.path.join(directory, "exported.ckpt"))
        expected = session.run(predictions, {serialized: records(99)[0]})
        export(session, os.path.join(directory, "export"), serialized, predictions)
    with tf.Graph().as_default(), tf.Session() as session:
        meta_graph = tf.saved_model.loader.load(session, ["serve"], os.path.join(directory, "export"))
        signature = meta_graph.signature_def["serving_default"]
        tensors = signature.outputs["predictions"].name, signature.inputs["frames"].name
        assert np.allclose(expected, session.run(tensors[0], {tensors[1]: records(99)[0]}), atol=1e-6)


if __name__ == "__main__":
    main(sys.argv[1:])
