"""slim.learning.train, with clipped and summarised gradients; a residual network of slim.nets' blocks."""

import os
import sys

import numpy as np
import starting
import tensorflow as tf
from tensorflow.contrib import slim
from tensorflow.contrib.slim.nets import resnet_utils, resnet_v1
from tensorflow.contrib.slim.python.slim.learning import train_step


def network(images, classes, is_training=True):
    blocks = [
        resnet_utils.Block("block1", resnet_v1.bottleneck, [{"depth": 8, "depth_bottleneck": 4, "stride": 1}] * 2)
    ]
    with slim.arg_scope(resnet_utils.resnet_arg_scope(weight_decay=1e-3, batch_norm_decay=0.9)):
        net, _ = resnet_v1.resnet_v1(
            images, blocks, classes, is_training, global_pool=True, include_root_block=False, scope="resnet"
        )
    return tf.squeeze(net, [1, 2], name="predictions")


def feature_maps(steps):
    """The batches of all steps, from which the graph takes one by the global step. [steps, 4, 4, 4, 2], [steps, 4]"""
    samples, labels = zip(*[starting.batch(step, 4, 4 * 4 * 2, 3) for step in steps])
    return tf.reshape(tf.constant(np.array(samples)), [len(samples), 4, 4, 4, 2]), tf.constant(np.array(labels))


def main(argv):
    directory, checkpoint = argv[0], (argv[1:] or [None])[0]
    global_step = slim.create_global_step()
    images, labels = feature_maps([99] if checkpoint else range(10))
    index = tf.mod(global_step, tf.shape(images, out_type=tf.int64)[0])
    logits = network(tf.gather(images, index), 3, is_training=checkpoint is None)
    slim.losses.softmax_cross_entropy(logits, slim.one_hot_encoding(tf.gather(labels, index), 3))
    total_loss = slim.losses.get_total_loss()
    optimizer = tf.train.RMSPropOptimizer(0.002, decay=0.9, momentum=0.9, epsilon=1.0)
    train_op = slim.learning.create_train_op(
        total_loss,
        optimizer,
        global_step=global_step,
        clip_gradient_norm=4,
        summarize_gradients=True,
        update_ops=tf.get_collection(tf.GraphKeys.UPDATE_OPS),
    )
    saver = tf.train.Saver(max_to_keep=1)
    if checkpoint:
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            slim.assign_from_checkpoint_fn(checkpoint, slim.get_variables_to_restore(), ignore_missing_vars=False)(
                session
            )
            starting.show(*session.run([global_step, total_loss]))
        return

    def step_fn(session, *arguments, **keywords):
        total, should_stop = train_step(session, *arguments, **keywords)
        starting.show(step_fn.step, total)
        step_fn.step += 1
        return total, should_stop

    step_fn.step = 0
    slim.learning.train(
        train_op,
        os.path.join(directory, "slim"),
        train_step_fn=step_fn,
        number_of_steps=10,
        init_fn=starting.start,
        log_every_n_steps=5,
        save_summaries_secs=3600,
        save_interval_secs=3600,
        saver=saver,
    )
    for suffix in ("index", "data-00000-of-00001"):
        tf.gfile.Copy(
            os.path.join(directory, "slim", "model.ckpt-10.%s" % suffix),
            os.path.join(directory, "slim_training.ckpt.%s" % suffix),
            overwrite=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
