"""The published YouTube-8M models, as sizes of the benchmark: a whole step, from frames to Adam's updates.

`reference` is the graph of 2017, each formula written out step by step; nothing in it is meant to be fast. It leaves
out the sum over one tower's gradients, which was an additional pass over all of them in the program of 2017. `example`
is the graph of examples/youtube8m. Both have the same variables.
"""

import argparse
import collections
import os
import sys

import tensorflow.compat.v1 as tf

import loupe
from benchmark import reference_graph
from benchmark.reference_graph import variable

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir, "examples")
sys.path += [EXAMPLES, os.path.join(EXAMPLES, "youtube8m")]

from yt8m import model, step
from yt8m.settings import of_preset

Sizes = collections.namedtuple("Sizes", "batch frames features clusters classes hidden")

SIZES = {
    "published": Sizes(80, 300, (1024, 128), {"NetFV": 128, "SoftDBoW": 8000}, 3862, 1024),
    "small-model": Sizes(4, 6, (16, 8), {"SoftDBoW": 32}, 10, 12),
}
CLUSTERS = {"published": 256, "small-model": 8}  # of the methods that `Sizes.clusters` does not name

PRESETS = {"NetVLAD": "gated-netvlad", "NetRVLAD": "gated-netrvlad", "NetFV": "gated-netfv", "SoftDBoW": "soft-dbow"}


def preset_of(method, size):
    """The settings of the method's preset, at this size."""
    sizes = SIZES[size]
    return of_preset(
        PRESETS[method],
        batch_size=sizes.batch,
        iterations=sizes.frames,
        feature_sizes=sizes.features,
        clusters=sizes.clusters.get(method, CLUSTERS[size]),
        num_classes=sizes.classes,
        hidden_size=sizes.hidden,
        towers=1,
    )


def settings_of(method, size):
    """The values of `preset_of` in one namespace, with the number of clusters for each feature."""
    settings = preset_of(method, size)
    values = {**vars(settings.data), **vars(settings.architecture), **vars(settings.training)}
    *_, divisor = model.POOLINGS[values["pooling"]]
    return argparse.Namespace(**values, feature_clusters=(values["clusters"], values["clusters"] // divisor))


def example(task, frames, labels):
    """The step of examples/youtube8m for frames [B, N, D] and labels [B, V], in the form of `steps.reference`."""
    settings = preset_of(task.method, task.size)
    if task.mode == "inference":
        built = model.build(frames, None, settings.data, settings.architecture, is_training=False)
        return {"predictions": built.predictions}, []
    num_frames = tf.fill([settings.data.batch_size], settings.data.iterations)
    built = step.build({"frames": frames, "num_frames": num_frames, "labels": labels}, settings)
    return {"loss": built.loss}, [built.train]


def reference(task, frames, labels):
    """The step of the graph of 2017, in the form of `example`."""
    settings = settings_of(task.method, task.size)
    is_training = task.mode != "inference"
    predictions, penalty = _predictions(task.method, frames, settings, is_training)
    if not is_training:
        return {"predictions": predictions}, []
    labels = tf.cast(labels, tf.float32)
    entropy = labels * tf.log(predictions + 1e-5) + (1 - labels) * tf.log(1 - predictions + 1e-5)
    loss = tf.reduce_mean(tf.reduce_sum(tf.negative(entropy), 1))
    count = tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(
        settings.learning_rate,
        count * settings.batch_size,
        settings.learning_rate_decay_examples,
        settings.learning_rate_decay,
        staircase=True,
    )
    optimizer = tf.train.AdamOptimizer(rate)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        loss = tf.identity(loss)
    gradients = optimizer.compute_gradients(loss + penalty)
    clipped = [(tf.clip_by_norm(gradient, settings.clip_norm), variable) for gradient, variable in gradients]
    return {"loss": loss}, [optimizer.apply_gradients(clipped, count)]


def _predictions(method, frames, settings, is_training):
    """The probabilities [B, V], and the L2 penalty."""
    count, width = int(frames.shape[1]), int(frames.shape[2])
    frames = tf.nn.l2_normalize(frames, 2)
    with loupe.slim.arg_scope([loupe.slim.batch_norm], decay=settings.batch_norm_decay):
        x = tf.reshape(frames, [-1, width])
        x = loupe.slim.batch_norm(x, center=True, scale=True, is_training=is_training, scope="input_bn")
        pooled, start = [], 0
        *_, suffix, _ = model.POOLINGS[settings.pooling]
        for scope, size, clusters in zip(("video", "audio"), settings.feature_sizes, settings.feature_clusters):
            with tf.variable_scope(scope + "_" + suffix):
                part = x[:, start : start + size]
                pooled.append(reference_graph.pooled(method, part, count, clusters, is_training=is_training))
            start += size
        descriptor = tf.concat(pooled, 1)
        stddev = settings.clusters**-0.5
        y = tf.matmul(descriptor, variable("hidden1_weights", [int(descriptor.shape[1]), settings.hidden_size], stddev))
        y = y + variable("hidden1_biases", [settings.hidden_size], 0.01)
        if settings.gating:
            y = reference_graph.gated(y, "gating_weights_2", "gating", is_training=is_training)
        probabilities, penalty = _experts(y, settings)
        if settings.probability_gating:
            probabilities = reference_graph.gated(
                probabilities, "gating_prob_weights", "gating_prob", is_training=is_training
            )
    return probabilities, penalty


def _experts(y, settings):
    classes, mixtures, width = settings.num_classes, settings.mixtures, int(y.shape[1])
    glorot = tf.glorot_uniform_initializer()
    gate_weights = tf.get_variable("gates/weights", [width, classes * (mixtures + 1)], initializer=glorot)
    expert_weights = tf.get_variable("experts/weights", [width, classes * mixtures], initializer=glorot)
    expert_biases = tf.get_variable("experts/biases", [classes * mixtures], initializer=tf.zeros_initializer())
    gates = tf.matmul(y, gate_weights)
    gates = tf.nn.softmax(tf.reshape(gates, [-1, mixtures + 1]))
    experts = tf.matmul(y, expert_weights) + expert_biases
    experts = tf.nn.sigmoid(tf.reshape(experts, [-1, mixtures]))
    probabilities = tf.reduce_sum(gates[:, :mixtures] * experts, 1)
    penalty = settings.moe_l2 * tf.nn.l2_loss(gate_weights) + settings.moe_l2 * tf.nn.l2_loss(expert_weights)
    return tf.reshape(probabilities, [-1, classes]), penalty
