"""The published models. Each makes one vector of a video's frames, and experts classify it.

The late-fusion models pool each feature, and join, project and gate the results. The other models are in `recurrent`.
"""

import collections
import contextlib

import loupe
import tensorflow.compat.v1 as tf
import tf_slim as slim
from loupe_examples.errors import UserError
from loupe_examples.pooling import MeanPooling

from yt8m import recurrent
from yt8m.pooling import OF_SCALED, GatedSoftDBoW, OfScaled

# By method: the layer's class for the first feature and for the others, the suffix of the published variable scopes,
# and the number by which the clusters of the first feature are divided for the others.
POOLINGS = {
    "netvlad": (loupe.NetVLAD, loupe.NetVLAD, "VLAD", 2),
    "netrvlad": (loupe.NetRVLAD, loupe.NetRVLAD, "VLAD", 2),
    "netfv": (loupe.NetFV, loupe.NetFV, "FV", 2),
    "soft-dbow": (loupe.SoftDBoW, loupe.SoftDBoW, "DBOF", 8),
    "gated-soft-dbow": (GatedSoftDBoW, loupe.SoftDBoW, "DBOF", 8),
    "mean": (MeanPooling, MeanPooling, "mean", 1),
}

# Predictions [B, V]; the mean over videos of the sum over classes of the cross entropy; the experts' L2 penalties.
Model = collections.namedtuple("Model", "predictions loss regularization")


def build(frames, num_frames, data, architecture, is_training, labels=None):
    """Builds a model in the current variable scope, with the names and the order of the published variables.

    Args:
      frames: float32 [B, F, D], the features side by side, not normalised.
      num_frames: how many leading frames of each video are real, an integer tensor [B]; or None, if all are.
      data, architecture: these parts of the settings.
      is_training: whether batch norm uses the statistics of the batch, and adds to ``tf.GraphKeys.UPDATE_OPS``.
      labels: bool [B, V]. Default None: there is no loss.

    Raises a `UserError` if there are too few clusters for one of the features.
    """
    batch_norm = slim.arg_scope(
        [slim.batch_norm], decay=architecture.batch_norm_decay, center=True, scale=True, is_training=is_training
    )
    with batch_norm:
        if architecture.pooling in recurrent.CELLS:
            video = recurrent.last_states(frames, num_frames, architecture)
        else:
            video = LateFusion(frames, data, architecture, is_training).forward(frames, num_frames)
        probabilities, regularization = _mixture_of_experts(video, data.num_classes, architecture)
        if architecture.probability_gating:
            with _renamed_variables({"gating_weights": "gating_prob_weights", "gating_bn": "gating_prob_bn"}):
                probabilities = loupe.context_gating(probabilities, is_training=is_training)
    loss = None if labels is None else _cross_entropy(probabilities, tf.cast(labels, tf.float32))
    return Model(probabilities, loss, regularization)


def build_on(batch, data, architecture, is_training):
    """Builds a model with its loss on a batch of `records.dataset`. The other arguments are those of `build`."""
    num_frames = batch["num_frames"]
    if data.frame_sampling == "random" and architecture.pooling not in recurrent.CELLS:
        # Frames that were drawn at random fill the list. Looking for padding would only cost time.
        num_frames = None
    return build(batch["frames"], num_frames, data, architecture, is_training, batch["labels"])


class LateFusion(loupe.PoolingBaseModel):
    """Pools each feature of the l2-normalised frames, and joins, projects and gates the results. [B, H]"""

    def __init__(self, frames, data, architecture, is_training):
        max_samples = tf.dimension_value(frames.shape[1]) or tf.shape(frames)[1]
        width = sum(data.feature_sizes)
        clusters = width if architecture.pooling == "mean" else architecture.clusters
        super().__init__(width, max_samples, clusters, architecture.hidden_size, gating=False, is_training=is_training)
        self.data = data
        self.architecture = architecture

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(tf.nn.l2_normalize(reshaped_input, axis=2, epsilon=1e-12), num_samples)
        layers, sizes = self._layers(), list(self.data.feature_sizes)
        if all(isinstance(layer, OfScaled) for layer in layers.values()):
            rows = self._scaled_later(samples.rows, layers.values(), sizes)
        else:
            rows = slim.batch_norm(samples.rows, scope="input_bn")
        pooled = []
        for part, (scope, layer) in zip(tf.split(samples.scattered(rows), sizes, axis=2), layers.items()):
            with tf.variable_scope(scope):
                pooled.append(layer.forward(part, num_samples))
        video = self.output(tf.concat(pooled, axis=1))
        if self.architecture.relu:
            video = tf.nn.relu6(slim.batch_norm(video, scope="hidden1_bn"))
        else:
            initializer = tf.random_normal_initializer(stddev=0.01)
            video += tf.get_variable("hidden1_biases", [self.output_dim], initializer=initializer)
        if self.architecture.gating:
            with _renamed_variables({"gating_weights": "gating_weights_2"}):
                video = loupe.context_gating(video, is_training=self.is_training)
        return video

    def _scaled_later(self, rows, layers, sizes):
        """The rows after a batch norm whose scale and shift the layers apply later."""
        with tf.variable_scope("input_bn"):
            shift = tf.get_variable("beta", [sum(sizes)], initializer=tf.zeros_initializer())
            scale = tf.get_variable("gamma", [sum(sizes)], initializer=tf.ones_initializer())
        for layer, layer_scale, layer_shift in zip(layers, tf.split(scale, sizes), tf.split(shift, sizes)):
            layer.scale, layer.shift = layer_scale, layer_shift
        return slim.batch_norm(rows, center=False, scale=False, scope="input_bn")

    def _layers(self):
        """The layer of each feature, by its variable scope."""
        first, others, suffix, divisor = POOLINGS[self.architecture.pooling]
        layers = {}
        for number, (name, size) in enumerate(zip(self.data.feature_names, self.data.feature_sizes)):
            method, clusters = (others, self.cluster_size // divisor) if number else (first, self.cluster_size)
            if clusters == 0:
                raise UserError(f"clusters: expected at least {divisor}, for feature {name}, got {self.cluster_size}")
            if self.is_training is not False:  # Without gradients, scaling the frames is faster.
                method = OF_SCALED.get(method, method)
            layer = method(size, self.max_samples, clusters, None, gating=False, is_training=self.is_training)
            layers[{"rgb": "video"}.get(name, name) + "_" + suffix] = layer
        return layers


@contextlib.contextmanager
def _renamed_variables(renamed):
    def custom(getter, name, *args, **kwargs):
        return getter("/".join(renamed.get(part, part) for part in name.split("/")), *args, **kwargs)

    with tf.variable_scope(tf.get_variable_scope(), custom_getter=custom):
        yield


def _mixture_of_experts(x, num_classes, architecture):
    """Returns the probabilities of the classes for x [B, H], float32 [B, V], and the L2 penalty.

    A probability is the mean of the experts' opinions, weighted by gates. A dummy expert with opinion 0 has a gate too.
    """
    mixtures = architecture.mixtures
    width = tf.dimension_value(x.shape[1])
    glorot = tf.glorot_uniform_initializer()
    with tf.variable_scope("gates"):
        gate_weights = tf.get_variable("weights", [width, num_classes * (mixtures + 1)], initializer=glorot)
    with tf.variable_scope("experts"):
        expert_weights = tf.get_variable("weights", [width, num_classes * mixtures], initializer=glorot)
        expert_biases = tf.get_variable("biases", [num_classes * mixtures], initializer=tf.zeros_initializer())
    gates = tf.nn.softmax(tf.reshape(loupe.project(x, gate_weights), [-1, num_classes, mixtures + 1]))
    experts = tf.sigmoid(tf.nn.bias_add(loupe.project(x, expert_weights), expert_biases))
    experts = tf.reshape(experts, [-1, num_classes, mixtures])
    probabilities = tf.reduce_sum(gates[:, :, :mixtures] * experts, axis=2)
    return probabilities, architecture.moe_l2 * (tf.nn.l2_loss(gate_weights) + tf.nn.l2_loss(expert_weights))


def _cross_entropy(probabilities, labels):
    entropies = labels * tf.log(probabilities + 1e-5) + (1 - labels) * tf.log(1 - probabilities + 1e-5)
    return -tf.reduce_mean(tf.reduce_sum(entropies, axis=1))
