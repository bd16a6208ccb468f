"""The published late-fusion models: the features pooled apart, joined, projected, gated, and classified by experts."""

import collections
import contextlib
import math

import loupe
import tensorflow.compat.v1 as tf
import tf_slim as slim
from commandline import UserError

# By method: its class, the end of the published variable scopes, and how many times fewer clusters the features after
# the first have.
POOLINGS = {
    "netvlad": (loupe.NetVLAD, "VLAD", 2),
    "netrvlad": (loupe.NetRVLAD, "VLAD", 2),
    "netfv": (loupe.NetFV, "FV", 2),
    "soft-dbow": (loupe.SoftDBoW, "DBOF", 8),
    "mean": None,
}

Model = collections.namedtuple("Model", "predictions loss regularization")


def build(frames, num_frames, settings, is_training, labels=None):
    """Builds a model in the current variable scope, in the published variables' names and order.

    Args:
      frames: float32 [B, F, D], the features side by side, not normalised.
      num_frames: how many leading frames of each video are real, an integer tensor [B]; or None, if all are.
      settings: has the names and sizes of the features, `num_classes` and the values of the model's flags (see
        `commandline.add_model_flags`) and `pooling`, a key of `POOLINGS`, as attributes.
      is_training: whether batch norm uses the statistics of the batch, and adds to ``tf.GraphKeys.UPDATE_OPS``.
      labels: bool [B, V]. Default None: there is no loss.

    Returns:
      A `Model` of predictions [B, V]; loss, the mean over videos of the sum over classes of the cross entropy; and
      regularization, the L2 penalties of the experts.

    Raises:
      UserError: if there are too few clusters for one of the features.
    """
    batch_norm = slim.arg_scope(
        [slim.batch_norm], decay=settings.batch_norm_decay, center=True, scale=True, is_training=is_training
    )
    with batch_norm:
        rows = _Rows(tf.nn.l2_normalize(frames, axis=2, epsilon=1e-12), num_frames)
        rows = rows.replaced(slim.batch_norm(rows.rows, scope="input_bn"))
        video, stddev = _pooled(rows, num_frames, settings, is_training)
        width = settings.hidden_size
        weights = _variable("hidden1_weights", [tf.dimension_value(video.shape[1]), width], stddev)
        video = tf.matmul(video, weights)  # [B, H]
        if settings.relu:
            video = tf.nn.relu6(slim.batch_norm(video, scope="hidden1_bn"))
        else:
            video += _variable("hidden1_biases", [width], 0.01)
        if settings.gating:
            video = _gated(video, is_training, {"gating_weights": "gating_weights_2"})
        probabilities, regularization = _mixture_of_experts(video, settings)
        if settings.probability_gating:
            renamed = {"gating_weights": "gating_prob_weights", "gating_bn": "gating_prob_bn"}
            probabilities = _gated(probabilities, is_training, renamed)
    loss = None if labels is None else _cross_entropy(probabilities, tf.cast(labels, tf.float32))
    return Model(probabilities, loss, regularization)


def build_on(batch, settings, is_training):
    """Builds a model on a batch of `records.dataset`, with its loss; otherwise as `build`."""
    # Frames that were drawn at random fill the list, and what tells padding apart would cost time for nothing.
    num_frames = None if settings.frame_sampling == "random" else batch["num_frames"]
    return build(batch["frames"], num_frames, settings, is_training, batch["labels"])


class _Rows:
    """Lists of frames [B, F, D], and their T real frames as rows [T, D]."""

    def __init__(self, lists, num_frames):
        self.lists = lists
        width = tf.dimension_value(lists.shape[2])
        if num_frames is None:
            self.places = None
            self.rows = tf.reshape(lists, [-1, width])
        else:
            self.places = tf.where(tf.sequence_mask(num_frames, tf.shape(lists)[1]))
            self.rows = tf.gather_nd(lists, self.places)

    def replaced(self, rows):
        """The lists [B, F, D] with other rows [T, D], and zeros for padding."""
        if self.places is None:
            lists = tf.reshape(rows, tf.shape(self.lists))
        else:
            lists = tf.scatter_nd(self.places, rows, tf.shape(self.lists, out_type=tf.int64))
        lists.set_shape(self.lists.shape)
        return lists


def _pooled(lists, num_frames, settings, is_training):
    """The features pooled, side by side [B, P], and the deviation of the initial weights of their projection."""
    if settings.pooling == "mean":
        total = tf.reduce_sum(lists, axis=1)
        count = tf.shape(lists)[1] if num_frames is None else num_frames[:, tf.newaxis]
        return total / tf.cast(count, tf.float32), 1 / math.sqrt(sum(settings.feature_sizes))
    method, suffix, divisor = POOLINGS[settings.pooling]
    pooled = []
    parts = tf.split(lists, list(settings.feature_sizes), axis=2)
    for number, (part, name, size) in enumerate(zip(parts, settings.feature_names, settings.feature_sizes)):
        clusters = settings.clusters if number == 0 else settings.clusters // divisor
        if clusters == 0:
            raise UserError(f"--clusters: expected at least {divisor}, for feature {name}, came {settings.clusters}")
        max_samples = tf.dimension_value(lists.shape[1]) or tf.shape(lists)[1]
        layer = method(size, max_samples, clusters, output_dim=None, gating=False, is_training=is_training)
        with tf.variable_scope({"rgb": "video"}.get(name, name) + "_" + suffix):
            pooled.append(layer.forward(part, num_frames))
    return tf.concat(pooled, axis=1), 1 / math.sqrt(settings.clusters)


def _gated(x, is_training, renamed):
    """Context Gating of x [B, M], its variables renamed as the published checkpoints have them."""
    layer = loupe.PoolingBaseModel(1, 1, 1, output_dim=None, is_training=is_training)
    with _renamed_variables(renamed):
        return layer.context_gating(x)


@contextlib.contextmanager
def _renamed_variables(renamed):
    def custom(getter, name, *args, **kwargs):
        return getter("/".join(renamed.get(part, part) for part in name.split("/")), *args, **kwargs)

    with tf.variable_scope(tf.get_variable_scope(), custom_getter=custom):
        yield


def _mixture_of_experts(x, settings):
    """For each class, the mean of its experts' opinions of x [B, H], weighted by gates; [B, V], and the L2 penalty.

    The gates are shared with a dummy expert, whose opinion is 0.
    """
    num_classes, mixtures = settings.num_classes, settings.mixtures
    width = tf.dimension_value(x.shape[1])
    glorot = tf.glorot_uniform_initializer()
    with tf.variable_scope("gates"):
        gate_weights = tf.get_variable("weights", [width, num_classes * (mixtures + 1)], initializer=glorot)
    with tf.variable_scope("experts"):
        expert_weights = tf.get_variable("weights", [width, num_classes * mixtures], initializer=glorot)
        expert_biases = tf.get_variable("biases", [num_classes * mixtures], initializer=tf.zeros_initializer())
    gates = tf.nn.softmax(tf.reshape(tf.matmul(x, gate_weights), [-1, num_classes, mixtures + 1]))
    experts = tf.sigmoid(tf.nn.bias_add(tf.matmul(x, expert_weights), expert_biases))
    experts = tf.reshape(experts, [-1, num_classes, mixtures])
    probabilities = tf.reduce_sum(gates[:, :, :mixtures] * experts, axis=2)
    return probabilities, settings.moe_l2 * (tf.nn.l2_loss(gate_weights) + tf.nn.l2_loss(expert_weights))


def _cross_entropy(probabilities, labels):
    entropies = labels * tf.log(probabilities + 1e-5) + (1 - labels) * tf.log(1 - probabilities + 1e-5)
    return -tf.reduce_mean(tf.reduce_sum(entropies, axis=1))


def _variable(name, shape, stddev):
    # Read at once, because hidden1_weights may be partitioned over parameter servers.
    return tf.convert_to_tensor(tf.get_variable(name, shape, initializer=tf.random_normal_initializer(0, stddev)))
