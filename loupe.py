"""LOUPE: learnable pooling layers with Context Gating, for TensorFlow.

Each layer turns a list of feature vectors (frames of a video, local descriptors of an image, points of a point cloud)
into one vector, and is trained together with the network around it::

    pooling = loupe.NetVLAD(feature_size=1024, max_samples=100, cluster_size=64, output_dim=1024)
    video = pooling.forward(frames)  # [B * 100, 1024] or [B, 100, 1024] -> [B, 1024]

The layers build TensorFlow 1 graphs, on TensorFlow 1.15 and in the graph mode of TensorFlow 2. They use variables from
``tf.compat.v1.get_variable`` and tf-slim's batch norm. Variables, arithmetic and results are those of the 2017 toolbox
that won the YouTube-8M challenge. B is the number of lists, N = max_samples, D = feature_size, K = cluster_size,
O = output_dim, and P the width of the descriptor; ``# [B, N, K]`` is the shape of the value on that line.

References:
  [1] Miech, Laptev, Sivic: Learnable pooling with Context Gating for video classification. arXiv:1706.06905, 2017.
  [2] Arandjelovic et al.: NetVLAD: CNN architecture for weakly supervised place recognition. CVPR 2016.
  [3] Perronnin, Dance: Fisher kernels on visual vocabularies for image categorization. CVPR 2007.
"""

import collections
import contextlib
import math
import numbers
import types

import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim as slim

__version__ = "1.0.0"
__all__ = ["PoolingBaseModel", "NetVLAD", "NetRVLAD", "SoftDBoW", "NetFV", "context_gating", "Samples"]
__all__ += ["l2_normalized", "project", "rows_times", "get_variable", "batch_norm_or_biases", "check_size"]


class PoolingBaseModel:
    """The base class of the pooling methods: the steps from samples to soft assignment, projection and Context Gating.

    All methods share its arguments, input, output and errors. A method of your own is a subclass whose ``forward`` is
    the formula, written with these steps. To change a step of several methods, override it in a class that comes before
    the method in the list of bases.

    Args:
      feature_size: D, the width of a sample, a positive integer.
      max_samples: N, the number of samples in each list: a positive integer or a scalar integer tensor, such as
        ``tf.shape(x)[1] * tf.shape(x)[2]`` for a convolutional map.
      cluster_size: K, the number of clusters, a positive integer.
      output_dim: O, the width of the output, a positive integer. None returns the descriptor without projection.
      gating: whether to apply Context Gating to the projection or, without one, to the descriptor. Default True.
      add_batch_norm: whether clusters and gates have batch norm (True, the default) or biases.
      is_training: a bool or a scalar bool tensor. If True, the default, batch norm uses the statistics of the batch and
        adds the updates of its moving averages to ``tf.GraphKeys.UPDATE_OPS``. If False, it uses the moving averages.

    Each argument is stored in an attribute of the same name. A layer that holds no tensors can be copied and pickled.

    Raises:
      TypeError: if a size is not an integer (bools and floats are refused), or a flag is neither a bool nor 0 or 1.
      ValueError: if a size is not positive.
    """

    def __init__(
        self, feature_size, max_samples, cluster_size, output_dim, gating=True, add_batch_norm=True, is_training=True
    ):
        self.feature_size = check_size("feature_size", feature_size)
        self.max_samples = check_size("max_samples", max_samples, or_tensor=True)
        self.cluster_size = check_size("cluster_size", cluster_size)
        self.output_dim = None if output_dim is None else check_size("output_dim", output_dim)
        self.gating = _flag("gating", gating)
        self.add_batch_norm = _flag("add_batch_norm", add_batch_norm)
        self.is_training = _flag("is_training", is_training, or_tensor=True)

    def forward(self, reshaped_input, num_samples=None):
        """Builds the graph that pools each list. Returns float32 ``[B, O]``, or ``[B, P]`` if `output_dim` is None.

        Args:
          reshaped_input: the samples, float32: rows ``[B * N, D]``, one list after the other; lists ``[B, N, D]``; or
            maps ``[B, H, W, D]`` (or with more dimensions between B and D) where ``H * W == N``.
          num_samples: the length of each list, integers ``[B]`` from 0 to N. The samples beyond it are padding: their
            values may be anything. They change neither outputs nor batch statistics, and their gradient is zero. The
            descriptor of an empty list is zero. Default None: every list has N samples.

        Raises:
          NotImplementedError: on the base class.
          RuntimeError: in eager mode or a ``tf.function``, where nothing keeps the variables (see `get_variable`).
          TypeError: if `reshaped_input` is not a dense float32 tensor, or `num_samples` does not hold integers.
          ValueError: if a shape does not fit the sizes, a length is out of range, or the scope already has this layer.
          tf.errors.InvalidArgumentError: at run time, if a shape or a length that is unknown until then does not fit.
        """
        raise NotImplementedError(f"forward: expected a subclass that defines it, got {type(self).__name__}")

    def samples(self, reshaped_input, num_samples=None):
        """Checks the arguments of `forward` and returns them as `Samples`."""
        lists = _lists(_tensor("reshaped_input", reshaped_input, tf.float32), self.max_samples, self.feature_size)
        if num_samples is None:
            return Samples(lists, tf.reshape(lists, [-1, self.feature_size]), None, None)
        num_samples = _lengths(num_samples, lists, self.max_samples)
        indices = tf.where_v2(tf.sequence_mask(num_samples, tf.cast(self.max_samples, tf.int64)))
        samples = Samples(lists, tf.gather_nd(lists, indices), num_samples, indices)
        return samples.mapped(samples.rows)  # Makes the padding zero. A mask would keep NaN, because 0 * NaN is NaN.

    def cluster_weights(self, name="cluster_weights", mean=0.0):
        """Creates a variable [D, K] from N(mean, 1/sqrt(D)); by default W, the weights of the soft assignment."""
        return get_variable(name, [self.feature_size, self.cluster_size], 1 / math.sqrt(self.feature_size), mean)

    def soft_assignment(self, samples, weights=None, summary=False):
        """Returns a = softmax(norm(x W)) over the clusters, zero for padding. [B, N, K]

        The weights W [D, K] are by default `cluster_weights`; `summary` is as for `batch_norm_or_biases`.
        """
        weights = self.cluster_weights() if weights is None else weights
        activation = rows_times(samples.rows, weights)  # [T, K]
        stddev = 1 / math.sqrt(self.feature_size)
        activation = batch_norm_or_biases(activation, "cluster", stddev, self.add_batch_norm, self.is_training, summary)
        return samples.scattered(tf.nn.softmax(activation))

    def centers(self):
        """Creates c, the centres of the clusters, learnt apart from the weights of the assignment. [1, D, K]"""
        shape = [1, self.feature_size, self.cluster_size]
        return get_variable("cluster_weights2", shape, 1 / math.sqrt(self.feature_size))

    def weighted_sums(self, a, samples):
        """Returns ``sum_n a[n, k] x[n, d]``, for a [B, N, K]. [B, D, K]"""
        return tf.matmul(samples.lists, a, transpose_a=True)

    def mass_and_means(self, a, samples, squares=False):
        """Returns the mass ``A = sum_n a[n, k]`` [B, 1, K] and the means ``sum_n a[n, k] x[n, d] / A[k]`` [B, D, K].

        The assignment a [B, N, K] must not be negative. The mean of a cluster without samples is zero. With `squares`,
        the means of the squared samples [B, D, K] follow as a third value.
        """
        mass = tf.reduce_sum(a, axis=1, keepdims=True)  # [B, 1, K]
        # A mass below 1e-18 adds nothing to the output. With a lower limit, 1 / mass^2 overflows in the gradient.
        shares = a * (1 / tf.maximum(mass, 1e-18))  # [B, N, K]
        averaged = [samples.lists, tf.square(samples.lists)] if squares else [samples.lists]
        return (mass, *[tf.matmul(x, shares, transpose_a=True) for x in averaged])  # [B, D, K] each

    def projection(self, descriptor):
        """Returns the descriptor [B, P] times hidden1_weights [P, O] or, if ``output_dim`` is None, the descriptor."""
        if self.output_dim is None:
            return descriptor
        shape = [tf.dimension_value(descriptor.shape[1]), self.output_dim]
        return project(descriptor, get_variable("hidden1_weights", shape, 1 / math.sqrt(self.cluster_size)))

    def context_gating(self, input_layer):
        """Calls `loupe.context_gating` with the layer's `add_batch_norm` and `is_training`."""
        return context_gating(input_layer, self.add_batch_norm, self.is_training)

    def output(self, descriptor):
        """Returns the output: the descriptor [B, P], projected unless `output_dim` is None, and gated if `gating`."""
        projected = self.projection(descriptor)
        return self.context_gating(projected) if self.gating else projected


class NetVLAD(PoolingBaseModel):
    """NetVLAD [2]: for each cluster, the weighted sum of the samples' residuals to its centre.

    With the soft assignment ``a = softmax(norm(x W))`` and the centres c::

        v[d, k] = sum_n a[n, k] (x[n, d] - c[d, k]) = A[k] (mean[d, k] - c[d, k])

    where ``A = sum_n a`` is the mass of the cluster and ``mean = sum_n a x / A`` is the mean of its samples. Each
    ``v[:, k]`` is l2-normalised. Then v is flattened to P = D * K, with d the slow index, and l2-normalised as a whole.
    """

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(reshaped_input, num_samples)
        a = self.soft_assignment(samples)  # [B, N, K]
        c = self.centers()  # [1, D, K]
        A, mean = self.mass_and_means(a, samples)  # [B, 1, K], [B, D, K]
        residual = mean - c  # [B, D, K]
        v = l2_normalized(residual, times=A, each_cluster=True)  # A * residual, normalised [B, D * K]
        return self.output(v)


class NetRVLAD(PoolingBaseModel):
    """NetRVLAD [1, section 3.1]: NetVLAD without the centres, so that ``v[d, k] = sum_n a[n, k] x[n, d]``.

    v is normalised and flattened as in NetVLAD. Without batch norm, the graph has a histogram summary of the cluster
    biases, as in the toolbox of 2017.
    """

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(reshaped_input, num_samples)
        a = self.soft_assignment(samples, summary=True)  # [B, N, K]
        v = self.weighted_sums(a, samples)  # [B, D, K]
        v = l2_normalized(v, each_cluster=True)  # [B, D * K]
        return self.output(v)


class SoftDBoW(PoolingBaseModel):
    """Soft-DBoW [1, section 3.1]: a bag of words with soft counts ``A[k] = sum_n a[n, k]``, l2-normalised. P = K."""

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(reshaped_input, num_samples)
        a = self.soft_assignment(samples)  # [B, N, K]
        A = tf.reduce_sum(a, axis=1)  # [B, K]
        return self.output(tf.nn.l2_normalize(A, axis=1, epsilon=1e-12))


class NetFV(PoolingBaseModel):
    """NetFV [1, section 3.1; 3]: a Fisher vector, gradients for the means and deviations of a Gaussian mixture.

    With the soft assignment a, the mass A and the mean of `NetVLAD`, the centres c, the standard deviations
    ``s = covar_weights^2 + 1e-6`` (the original's covariances), and the mean of the squares of each cluster's samples::

        f1[d, k] = sum_n a[n, k] (x[n, d] - c[d, k]) / s[d, k] = A g1
        f2[d, k] = sum_n a[n, k] ((x[n, d] - c[d, k])^2 / s[d, k]^2 - 1) = A g2

        g1 = (mean - c) / s
        g2 = (mean_of_squares - 2 c mean + c^2) / s^2 - 1

    Each ``f1[:, k]`` is l2-normalised. Then f1 and f2 are flattened, with d the slow index, each is l2-normalised as a
    whole, and they are concatenated: P = 2 * D * K. As in the original, the clusters of f2 are not normalised one by
    one: checkpoints and published results depend on this.
    """

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(reshaped_input, num_samples)
        W = self.cluster_weights()  # [D, K]
        s = tf.square(self.cluster_weights("covar_weights", mean=1.0)) + 1e-6  # [D, K]
        a = self.soft_assignment(samples, W)  # [B, N, K]
        c = self.centers()  # [1, D, K]
        A, mean, mean_of_squares = self.mass_and_means(a, samples, squares=True)  # [B, 1, K], [B, D, K], [B, D, K]
        g1 = (mean - c) / s  # [B, D, K]
        g2 = (mean_of_squares - 2 * c * mean + tf.square(c)) / tf.square(s) - 1  # [B, D, K]
        f1 = l2_normalized(g1, times=A, each_cluster=True)  # A * g1, normalised [B, D * K]
        f2 = l2_normalized(g2, times=A)  # A * g2, normalised [B, D * K]
        return self.output(tf.concat([f1, f2], axis=1))


def context_gating(input_layer, add_batch_norm=True, is_training=True):
    """Context Gating [1, section 3.2]: ``y * sigmoid(norm(y G))``, where norm is a batch norm or adds biases.

    Args:
      input_layer: y, a float32 tensor or array ``[B, M]`` of any width M.
      add_batch_norm, is_training: as for `PoolingBaseModel`. Default True.

    Returns a float32 tensor ``[B, M]``. Raises the errors of `PoolingBaseModel` and its `forward`.
    """
    y = _tensor("input_layer", input_layer, tf.float32)
    add_batch_norm, is_training = _flag("add_batch_norm", add_batch_norm), _flag("is_training", is_training, True)
    if y.shape.ndims != 2 or tf.dimension_value(y.shape[1]) is None:
        raise ValueError(f"input_layer: expected shape [B, M] with a known M, got {y.shape}")
    width = tf.dimension_value(y.shape[1])
    stddev = 1 / math.sqrt(width)
    G = get_variable("gating_weights", [width, width], stddev)
    activation = batch_norm_or_biases(project(y, G), "gating", stddev, add_batch_norm, is_training)  # [B, M]
    return y * tf.sigmoid(activation)


class Samples(collections.namedtuple("Samples", "lists rows num_samples indices")):
    """The samples to pool, as `PoolingBaseModel.samples` returns them.

    Attributes:
      lists: the samples x, with zeros for padding. [B, N, D]
      rows: the T samples that are not padding, one list after the other. [T, D]
      num_samples: the length of each list, int64 [B]; None if every list has N samples.
      indices: for each row, the index of its list and its position there, int64 [T, 2]; None if all have N samples.
    """

    @property
    def lengths(self):
        """The length of each list, by which a sum becomes a mean. float32 [B, 1]"""
        batch, size = tf.unstack(tf.shape(self.lists)[:2])
        lengths = tf.fill([batch], size) if self.num_samples is None else self.num_samples
        return tf.expand_dims(tf.cast(lengths, tf.float32), 1)

    def scattered(self, rows):
        """Returns lists [B, N, W] of the values `rows` [T, W], one for each sample, with zeros for padding."""
        width = tf.dimension_value(rows.shape[1])
        size = tf.dimension_value(self.lists.shape[1]) or tf.shape(self.lists)[1]
        if self.indices is None:
            return tf.reshape(rows, [-1, size, width])
        shape = tf.cast(tf.stack([tf.shape(self.lists)[0], size, width]), tf.int64)
        return tf.reshape(tf.scatter_nd(self.indices, rows, shape), [-1, size, width])

    def mapped(self, rows):
        """Returns new samples: `rows` [T, W], each computed from the old row, and the `lists` made of these rows."""
        return self._replace(lists=self.scattered(rows), rows=rows)


# The fast forms. The docstring of each opens with the plain form, which gives the same outputs and gradients.
_LARGE_PROJECTION = 2**18
_IS_TENSORFLOW_1 = tf.__version__.startswith("1.")


def l2_normalized(v, times=None, each_cluster=False):
    """Returns ``times * v`` flattened and l2-normalised; `each_cluster` normalises each cluster first. [B, D * K]

    v is [B, D, K], and times is [B, 1, K], such as the mass of the clusters, or 1 by default. The sums of squares give
    each cluster one scale, so that v is read twice, not six times.
    """
    # The gradient of tf.square would read v once more. The squares are kept finite, because inf * 0 would be NaN.
    squares = tf.minimum(tf.reduce_sum(v * v, axis=1, keepdims=True), tf.float32.max)  # [B, 1, K]
    scale = 1.0 if times is None else times
    if each_cluster:
        scale *= tf.rsqrt(tf.maximum(squares * (scale * scale), 1e-12))
    scale *= tf.rsqrt(tf.maximum(tf.reduce_sum(squares * (scale * scale), axis=2, keepdims=True), 1e-12))
    return tf.reshape(v * scale, [-1, v.shape[1:].num_elements()])


def project(v, weights):
    """Returns ``matmul(v, weights)``, for v [B, P] and weights [P, O], with a faster gradient. [B, O]

    TensorFlow computes the gradient with respect to v as ``matmul(gradient, W, transpose_b=True)``. For usual batches,
    this takes two to four times as long as a product with W on the left, not transposed. TensorFlow's gradient remains
    for weights of fewer than 2**18 entries and in functions of TensorFlow 1. Raises a ValueError if a rank is not 2.
    """
    v, weights = _tensor("v", v), _tensor("weights", weights)
    if v.shape.ndims not in (2, None) or weights.shape.ndims != 2:
        raise ValueError(f"v, weights: expected shapes [B, P] and [P, O], got {v.shape} and {weights.shape}")
    is_large = v.shape.ndims == 2 and (weights.shape.num_elements() or 0) >= _LARGE_PROJECTION
    return _product(v, weights, "LoupeProjection") if is_large else tf.matmul(v, weights)


def rows_times(rows, weights):
    """Returns ``matmul(rows, weights)``, for many rows [T, D] and weights [D, K], with a faster gradient. [T, K]

    TensorFlow's gradient with respect to W, ``matmul(rows, gradient, transpose_a=True)``, takes twice as long without
    oneDNN. It remains in eager code and functions of TensorFlow 1, and for rows of another rank.
    """
    if rows.shape.ndims != 2 or tf.executing_eagerly():  # An eager tape would compute the gradient to the rows, too.
        return tf.matmul(rows, weights)
    return _product(rows, weights, "LoupeAssignment")


def _product(v, weights, name):
    if not weights.dtype.is_floating or (_IS_TENSORFLOW_1 and tf.get_default_graph().building_function):
        return tf.matmul(v, weights)
    if _IS_TENSORFLOW_1 or not tf.executing_eagerly_outside_functions():
        # A graph holds only the name of the gradient, which `import loupe` registers in any process.
        with tf.get_default_graph().gradient_override_map({"MatMul": name}):
            return tf.matmul(v, weights)

    @tf.custom_gradient  # for eager code and functions of TensorFlow 2; tf.saved_model.save stores the gradient
    def product(v, weights):
        return tf.matmul(v, weights), lambda gradient: _GRADIENTS[name](v, weights, gradient)

    return product(v, weights)


def _transposed(x):
    # TensorFlow would fuse a transposition of rank 2 into the product, which is slower. It does not fuse rank 3.
    return tf.squeeze(tf.linalg.matrix_transpose(tf.expand_dims(x, 0)), 0)


# Given the factors v and W and the gradient g of their product, each returns the gradients with respect to v and W.
_GRADIENTS = {
    "LoupeProjection": lambda v, W, g: (tf.transpose(tf.matmul(W, _transposed(g))), tf.matmul(v, g, transpose_a=True)),
    "LoupeAssignment": lambda v, W, g: (tf.matmul(g, W, transpose_b=True), tf.transpose(tf.matmul(_transposed(g), v))),
}
for _name, _gradients in _GRADIENTS.items():
    with contextlib.suppress(KeyError):  # When the module is reloaded, the first registration still works.
        tf.RegisterGradient(_name)(lambda op, g, gradients=_gradients: gradients(*op.inputs, g))


def get_variable(name, shape, stddev=1.0, mean=0.0, initializer=None):
    """Creates a float32 variable with ``tf.compat.v1.get_variable``, and returns its value as a tensor.

    The initial values are from `initializer`, by default from N(mean, stddev). A partitioner's parts are concatenated.

    Raises:
      RuntimeError: in eager mode or a ``tf.function``, unless a custom getter or a variable store keeps the variable.
      ValueError: if the scope already has a variable of this name and does not reuse it.
    """
    arguments = [name, shape, tf.float32, initializer or tf.random_normal_initializer(mean, stddev)]
    try:
        variable = tf.get_variable(*arguments)
        is_in_graph = not tf.executing_eagerly() and type(variable).__name__ != "UnliftedInitializerVariable"
        is_kept = is_in_graph or tf.get_variable(*arguments) is variable
    except (AttributeError, ValueError) as error:
        # When a tf.function is traced again, tf.get_variable fails on the variable of the first trace.
        if "Tensor.op" not in str(error):
            raise
        is_kept = False
    if not is_kept:
        raise RuntimeError(
            "the layer: expected a TensorFlow 1 graph, got eager mode or a tf.function, where nothing keeps variables. "
            "Use PoolingLayer (Keras) or PoolingModule (tf.Module) of examples/tf2.py; or, for a session, "
            "tf.compat.v1.disable_eager_execution() or `with tf.Graph().as_default():`."
        )
    return tf.convert_to_tensor(variable)


def batch_norm_or_biases(x, name, stddev, add_batch_norm, is_training, summary=False):
    """Returns x [R, C], batch-normalised by slim (with centre and scale) or with biases added. [R, C]

    The variables are ``<name>_bn/{beta, gamma, moving_mean, moving_variance}``, or ``<name>_biases`` from N(0, stddev),
    which get a histogram summary if `summary` is true. The rows of x must not include padding.
    """
    width = tf.dimension_value(x.shape[1])
    if not add_batch_norm:
        biases = get_variable(name + "_biases", [width], stddev)
        if summary:
            tf.summary.histogram(name + "_biases", biases)
        return tf.nn.bias_add(x, biases)
    rows = x
    if is_training is not False and not tf.dimension_value(x.shape[0]):
        # Without rows the statistics are NaN and would spoil the moving averages for good, so add one zero row.
        zero = tf.zeros([tf.maximum(1 - tf.shape(x)[0], 0), width])
        rows = tf.concat([x, zero], axis=0)
    normed = slim.batch_norm(rows, center=True, scale=True, is_training=is_training, scope=name + "_bn")
    return normed if rows is x else normed[: tf.shape(x)[0]]


def check_size(name, value, or_tensor=False):
    """Returns the argument `name` as a positive int or, if allowed, a tensor; raises a TypeError or a ValueError."""
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
    """Returns the argument `name` as a bool or, if allowed, a tensor."""
    if or_tensor and tf.is_tensor(value) and value.dtype.base_dtype == tf.bool and value.shape.ndims in (0, None):
        return value
    if not isinstance(value, (bool, np.bool_, numbers.Integral)) or value not in (0, 1):
        raise TypeError(f"{name}: expected a bool{' or a scalar bool tensor' if or_tensor else ''}, got {value!r}")
    return bool(value)


def _tensor(name, value, dtype=None):
    try:
        x = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a dense tensor or an array, got {value!r} ({error})") from error
    if dtype not in (None, x.dtype.base_dtype):
        raise TypeError(f"{name}: expected {dtype.name}, got {x.dtype.base_dtype.name}. Use tf.cast(x, {dtype!r}).")
    return x


def _lists(x, max_samples, feature_size):
    """Checks the shape of x, rows [B * N, D], lists [B, N, D] or maps [B, H, W, D], and returns lists [B, N, D]."""
    rank = x.shape.ndims
    if rank is None or rank < 2 or tf.dimension_value(x.shape[-1]) != feature_size:
        forms = f"rows [B * N, D], lists [B, N, D] or maps [B, H, W, D] with D = feature_size = {feature_size}"
        raise ValueError(f"reshaped_input: expected {forms}, got shape {x.shape}")
    counted = slice(0, 1) if rank == 2 else slice(1, -1)
    expected = "a number of rows that is a multiple of" if rank == 2 else "as many samples in each list as"
    message = f"reshaped_input: expected {expected} max_samples"
    count, size = x.shape[counted].num_elements(), max_samples
    if count is not None and not tf.is_tensor(size):
        if count % size != 0 or (rank > 2 and count != size):
            raise ValueError(f"{message} = {size}, got {count} in shape {x.shape}")
        return tf.reshape(x, [-1, size, feature_size])
    count, size = tf.reduce_prod(tf.shape(x)[counted]), tf.cast(size, tf.int32)
    fits = tf.equal(count % tf.maximum(size, 1), 0) if rank == 2 else tf.equal(count, size)
    x = _asserted(x, tf.logical_and(size > 0, fits), [message, "=", size, ", got", count])
    return tf.reshape(x, [-1, max_samples, feature_size])


def _lengths(num_samples, lists, size):
    """Checks num_samples against the lists [B, N, D] and N = size, and returns it as int64 [B]."""
    num_samples = _tensor("num_samples", num_samples)
    if not num_samples.dtype.is_integer:
        raise TypeError(f"num_samples: expected integers, got {num_samples.dtype.name}")
    if not num_samples.shape.is_compatible_with(lists.shape[:1]):
        raise ValueError(f"num_samples: expected shape [B] = {lists.shape[:1]}, got {num_samples.shape}")
    num_samples, message = tf.cast(num_samples, tf.int64), "num_samples: expected lengths from 0 to max_samples"
    lengths = tf.get_static_value(num_samples)
    if lengths is not None and not tf.is_tensor(size) and ((lengths < 0) | (lengths > size)).any():
        raise ValueError(f"{message} = {size}, got {lengths}")
    batch, size = tf.shape(lists)[:1], tf.cast(size, tf.int64)
    in_range = tf.reduce_all(tf.logical_and(num_samples >= 0, num_samples <= size))
    fits = tf.logical_and(in_range, tf.reduce_all(tf.equal(tf.shape(num_samples), batch)))
    data = [message, "=", size, "in shape [B] =", batch, ", got", num_samples]
    return tf.reshape(_asserted(num_samples, fits, data), [-1])


def _asserted(x, condition, data):
    """Returns x after a check at run time. Without the identity, TensorFlow 1.15 may first fail in a reshape of x."""
    with tf.device("/device:CPU:0"):  # A GPU cannot hold the strings of the message.
        check = tf.debugging.Assert(condition, data, summarize=1000)
    with tf.control_dependencies([check]):
        return tf.identity(x)


def _repair_tf_slim():
    """Repairs slim.batch_norm of tf-slim 1.1.0 on newer TensorFlows, which lack two names and the Keras it uses.

    tf-slim gets a stand-in for each of the two modules in which it looks for a name. TensorFlow itself is not changed.
    """
    from tf_slim.layers import layers, utils

    # slim uses Keras only if `updates_collections is GraphKeys.UPDATE_OPS`. A copy of the string makes that false.
    keys = type("GraphKeys", (tf.GraphKeys,), {"UPDATE_OPS": "".join(tf.GraphKeys.UPDATE_OPS)})
    for module, names in [("ops", {"Tensor": tf.Tensor, "GraphKeys": keys}), ("control_flow_ops", {"cond": tf.cond})]:
        broken = getattr(utils, module, None)
        if broken is not None and not all(hasattr(broken, name) for name in names):
            vars(utils)[module] = vars(layers)[module] = types.SimpleNamespace(**dict(vars(broken), **names))


_repair_tf_slim()
