"""LOUPE: learnable pooling layers with Context Gating, for TensorFlow.

Each layer turns a list of feature vectors (the frames of a video, the local descriptors of an image, the points of a
cloud) into one vector, and trains with the network around it::

    import loupe as lp

    pooling = lp.NetVLAD(feature_size=1024, max_samples=100, cluster_size=64, output_dim=1024)
    video = pooling.forward(frames)  # [B * 100, 1024] or [B, 100, 1024] -> [B, 1024]

A layer builds a TensorFlow 1 graph: variables by ``tf.compat.v1.get_variable`` in the current variable scope, batch
norm by tf-slim. It runs on TensorFlow 1.15 and on TensorFlow 2 in graph mode, and has the variables, the arithmetic and
the numbers of the 2017 toolbox that won the YouTube-8M challenge.

References:
  [1] Miech, Laptev, Sivic: Learnable pooling with Context Gating for video classification. arXiv:1706.06905, 2017.
  [2] Arandjelovic, Gronat, Torii, Pajdla, Sivic: NetVLAD: CNN architecture for weakly supervised place recognition.
      CVPR 2016.
  [3] Perronnin, Dance: Fisher kernels on visual vocabularies for image categorization. CVPR 2007.

In formulas and comments B is the number of lists, N = max_samples, D = feature_size, K = cluster_size, O = output_dim,
P the width of a descriptor; ``# [B, N, K]`` is the shape of what stands before it.
"""

import collections
import copy
import math
import numbers
import types
from typing import Optional, Tuple, Union

import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim as slim

__version__ = "1.0.0"
__all__ = ["PoolingBaseModel", "NetVLAD", "NetRVLAD", "SoftDBoW", "NetFV", "Samples", "context_gating", "project"]

Array = Union[tf.Tensor, np.ndarray]
Flag = Union[bool, tf.Tensor]


class PoolingBaseModel:
    """What the pooling methods share: the steps from samples to soft assignment, projection and Context Gating.

    A method of your own is a subclass whose ``forward`` is its formula in these steps. The four methods take them by
    ``super()``: a subclass changes `context_gating` alone, a base class after the method any, and other names nothing.

    Args:
      feature_size: D, the width of a sample, a positive integer.
      max_samples: N, the number of samples in each list: a positive integer or a scalar integer tensor, such as
        ``tf.shape(x)[1] * tf.shape(x)[2]`` for a convolutional map.
      cluster_size: K, the number of clusters, a positive integer.
      output_dim: O, the width of the output, a positive integer; or None for the bare descriptor, without projection.
      gating: whether Context Gating follows the projection, or, without one, the bare descriptor. Default True.
      add_batch_norm: whether the activations of clusters and gates are batch-normalised, or have biases. Default True.
      is_training: whether batch norm uses the statistics of the batch, not the moving averages, whose updates it adds
        to ``tf.GraphKeys.UPDATE_OPS``: a bool, or a scalar bool tensor such as a placeholder. Default True.

    Each argument is an attribute of the same name. A layer can be copied and, unless it holds tensors, pickled.

    Raises:
      TypeError: if a size is not an integer (bools and floats are not) or a flag not a bool (0 and 1 will do).
      ValueError: if a size is not positive.
    """

    def __init__(
        self,
        feature_size: int,
        max_samples: Union[int, tf.Tensor],
        cluster_size: int,
        output_dim: Optional[int],
        gating: bool = True,
        add_batch_norm: bool = True,
        is_training: Flag = True,
    ) -> None:
        self.feature_size = _size("feature_size", feature_size)
        self.max_samples = _size("max_samples", max_samples, or_tensor=True)
        self.cluster_size = _size("cluster_size", cluster_size)
        self.output_dim = None if output_dim is None else _size("output_dim", output_dim)
        self.gating = _flag("gating", gating)
        self.add_batch_norm = _flag("add_batch_norm", add_batch_norm)
        self.is_training = _flag("is_training", is_training, or_tensor=True)

    def __deepcopy__(self, memo: dict) -> "PoolingBaseModel":
        # A tensor belongs to its graph, and the copy goes on using it.
        memo.update((id(value), value) for value in vars(self).values() if tf.is_tensor(value))
        memo[id(self)] = clone = copy.copy(self)
        vars(clone).update(copy.deepcopy(vars(self), memo))
        return clone

    def forward(self, reshaped_input: Array, num_samples: Optional[Array] = None) -> tf.Tensor:
        """Builds the graph that pools each list of samples into one vector.

        Args:
          reshaped_input: the samples, a float32 tensor or array: rows ``[B * N, D]``, one list after the other; lists
            ``[B, N, D]``; or maps ``[B, H, W, D]`` (any number of dimensions between) with ``H * W == N``.
          num_samples: how many leading samples of each list are real, an integer tensor or array ``[B]`` of values
            from 0 to N. The rest is padding: whatever it holds, it changes neither outputs nor batch statistics, and
            its gradient is zero. An empty list's descriptor is zero. Default None: all samples are real.

        Returns:
          A float32 tensor ``[B, O]``, or the method's descriptor ``[B, P]`` if ``output_dim`` is None; gated, if asked.

        Raises:
          NotImplementedError: on the base class.
          RuntimeError: in eager mode or a ``tf.function``, unless a custom getter or a store keeps the variables.
          TypeError: if `reshaped_input` is not a dense float32 tensor or `num_samples` not one of integers.
          ValueError: if shapes do not fit the sizes, a length is out of range, or the scope has such a layer already.
          tf.errors.InvalidArgumentError: in the run, for shapes and lengths that are known only there.
        """
        raise NotImplementedError(f"forward: expected a subclass that defines it, got {type(self).__name__}")

    def samples(self, reshaped_input: Array, num_samples: Optional[Array] = None) -> "Samples":
        """The arguments of `forward`, checked as it says, as `Samples`."""
        lists = _lists(_float32("reshaped_input", reshaped_input), self.max_samples, self.feature_size)
        if num_samples is None:
            return Samples(lists, tf.reshape(lists, [-1, self.feature_size]), None, None)
        num_samples = _lengths(num_samples, lists, self.max_samples)
        places = tf.where_v2(tf.sequence_mask(num_samples, tf.cast(self.max_samples, tf.int64)))
        samples = Samples(lists, tf.gather_nd(lists, places), num_samples, places)
        # Scattered back rather than multiplied by the mask, because 0 * NaN is NaN.
        return samples._replace(lists=samples.scattered(samples.rows))

    def cluster_weights(self, name: str = "cluster_weights", mean: float = 0.0) -> tf.Tensor:
        """A variable [D, K] of N(mean, 1/sqrt(D)); by default W, the weights of the soft assignment."""
        return _variable(name, [self.feature_size, self.cluster_size], 1 / math.sqrt(self.feature_size), mean)

    def soft_assignment(self, samples: "Samples", weights: Optional[Array] = None, summary: bool = False) -> tf.Tensor:
        """a = softmax(norm(x W)) over the clusters, zero for padding. [B, N, K]

        W is by default `cluster_weights()`. With `summary`, biases, where norm has them, get a histogram summary.
        """
        weights = PoolingBaseModel.cluster_weights(self) if weights is None else weights
        # Rows, because slim's batch norm of lists needs Keras, and the statistics are those of real samples.
        activation, stddev = tf.matmul(samples.rows, weights), 1 / math.sqrt(self.feature_size)  # [T, K]
        normed = _normed(activation, "cluster", stddev, self.add_batch_norm, self.is_training, summary)
        return samples.scattered(tf.nn.softmax(normed))

    def mass_and_means(self, a: tf.Tensor, samples: "Samples", squares: bool = False) -> Tuple[tf.Tensor, ...]:
        """The function `mass_and_means` of the samples and, if asked, of their squares."""
        x = [samples.lists, tf.square(samples.lists)] if squares else [samples.lists]
        return mass_and_means(a, *x, is_training=self.is_training)

    def weighted_sums(self, a: tf.Tensor, samples: "Samples") -> tf.Tensor:
        """The function `weighted_sums` of the samples. [B, D, K]"""
        return weighted_sums(a, samples.lists, self.is_training)

    def centers(self) -> tf.Tensor:
        """c, the centres of the clusters, learnt apart from the weights of the assignment. [1, D, K]"""
        shape = [1, self.feature_size, self.cluster_size]
        return _variable("cluster_weights2", shape, 1 / math.sqrt(self.feature_size))

    def projection(self, descriptor: tf.Tensor) -> tf.Tensor:
        """The descriptor [B, P] times hidden1_weights of N(0, 1/sqrt(K)); as it is if ``output_dim`` is None. [B, O]"""
        if self.output_dim is None:
            return descriptor
        shape = [tf.dimension_value(descriptor.shape[1]), self.output_dim]
        return project(descriptor, _variable("hidden1_weights", shape, 1 / math.sqrt(self.cluster_size)))

    def context_gating(self, input_layer: Array) -> tf.Tensor:
        """`loupe.context_gating`, with the layer's `add_batch_norm` and `is_training`."""
        return context_gating(input_layer, self.add_batch_norm, self.is_training)

    def output(self, descriptor: tf.Tensor) -> tf.Tensor:
        """What `forward` returns: the descriptor [B, P], projected and gated, each if the constructor asked for it."""
        projected = PoolingBaseModel.projection(self, descriptor)
        return self.context_gating(projected) if self.gating else projected


class NetVLAD(PoolingBaseModel):
    """NetVLAD [2]: for each cluster, the sum of the samples' residuals to its centre.

    With the soft assignment ``a = softmax(norm(x W))`` and the centres c::

        v[d, k] = sum_n a[n, k] (x[n, d] - c[d, k]) = A[k] (mean[d, k] - c[d, k])

    where A is the mass of the cluster, ``sum_n a``, and mean that of its samples, ``sum_n a x / A``. Each ``v[:, k]``
    is l2-normalised, then the whole of v, flattened to P = D * K with d the slow index.
    Arguments, input, output and errors are those of `PoolingBaseModel`.
    """

    def forward(self, reshaped_input: Array, num_samples: Optional[Array] = None) -> tf.Tensor:
        samples = super().samples(reshaped_input, num_samples)
        a = super().soft_assignment(samples)  # [B, N, K]
        c = super().centers()  # [1, D, K]
        A, mean = super().mass_and_means(a, samples)  # [B, 1, K], [B, D, K]
        residual = add_constants(mean, -c, self.is_training)  # v = A * residual
        return super().output(l2_normalized(residual, A, each_cluster=True))


class NetRVLAD(PoolingBaseModel):
    """NetRVLAD [1, section 3.1]: NetVLAD without the centres, so that ``v[d, k] = sum_n a[n, k] x[n, d]``.

    Each ``v[:, k]`` is l2-normalised, then the whole of v, flattened to P = D * K with d the slow index. Without batch
    norm, the graph has a histogram summary of the cluster biases, as in 2017.
    Arguments, input, output and errors are those of `PoolingBaseModel`.
    """

    def forward(self, reshaped_input: Array, num_samples: Optional[Array] = None) -> tf.Tensor:
        samples = super().samples(reshaped_input, num_samples)
        a = super().soft_assignment(samples, summary=True)  # [B, N, K]
        v = super().weighted_sums(a, samples)  # [B, D, K]
        return super().output(l2_normalized(v, each_cluster=True))


class SoftDBoW(PoolingBaseModel):
    """Soft-DBoW [1, section 3.1]: a bag of words with soft counts, ``A[k] = sum_n a[n, k]``, l2-normalised. P = K.

    Arguments, input, output and errors are those of `PoolingBaseModel`.
    """

    def forward(self, reshaped_input: Array, num_samples: Optional[Array] = None) -> tf.Tensor:
        samples = super().samples(reshaped_input, num_samples)
        a = super().soft_assignment(samples)  # [B, N, K]
        A = tf.reduce_sum(a, axis=1)  # [B, K]
        return super().output(tf.nn.l2_normalize(A, axis=1, epsilon=1e-12))


class NetFV(PoolingBaseModel):
    """NetFV [1, section 3.1; 3]: a Fisher vector, the gradients to the means and the variances of a Gaussian mixture.

    With the soft assignment a of `NetVLAD`, the centres c and the covariances ``s = covar_weights^2 + 1e-6``::

        f1[d, k] = sum_n a[n, k] (x[n, d] - c[d, k]) / s[d, k]
        f2[d, k] = sum_n a[n, k] ((x[n, d] - c[d, k])^2 / s[d, k]^2 - 1)

    Each ``f1[:, k]`` is l2-normalised, then f1 and f2 are flattened, d the slow index, each is l2-normalised as a
    whole, and they are joined: P = 2 * D * K. That the clusters of f2, unlike those of f1, are not normalised one by
    one is as in the original: its checkpoints and published results depend on it.

    In terms of the mass A = sum_n a, and of the means of x and of x^2 in each cluster, as in `NetVLAD`::

        f1 = A g1,  g1 = (mean - c) / s
        f2 = A g2,  g2 = (mean_of_squares - 2 c mean + c^2) / s^2 - 1 = mean_of_squares / s^2 - 2 c/s g1 - (c/s)^2 - 1

    Arguments, input, output and errors are those of `PoolingBaseModel`.
    """

    def forward(self, reshaped_input: Array, num_samples: Optional[Array] = None) -> tf.Tensor:
        samples = super().samples(reshaped_input, num_samples)
        weights = super().cluster_weights()
        s = tf.square(super().cluster_weights("covar_weights", mean=1.0)) + 1e-6  # [D, K]
        a = super().soft_assignment(samples, weights)  # [B, N, K]
        c = super().centers()  # [1, D, K]
        A, mean, mean_of_squares = super().mass_and_means(a, samples, squares=True)
        per_s = 1 / s  # Once for [D, K], because products of [B, D, K] are faster than quotients.
        c_per_s = c * per_s
        g1 = add_constants(mean, -c, self.is_training) * per_s
        g2 = mean_of_squares * tf.square(per_s) + g1 * (-2 * c_per_s)
        g2 = add_constants(g2, -1 - c_per_s * c_per_s, self.is_training)
        f1 = l2_normalized(g1, A, each_cluster=True)  # [B, D * K]
        f2 = l2_normalized(g2, A)  # [B, D * K]
        return super().output(tf.concat([f1, f2], axis=1))


def context_gating(input_layer: Array, add_batch_norm: bool = True, is_training: Flag = True) -> tf.Tensor:
    """Context Gating [1, section 3.2]: ``y * sigmoid(norm(y G))``, with norm a batch norm or biases. float32 [B, M]

    Args:
      input_layer: y, a float32 tensor or array ``[B, M]`` of any width M.
      add_batch_norm, is_training: as for `PoolingBaseModel`. Default True.

    Raises:
      RuntimeError: in eager mode or a ``tf.function``, unless a custom getter or a store keeps the variables.
      TypeError: if `input_layer` is not float32 or a flag not a bool.
      ValueError: if `input_layer` has another rank than 2 or its width M is unknown.
    """
    y = _float32("input_layer", input_layer)
    add_batch_norm, is_training = _flag("add_batch_norm", add_batch_norm), _flag("is_training", is_training, True)
    if y.shape.ndims != 2 or tf.dimension_value(y.shape[1]) is None:
        raise ValueError(f"input_layer: expected shape [B, M] with a known M, got {y.shape}")
    width = tf.dimension_value(y.shape[1])
    stddev = 1 / math.sqrt(width)
    activation = project(y, _variable("gating_weights", [width, width], stddev))  # [B, M]
    return y * tf.sigmoid(_normed(activation, "gating", stddev, add_batch_norm, is_training))


# The fast forms. Each opens with the plain form that it equals, in outputs and in gradients.

# Samples, from which on `weighted_sums` has its other form.
_LONG_LIST = 512
_LONG_LIST_OF_INFERENCE = 80
_LARGE_PROJECTION = 2**18  # weights, from which on `project` has its own gradient
_SAVES_CUSTOM_GRADIENTS = hasattr(getattr(tf.saved_model, "SaveOptions", None), "experimental_custom_gradients")


def mass_and_means(assignment: tf.Tensor, *samples: tf.Tensor, is_training: Flag = True) -> Tuple[tf.Tensor, ...]:
    """``A = sum_n a[n, k]`` [B, 1, K]; for each x [B, N, D], ``sum_n a[n, k] x[n, d] / A[k]`` [B, D, K].

    The mass divides the assignment [B, N, K] and not the sums [B, D, K], which are mostly larger. `is_training` is for
    `weighted_sums`.
    """
    mass = tf.reduce_sum(assignment, axis=1, keepdims=True)
    # A cluster below this floor adds nothing to the output. The gradient has the square, so a lower one overflows.
    shares = assignment * (1 / tf.maximum(mass, 1e-18))
    return (mass,) + tuple(weighted_sums(shares, x, is_training) for x in samples)


def weighted_sums(weights: tf.Tensor, x: tf.Tensor, is_training: Flag = True) -> tf.Tensor:
    """``sum_n w[n, k] x[n, d]``, that is ``matmul(x, w, transpose_a=True)``, for w [B, N, K] and x [B, N, D]. [B, D, K]

    This transposes x, which for long lists takes longer than to transpose their sums: in training, where gradients are
    transposed too, from 512 samples on; in inference from 80 on, by up to 10 % without oneDNN, at the price of 2 to 5 %
    with it. A tensor `is_training` counts as training.
    """
    shortest = _LONG_LIST_OF_INFERENCE if is_training is False else _LONG_LIST
    if (tf.dimension_value(x.shape[1]) or 0) >= shortest:
        return tf.linalg.matrix_transpose(tf.matmul(weights, x, transpose_a=True))
    return tf.matmul(x, weights, transpose_a=True)


def add_constants(v: tf.Tensor, constants: tf.Tensor, is_training: Flag = True) -> tf.Tensor:
    """``v + constants``, for v [B, D, K] and constants [1, D, K].

    As biases, whose gradient sums over the lists two to three times as fast as that of +.
    """
    if is_training is False:
        return v + constants  # TensorFlow 1.15 cannot convert the other to TFLite.
    sums = tf.nn.bias_add(tf.reshape(v, [-1, constants.shape.num_elements()]), tf.reshape(constants, [-1]))
    return tf.reshape(sums, [-1] + constants.shape.as_list()[1:])


def l2_normalized(v: tf.Tensor, mass: Union[float, tf.Tensor] = 1.0, each_cluster: bool = False) -> tf.Tensor:
    """``mass * v`` l2-normalised over d for each cluster, if asked, then flattened and l2-normalised. [B, D * K]

    By one scale for each cluster, from the clusters' sums of squares: v [B, D, K] is passed over twice, not six times.
    """
    # Not tf.square, whose gradient takes a pass more; and not infinite, because inf * 0 in the gradient is NaN.
    squares = tf.minimum(tf.reduce_sum(v * v, axis=1, keepdims=True), tf.float32.max)  # [B, 1, K]
    scale = mass
    if each_cluster:
        scale *= tf.rsqrt(tf.maximum(squares * (scale * scale), 1e-12))
    scale *= tf.rsqrt(tf.maximum(tf.reduce_sum(squares * (scale * scale), axis=2, keepdims=True), 1e-12))
    return tf.reshape(v * scale, [-1, v.shape[1:].num_elements()])


def project(v: Array, weights: Array) -> tf.Tensor:
    """``matmul(v, weights)`` for v [B, P] and weights [P, O], with a gradient that suits many weights. [B, O]

    TensorFlow's own gradient to v is ``matmul(gradient, W, transpose_b=True)``. With batches of tens it takes two to
    four times as long as the same product with W on the left, which is not transposed then. Weights of fewer than 2**18
    entries keep TensorFlow's. So do functions on TensorFlow 1, which cannot save another.
    """
    v, weights = tf.convert_to_tensor(v), tf.convert_to_tensor(weights)
    is_large = weights.dtype.is_floating and (weights.shape.num_elements() or 0) >= _LARGE_PROJECTION
    if is_large and _SAVES_CUSTOM_GRADIENTS and tf.executing_eagerly_outside_functions():
        return tf.custom_gradient(lambda v, w: (tf.matmul(v, w), lambda g: _projection_gradients(v, w, g)))(v, weights)
    graph = tf.get_default_graph()
    with graph.gradient_override_map({"MatMul": "LoupeProjection"} if is_large and not graph.building_function else {}):
        return tf.matmul(v, weights)


def _projection_gradients(v, weights, gradient):
    """The gradients of ``y = matmul(v, W)`` to v [B, P] and W [P, O], for the `gradient` [B, O] to y."""
    gradient = tf.convert_to_tensor(gradient)  # It is IndexedSlices where the output was gathered from.
    # In three dimensions, because TensorFlow makes a transposition in two an option of the product, which is slower.
    columns = tf.squeeze(tf.linalg.matrix_transpose(tf.expand_dims(gradient, 0)), 0)  # [O, B]
    return tf.transpose(tf.matmul(weights, columns)), tf.matmul(v, gradient, transpose_a=True)


# Graphs have it by a name, which a meta graph carries and every process that imports loupe knows; functions have a
# tf.custom_gradient, which tf.saved_model.save writes out. Neither way can save the other's.
try:
    tf.RegisterGradient("LoupeProjection")(lambda op, gradient: _projection_gradients(*op.inputs, gradient))
except KeyError:
    pass  # The module was reloaded, and the first registration serves on.


class Samples(collections.namedtuple("Samples", "lists rows num_samples places")):
    """What is pooled, from `PoolingBaseModel.samples`.

    Attributes:
      lists: the samples x [B, N, D], with zeros for padding.
      rows: the T real samples alone, one list after the other. [T, D]
      num_samples: how many samples of each list are real, int64 [B]; None if all are.
      places: the rows' places in the lists, int64 [T, 2]; None if every sample is real.
    """

    @property
    def lengths(self) -> tf.Tensor:
        """How many real samples each list has, to divide sums by. float32 [B, 1]"""
        if self.num_samples is not None:
            return tf.expand_dims(tf.cast(self.num_samples, tf.float32), 1)
        batch, size = tf.unstack(tf.shape(self.lists)[:2])
        return tf.fill(tf.stack([batch, 1]), tf.cast(size, tf.float32))

    def scattered(self, rows: tf.Tensor) -> tf.Tensor:
        """Rows [T, W], such as activations, at their samples' places in lists, with zeros for padding. [B, N, W]"""
        width, size = tf.dimension_value(rows.shape[1]), tf.dimension_value(self.lists.shape[1])
        size = size or tf.shape(self.lists)[1]
        if self.places is not None:
            shape = tf.stack([tf.shape(self.lists)[0], size, width])
            rows = tf.scatter_nd(self.places, rows, tf.cast(shape, tf.int64))
        return tf.reshape(rows, [-1, size, width])


def _normed(x, name, stddev, add_batch_norm, is_training, summary=False):
    """norm(x) [R, C]: batch norm, or biases of N(0, stddev)."""
    if not add_batch_norm:
        biases = _variable(name + "_biases", [tf.dimension_value(x.shape[1])], stddev)
        if summary:
            tf.summary.histogram(name + "_biases", biases)
        return tf.nn.bias_add(x, biases)
    padded = x
    if is_training is not False and not tf.dimension_value(x.shape[0]):
        # The statistics of no rows at all are NaN, and so would be the moving averages for ever: take one zero.
        zero = tf.zeros([tf.maximum(1 - tf.shape(x)[0], 0), tf.dimension_value(x.shape[1])])
        padded = tf.concat([x, zero], axis=0)
    normed = slim.batch_norm(padded, center=True, scale=True, is_training=is_training, scope=name + "_bn")
    return normed if padded is x else normed[: tf.shape(x)[0]]


def _variable(name, shape, stddev, mean=0.0):
    arguments = {"shape": shape, "dtype": tf.float32, "initializer": tf.random_normal_initializer(mean, stddev)}
    try:
        variable = tf.get_variable(name, **arguments)
        # A graph keeps it. Eager code and a tf.function, by the type, lose it, if no store or getter gives it again.
        is_kept = not tf.executing_eagerly() and type(variable).__name__ != "UnliftedInitializerVariable"
        is_kept = is_kept or tf.get_variable(name, **arguments) is variable
    except (AttributeError, ValueError) as error:
        if "already exists" in str(error):
            name = str(error).split(" already exists")[0].split()[-1]
            raise ValueError(
                f"{name}: expected a variable scope without this variable, got one where it already exists. Build each "
                "layer under a tf.variable_scope of its own, or, to share the variables, under reuse=tf.AUTO_REUSE."
            ) from error
        # In a tf.function that is traced again, tf.get_variable fails to say where the variable is from.
        if "Tensor.op" not in str(error):
            raise
        is_kept = False
    if not is_kept:
        raise RuntimeError(
            "the layer: expected a TensorFlow 1 graph, got eager mode or a tf.function, where nothing keeps variables. "
            "Take PoolingLayer (Keras) or PoolingModule (tf.Module) of examples/tf2.py; or, for a session, call "
            "tf.compat.v1.disable_eager_execution() first, or build under `with tf.Graph().as_default():`."
        )
    # Read at once, because partitioned variables lack the shape and the operators of tensors.
    return tf.convert_to_tensor(variable)


def _size(name, value, or_tensor=False):
    """The value of the constructor's argument `name` as a positive int, or, where that will do, a tensor."""
    expected = "a positive integer" + (" or a scalar integer tensor" if or_tensor else "")
    value = value.value if isinstance(value, tf.Dimension) else value
    if or_tensor and tf.is_tensor(value) and value.dtype.is_integer and value.shape.ndims in (0, None):
        if tf.get_static_value(value) is None:
            return value
        value = int(tf.get_static_value(value))
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected {expected}, got {value!r}")
    if value <= 0:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return int(value)


def _flag(name, value, or_tensor=False):
    """The value of the argument `name` as a bool, or, where that will do, a tensor."""
    if or_tensor and tf.is_tensor(value) and value.dtype.base_dtype == tf.bool and value.shape.ndims in (0, None):
        return value
    if not isinstance(value, (bool, np.bool_, numbers.Integral)) or value not in (0, 1):
        expected = "a bool" + (" or a scalar bool tensor" if or_tensor else "")
        raise TypeError(f"{name}: expected {expected}, got {value!r}")
    return bool(value)


def _tensor(name, value):
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a dense tensor or an array, got {value!r} ({error})") from error


def _float32(name, value):
    x = _tensor(name, value)
    dtype = x.dtype.base_dtype
    if dtype != tf.float32:
        hint = " Cast it by tf.cast(x, tf.float32)." if dtype.is_integer or dtype.is_floating or dtype.is_bool else ""
        raise TypeError(f"{name}: expected float32, the type of the layer's variables, got {dtype.name}.{hint}")
    return x


def _lists(x, max_samples, feature_size):
    """x as [B, N, D], or an error that says what does not fit."""
    rank = x.shape.ndims
    if rank is None or rank < 2 or tf.dimension_value(x.shape[-1]) != feature_size:
        forms = f"rows [B * N, D], lists [B, N, D] or maps [B, H, W, D] with D = feature_size = {feature_size}"
        raise ValueError(f"reshaped_input: expected {forms}, got shape {x.shape}")
    counted = slice(0, 1) if rank == 2 else slice(1, -1)
    expected = "a number of rows that is a multiple of" if rank == 2 else "as many samples in each list as"
    count = x.shape[counted].num_elements()
    if count is None or tf.is_tensor(max_samples):
        count, size = tf.reduce_prod(tf.shape(x)[counted]), tf.cast(max_samples, tf.int32)
        fits = tf.equal(count % tf.maximum(size, 1), 0) if rank == 2 else tf.equal(count, size)
        message = ["reshaped_input: expected", expected, "max_samples =", size, ", got", count]
        x = _checked_in_run(x, tf.logical_and(size > 0, fits), message)
    elif count % max_samples != 0 if rank == 2 else count != max_samples:
        message = f"reshaped_input: expected {expected} max_samples = {max_samples}, got {count} in shape {x.shape}"
        raise ValueError(message)
    return tf.reshape(x, [-1, max_samples, feature_size])


def _lengths(num_samples, lists, size):
    """num_samples as int64 [B], checked against the lists [B, N, D], or an error that says what does not fit."""
    num_samples = _tensor("num_samples", num_samples)
    if not num_samples.dtype.is_integer:
        hint = ". CVM-Net's do_dim_reduction is in examples/forks/cvmnet.py" if num_samples.shape.ndims == 0 else ""
        raise TypeError(f"num_samples: expected integers, got {num_samples.dtype.name}{hint}")
    if not num_samples.shape.is_compatible_with(lists.shape[:1]):
        raise ValueError(f"num_samples: expected shape [B] = {lists.shape[:1]}, got {num_samples.shape}")
    num_samples = tf.cast(num_samples, tf.int64)
    lengths = tf.get_static_value(num_samples)
    if lengths is not None and not tf.is_tensor(size) and ((lengths < 0) | (lengths > size)).any():
        raise ValueError(f"num_samples: expected lengths from 0 to max_samples = {size}, got {lengths}")
    in_range = tf.reduce_all(tf.logical_and(num_samples >= 0, num_samples <= tf.cast(size, tf.int64)))
    batch, shown = tf.shape(lists)[0], tf.saturate_cast(num_samples, tf.int32)
    is_one_each = tf.logical_and(tf.equal(tf.rank(num_samples), 1), tf.equal(tf.size(num_samples), batch))
    message = ["num_samples: expected lengths from 0 to max_samples =", tf.cast(size, tf.int32), "in shape [B]", batch]
    message += [", got", shown, "in shape", tf.shape(num_samples)]
    num_samples = _checked_in_run(num_samples, tf.logical_and(in_range, is_one_each), message)
    num_samples.set_shape([None])
    return num_samples


def _checked_in_run(value, condition, message):
    """value, once condition, a bool tensor, is found to hold in the run; message is a list of texts and int32s."""
    # Texts have no place on a GPU, and TensorFlow would refuse them under tf.device("/gpu:0").
    with tf.device("/device:CPU:0"):
        assertion = tf.debugging.Assert(condition, message, summarize=1000)
    with tf.control_dependencies([assertion]):
        return tf.identity(value)


def _mend_tf_slim():
    """Mends slim.batch_norm of tf-slim 1.1.0, which on newer TensorFlows misses two names of theirs, and in many forms
    their Keras layers: it gets modules of its own to look names up in, and TensorFlow's stay as they are."""
    from tf_slim.layers import layers, utils

    # slim asks by `is` for this text and goes to Keras; given an equal one, by a way of its own to the same numbers.
    keys = type("GraphKeys", (tf.GraphKeys,), {"UPDATE_OPS": "".join(tf.GraphKeys.UPDATE_OPS)})
    for module, names in [("ops", {"Tensor": tf.Tensor, "GraphKeys": keys}), ("control_flow_ops", {"cond": tf.cond})]:
        broken = getattr(utils, module)
        if not all(hasattr(broken, name) for name in names):
            vars(utils)[module] = vars(layers)[module] = types.SimpleNamespace(**dict(vars(broken), **names))


_mend_tf_slim()
