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

In the formulas and the comments B is the number of lists, N = max_samples, D = feature_size, K = cluster_size,
O = output_dim; a comment ``# [B, N, K]`` tells the shape of what stands before it.
"""

import collections
import copy
import math
import numbers
import operator
import types

import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim as slim

__version__ = "1.0.0"
__all__ = ["PoolingBaseModel", "NetVLAD", "NetRVLAD", "SoftDBoW", "NetFV"]


class PoolingBaseModel:
    """What the pooling methods share: soft assignment, moments, normalisation, projection and Context Gating.

    A method of your own is a subclass whose ``forward`` is its formula, written with the steps of this class.

    Args:
      feature_size: D, the width of a sample, a positive integer.
      max_samples: N, the number of samples in each list: a positive integer or a scalar integer tensor, such as
        ``tf.shape(x)[1] * tf.shape(x)[2]`` for a convolutional map.
      cluster_size: K, the number of clusters, a positive integer.
      output_dim: O, the width of the output, a positive integer; or None for the bare descriptor, without projection.
      gating: whether Context Gating follows the projection, or, without one, the bare descriptor. Default True.
      add_batch_norm: whether the activations of clusters and gates are batch-normalised; otherwise they have biases.
        Default True.
      is_training: whether batch norm uses the statistics of the batch, and adds the updates of its moving averages to
        ``tf.GraphKeys.UPDATE_OPS``: a bool, or a scalar bool tensor such as a placeholder. Default True. When False, it
        uses the moving averages.

    Each argument is an attribute of the same name. A layer can be copied and, unless it holds tensors, pickled.

    Raises:
      TypeError: if a size is not an integer (bools and floats are not) or a flag not a bool (0 and 1 will do).
      ValueError: if a size is not positive.
    """

    def __init__(
        self, feature_size, max_samples, cluster_size, output_dim, gating=True, add_batch_norm=True, is_training=True
    ):
        self.feature_size = _size("feature_size", feature_size)
        self.max_samples = _size("max_samples", max_samples, or_tensor=True)
        self.cluster_size = _size("cluster_size", cluster_size)
        self.output_dim = None if output_dim is None else _size("output_dim", output_dim)
        self.gating = _flag("gating", gating)
        self.add_batch_norm = _flag("add_batch_norm", add_batch_norm)
        self.is_training = _flag("is_training", is_training, or_tensor=True)

    def __deepcopy__(self, memo):
        clone = copy.copy(self)
        memo[id(self)] = clone
        for name, value in vars(self).items():
            # A tensor belongs to its graph, and the copy goes on using it.
            setattr(clone, name, value if tf.is_tensor(value) else copy.deepcopy(value, memo))
        return clone

    def forward(self, reshaped_input, num_samples=None):
        """Builds the graph that pools each list of samples into one vector.

        Args:
          reshaped_input: the samples, a float32 tensor or array: rows ``[B * N, D]``, one list after the other; lists
            ``[B, N, D]``; or maps ``[B, H, W, D]`` (any number of dimensions between) with ``H * W == N``.
          num_samples: how many leading samples of each list are real, an integer tensor or array ``[B]`` of values
            from 0 to N. The rest is padding: whatever it holds, it changes neither outputs nor batch statistics, and
            its gradient is zero. An empty list's descriptor is zero. Default None: all samples are real.

        Returns:
          A float32 tensor ``[B, O]``; or ``[B, P]``, the descriptor of the method, if ``output_dim`` is None. It is
          gated if the constructor asked for it.

        Raises:
          NotImplementedError: on the base class.
          RuntimeError: in eager mode.
          TypeError: if `reshaped_input` is not a dense float32 tensor or `num_samples` not one of integers.
          ValueError: if the shapes do not fit the sizes given to the constructor, or a length is out of range.
          tf.errors.InvalidArgumentError: in the run, for shapes and lengths that are known only there.
        """
        raise NotImplementedError(
            "forward: expected a pooling method (NetVLAD, NetRVLAD, SoftDBoW, NetFV or a subclass of your own that "
            f"defines it), came {type(self).__name__}"
        )

    def context_gating(self, input_layer):
        """Context Gating [1, section 3.2]: ``y * sigmoid(norm(y G))``, with norm a batch norm or biases.

        Args:
          input_layer: y, a float32 tensor ``[B, M]`` of any width M.

        Returns:
          A float32 tensor ``[B, M]``.

        Raises:
          RuntimeError: in eager mode.
          TypeError: if `input_layer` is not float32.
          ValueError: if `input_layer` has another rank than 2 or its width M is unknown.
        """
        _require_graph("context_gating")
        input_layer = _float32("input_layer", input_layer)
        if input_layer.shape.ndims != 2 or tf.dimension_value(input_layer.shape[1]) is None:
            raise ValueError(f"input_layer: expected shape [B, M] with a known M, came {input_layer.shape}")
        width = tf.dimension_value(input_layer.shape[1])
        stddev = 1 / math.sqrt(width)
        activation = _projected(input_layer, _variable("gating_weights", [width, width], stddev))  # [B, M]
        return input_layer * tf.sigmoid(self._norm(activation, "gating", stddev))

    # The steps that the methods share, in the order in which their formulas take them.

    def _samples(self, reshaped_input, num_samples):
        """The input, checked, as `_Samples`."""
        _require_graph("forward")
        lists = self._lists(_float32("reshaped_input", reshaped_input))
        if num_samples is None:
            return _Samples(lists, tf.reshape(lists, [-1, self.feature_size]), places=None)
        places = tf.where_v2(self._is_real(lists, num_samples))
        rows = tf.gather_nd(lists, places)
        # Scattered back rather than multiplied by the mask, because 0 * NaN is NaN.
        return _Samples(self._scattered(rows, places, lists, self.feature_size), rows, places)

    def _scattered(self, rows, places, like, width):
        """The rows [T, width] at their places in as many lists as `like` has, with zeros elsewhere. [B, N, width]"""
        shape = tf.stack([tf.shape(like)[0], tf.cast(self.max_samples, tf.int32), width])
        scattered = tf.scatter_nd(places, rows, tf.cast(shape, tf.int64))
        return tf.reshape(scattered, [-1, self.max_samples, width])  # TensorFlow 1.15 does not know the shape yet.

    def _cluster_weights(self, name, mean=0.0):
        """A variable [D, K] of N(mean, 1/sqrt(D))."""
        return _variable(name, [self.feature_size, self.cluster_size], 1 / math.sqrt(self.feature_size), mean)

    def _centers(self):
        """The centres c of the clusters, learnt apart from the weights of the assignment. [1, D, K]"""
        shape = [1, self.feature_size, self.cluster_size]
        return _variable("cluster_weights2", shape, 1 / math.sqrt(self.feature_size))

    def _soft_assignment(self, samples, weights):
        """a = softmax(norm(x W)) over clusters, zero for padding. [B, N, K]"""
        # Rows, because slim's batch norm of lists needs Keras, and the statistics are those of the real samples.
        activation = tf.matmul(samples.rows, weights)  # [T, K]
        is_padded = samples.places is not None
        if is_padded and self.is_training is not False:
            # The statistics of no samples at all are NaN, and so would be the moving averages for ever: take one zero.
            zero = tf.zeros([tf.maximum(1 - tf.shape(activation)[0], 0), self.cluster_size])
            activation = tf.concat([activation, zero], axis=0)
        assignment = tf.nn.softmax(self._norm(activation, "cluster", 1 / math.sqrt(self.feature_size)))
        if not is_padded:
            return tf.reshape(assignment, [-1, self.max_samples, self.cluster_size])
        assignment = assignment[: tf.shape(samples.rows)[0]]
        return self._scattered(assignment, samples.places, samples.lists, self.cluster_size)

    @staticmethod
    def _mass_and_shares(assignment):
        """The mass A = sum_n a of each cluster [B, 1, K], and the samples' shares a / A in it [B, N, K].

        A method that takes residuals to the centres takes A out of the bracket, ``sum_n a (x - c) = A (mean - c)`` with
        the mean weighted by the shares: this needs fewer passes over [B, D, K], and `_l2_normalized` sees to A.
        """
        mass = tf.reduce_sum(assignment, axis=1, keepdims=True)
        # A cluster below this floor adds nothing to the output. The gradient has the square, so a lower one overflows.
        return mass, assignment * (1 / tf.maximum(mass, 1e-18))

    def _weighted_sums(self, lists, weights):
        """sum_n w[n, k] x[n, d] for lists of samples x [B, N, D] and their weights w [B, N, K]. [B, D, K]"""
        # The product transposes its first operand, which takes longer for long lists than to transpose their sums.
        if not tf.is_tensor(self.max_samples) and self.max_samples >= _LONG_LIST:
            return tf.linalg.matrix_transpose(tf.matmul(weights, lists, transpose_a=True))
        return tf.matmul(lists, weights, transpose_a=True)

    def _plus(self, v, constants):
        """v [B, D, K] + constants [1, D, K]."""
        if self.is_training is False:
            return v + constants  # TensorFlow 1.15 cannot convert the other to TFLite.
        # Because the gradient of bias_add sums over the lists two to three times as fast.
        sums = tf.nn.bias_add(tf.reshape(v, [-1, constants.shape.num_elements()]), tf.reshape(constants, [-1]))
        return tf.reshape(sums, [-1] + constants.shape.as_list()[1:])

    @staticmethod
    def _l2_normalized(v, mass=1.0, each_cluster=False):
        """mass * v [B, D, K] l2-normalised over D for each cluster, if asked, and then as a whole. [B, D * K]

        By one scale for each cluster, from the clusters' sums of squares: v itself is passed over only twice.
        """
        # Not tf.square, whose gradient takes a pass more.
        squares = tf.reduce_sum(v * v, axis=1, keepdims=True)  # [B, 1, K]
        squares = tf.minimum(squares, tf.float32.max)  # Because inf * 0 in the gradient is NaN.
        scale = mass
        if each_cluster:
            scale *= _inverse_norm(squares * (scale * scale))
        scale *= _inverse_norm(tf.reduce_sum(squares * (scale * scale), axis=2, keepdims=True))
        return tf.reshape(v * scale, [-1, v.shape[1:].num_elements()])

    def _output(self, descriptor):
        """The descriptor [B, P], projected to [B, O] and gated, each if the constructor asked for it."""
        if self.output_dim is not None:
            shape = [tf.dimension_value(descriptor.shape[1]), self.output_dim]
            weights = _variable("hidden1_weights", shape, 1 / math.sqrt(self.cluster_size))
            descriptor = _projected(descriptor, weights)
        return self.context_gating(descriptor) if self.gating else descriptor

    def _norm(self, activation, name, stddev):
        """norm(activation) [R, C]: batch norm, or biases of N(0, stddev)."""
        if self.add_batch_norm:
            return slim.batch_norm(
                activation, center=True, scale=True, is_training=self.is_training, scope=name + "_bn"
            )
        return tf.nn.bias_add(activation, self._biases(name + "_biases", activation.shape[1], stddev))

    def _biases(self, name, width, stddev):
        return _variable(name, [width], stddev)

    # The checks of what is given to `forward`.

    def _lists(self, x):
        """x as [B, N, D], or an error that says what does not fit."""
        if x.shape.ndims is None or x.shape.ndims < 2:
            raise ValueError(
                f"reshaped_input: expected rows [B * N, D], lists [B, N, D] or maps [B, H, W, D], came shape {x.shape}"
            )
        if tf.dimension_value(x.shape[-1]) != self.feature_size:
            raise ValueError(
                f"reshaped_input: expected a last dimension of feature_size = {self.feature_size}, came shape {x.shape}"
            )
        if x.shape.ndims == 2:
            expected, counted, misfit = "a multiple of max_samples rows", slice(0, 1), operator.mod
        else:
            expected, counted, misfit = "lists of max_samples samples", slice(1, -1), operator.sub
        count, size = x.shape[counted].num_elements(), self.max_samples
        if count is None or tf.is_tensor(size):
            count, size = tf.reduce_prod(tf.shape(x)[counted]), tf.cast(size, tf.int32)
            message = ["reshaped_input: expected", expected, "=", size, ", came", count]
            fits = tf.logical_and(size > 0, tf.equal(misfit(count, tf.maximum(size, 1)), 0))
            x = _checked_in_run(x, fits, message)
        elif misfit(count, size) != 0:
            raise ValueError(f"reshaped_input: expected {expected} = {size}, came {count} in shape {x.shape}")
        return tf.reshape(x, [-1, self.max_samples, self.feature_size])

    def _is_real(self, lists, num_samples):
        """Which samples of the lists [B, N, D] are real, a bool tensor [B, N]."""
        num_samples = _tensor("num_samples", num_samples)
        if not num_samples.dtype.is_integer:
            raise TypeError(f"num_samples: expected integers, came {num_samples.dtype.name}")
        if not num_samples.shape.is_compatible_with(lists.shape[:1]):
            raise ValueError(f"num_samples: expected shape [B] = {lists.shape[:1]}, came {num_samples.shape}")
        num_samples, size = tf.cast(num_samples, tf.int64), self.max_samples
        lengths = tf.get_static_value(num_samples)
        if lengths is not None and not tf.is_tensor(size) and ((lengths < 0) | (lengths > size)).any():
            raise ValueError(f"num_samples: expected lengths from 0 to max_samples = {size}, came {lengths}")
        in_range = tf.logical_and(num_samples >= 0, num_samples <= tf.cast(size, tf.int64))
        shown = tf.saturate_cast(num_samples, tf.int32)
        message = ["num_samples: expected lengths from 0 to max_samples =", tf.cast(size, tf.int32), ", came", shown]
        num_samples = _checked_in_run(num_samples, tf.reduce_all(in_range), message)
        batch = tf.shape(lists)[0]
        is_one_each = tf.logical_and(tf.equal(tf.rank(num_samples), 1), tf.equal(tf.size(num_samples), batch))
        message = ["num_samples: expected a length for each list, shape [B] =", batch, ", came", tf.shape(num_samples)]
        num_samples = _checked_in_run(num_samples, is_one_each, message)
        num_samples.set_shape([None])
        return tf.sequence_mask(num_samples, tf.cast(size, tf.int64))


class _Samples(collections.namedtuple("_Samples", "lists rows places")):
    """What is pooled: lists [B, N, D] with zeros for padding, the T real samples alone as rows [T, D], and the rows'
    places in the lists [T, 2], None where every sample is real."""


class NetVLAD(PoolingBaseModel):
    """NetVLAD [2]: for each cluster, the sum of the samples' residuals to its centre.

    With the soft assignment ``a = softmax(norm(x W))`` and the centres c::

        v[d, k] = sum_n a[n, k] (x[n, d] - c[d, k])

    each ``v[:, k]`` is l2-normalised, then the whole of v, flattened to P = D * K with d the slow index.

    Arguments, input, output and errors are those of `PoolingBaseModel`.
    """

    def forward(self, reshaped_input, num_samples=None):
        samples = self._samples(reshaped_input, num_samples)
        assignment = self._soft_assignment(samples, self._cluster_weights("cluster_weights"))  # [B, N, K]
        mass, shares = self._mass_and_shares(assignment)
        means = self._weighted_sums(samples.lists, shares)  # [B, D, K]
        return self._output(self._l2_normalized(self._plus(means, -self._centers()), mass, each_cluster=True))


class NetRVLAD(PoolingBaseModel):
    """NetRVLAD [1, section 3.1]: NetVLAD without the centres, so that ``v[d, k] = sum_n a[n, k] x[n, d]``.

    Each ``v[:, k]`` is l2-normalised, then the whole of v, flattened to P = D * K with d the slow index. Without batch
    norm, the graph has a histogram summary of the cluster biases.

    Arguments, input, output and errors are those of `PoolingBaseModel`.
    """

    def forward(self, reshaped_input, num_samples=None):
        samples = self._samples(reshaped_input, num_samples)
        assignment = self._soft_assignment(samples, self._cluster_weights("cluster_weights"))  # [B, N, K]
        first = self._weighted_sums(samples.lists, assignment)  # [B, D, K]
        return self._output(self._l2_normalized(first, each_cluster=True))

    def _biases(self, name, width, stddev):
        biases = super()._biases(name, width, stddev)
        if name == "cluster_biases":
            tf.summary.histogram(name, biases)
        return biases


class SoftDBoW(PoolingBaseModel):
    """Soft-DBoW [1, section 3.1]: a bag of words with soft counts, ``A[k] = sum_n a[n, k]``, l2-normalised. P = K.

    Arguments, input, output and errors are those of `PoolingBaseModel`.
    """

    def forward(self, reshaped_input, num_samples=None):
        samples = self._samples(reshaped_input, num_samples)
        assignment = self._soft_assignment(samples, self._cluster_weights("cluster_weights"))  # [B, N, K]
        return self._output(tf.nn.l2_normalize(tf.reduce_sum(assignment, axis=1), axis=1, epsilon=1e-12))


class NetFV(PoolingBaseModel):
    """NetFV [1, section 3.1; 3]: a Fisher vector, the gradients to the means and the variances of a Gaussian mixture.

    With the soft assignment ``a = softmax(norm(x W))``, the centres c and the covariances s, the squares of
    covar_weights plus 1e-6::

        f1[d, k] = sum_n a[n, k] (x[n, d] - c[d, k]) / s[d, k]
        f2[d, k] = sum_n a[n, k] ((x[n, d] - c[d, k])^2 / s[d, k]^2 - 1)

    Each ``f1[:, k]`` is l2-normalised, then f1 and f2 are flattened, d the slow index, each is l2-normalised as a
    whole, and they are joined: P = 2 * D * K. That the clusters of f2, unlike those of f1, are not normalised one by
    one is as in the original: its checkpoints and published results depend on it.

    Arguments, input, output and errors are those of `PoolingBaseModel`.
    """

    def forward(self, reshaped_input, num_samples=None):
        samples = self._samples(reshaped_input, num_samples)
        weights = self._cluster_weights("cluster_weights")
        inverse = 1 / (tf.square(self._cluster_weights("covar_weights", mean=1.0)) + 1e-6)  # 1 / s, [D, K]
        mass, shares = self._mass_and_shares(self._soft_assignment(samples, weights))
        centers = self._centers()  # [1, D, K]
        scaled = centers * inverse
        means = self._weighted_sums(samples.lists, shares)  # [B, D, K]
        squares = self._weighted_sums(tf.square(samples.lists), shares)  # [B, D, K]
        first = self._plus(means, -centers) * inverse
        second = self._plus(squares * tf.square(inverse) + first * (-2 * scaled), -1 - scaled * scaled)
        first, second = self._l2_normalized(first, mass, each_cluster=True), self._l2_normalized(second, mass)
        return self._output(tf.concat([first, second], axis=1))


# The number of samples from which lists are long: shorter ones are summed faster without transposing the sums.
_LONG_LIST = 512

# From so many weights on, TensorFlow's own gradient is the slower one, unless the batch is of a few lists only.
_LARGE_PROJECTION = 2**18


def _projected(v, weights):
    """v [B, P] times the weights [P, O], with the gradient below where they are many. [B, O]"""
    graph = tf.get_default_graph()
    # Not in functions, because tf.saved_model.save cannot save one whose gradient is registered by a name.
    is_fast = weights.shape.num_elements() >= _LARGE_PROJECTION and not graph.building_function
    with graph.gradient_override_map({"MatMul": "LoupeProjection"} if is_fast else {}):
        return tf.matmul(v, weights)


def _projection_gradient(op, gradient):
    """The gradients of ``y = matmul(v, W)`` to v [B, P] and W [P, O], for the `gradient` [B, O] to y.

    TensorFlow's own gradient to v is ``matmul(gradient, W, transpose_b=True)``. With batches of tens it takes two to
    four times as long as the same product with W on the left, which is not transposed then. The name, which a meta
    graph carries, finds this function in each process that imports loupe; a tf.custom_gradient would be known only to
    the process that built the graph.
    """
    v, weights = op.inputs
    gradient = tf.convert_to_tensor(gradient)  # It is IndexedSlices where the output was gathered from.
    # In three dimensions, because TensorFlow makes a transposition in two an option of the product, which is slower.
    columns = tf.squeeze(tf.linalg.matrix_transpose(tf.expand_dims(gradient, 0)), 0)  # [O, B]
    return tf.transpose(tf.matmul(weights, columns)), tf.matmul(v, gradient, transpose_a=True)


try:
    tf.RegisterGradient("LoupeProjection")(_projection_gradient)
except KeyError:
    pass  # The module was reloaded, and the first registration serves on.


def _inverse_norm(squares):
    return tf.rsqrt(tf.maximum(squares, 1e-12))


def _variable(name, shape, stddev, mean=0.0):
    initializer = tf.random_normal_initializer(mean, stddev)
    # Read at once, because partitioned variables lack the shape and the operators of tensors.
    return tf.convert_to_tensor(tf.get_variable(name, shape, tf.float32, initializer))


def _size(name, value, or_tensor=False):
    """The value of the constructor's argument `name` as a positive int, or, where that will do, a tensor."""
    expected = "a positive integer" + (" or a scalar integer tensor" if or_tensor else "")
    if isinstance(value, tf.Dimension):
        value = value.value
    if or_tensor and tf.is_tensor(value):
        if not value.dtype.is_integer or value.shape.ndims not in (0, None):
            raise TypeError(f"{name}: expected {expected}, came {value}")
        constant = tf.get_static_value(value)
        if constant is None:
            return value
        value = int(constant)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected {expected}, came {value!r}")
    if value <= 0:
        raise ValueError(f"{name}: expected {expected}, came {value!r}")
    return int(value)


def _flag(name, value, or_tensor=False):
    """The value of the constructor's argument `name` as a bool, or, where that will do, a tensor."""
    if or_tensor and tf.is_tensor(value) and value.dtype.base_dtype == tf.bool and value.shape.ndims in (0, None):
        return value
    if not isinstance(value, (bool, np.bool_, numbers.Integral)) or value not in (0, 1):
        expected = "a bool" + (" or a scalar bool tensor" if or_tensor else "")
        raise TypeError(f"{name}: expected {expected}, came {value!r}")
    return bool(value)


def _require_graph(method):
    if tf.executing_eagerly():
        raise RuntimeError(
            f"{method}: expected a TensorFlow 1 graph, came eager mode. Call tf.compat.v1.disable_eager_execution() "
            "first, or build under `with tf.Graph().as_default():`, or through tf.compat.v1.wrap_function."
        )


def _tensor(name, value):
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a dense tensor or an array, came {value!r} ({error})") from error


def _float32(name, value):
    x = _tensor(name, value)
    if x.dtype.base_dtype != tf.float32:
        raise TypeError(
            f"{name}: expected float32, the type of the layer's variables, came {x.dtype.name}. Cast it by "
            "tf.cast(x, tf.float32)."
        )
    return x


def _checked_in_run(value, condition, message):
    """value, once condition, a bool tensor, is found to hold in the run; message is a list of texts and int32s."""
    # Texts have no place on a GPU, and TensorFlow would refuse them under tf.device("/gpu:0").
    with tf.device("/device:CPU:0"):
        assertion = tf.debugging.Assert(condition, message, summarize=1000)
    with tf.control_dependencies([assertion]):
        return tf.identity(value)


def _mend_tf_slim():
    """Gives tf-slim 1.1.0 back what newer TensorFlows have moved, so that slim.batch_norm works.

    Its module of helpers looks for two names in TensorFlow's modules. It gets copies of those modules that have them;
    TensorFlow's own stay as they are.
    """
    from tf_slim.layers import utils

    for module, name, value in [("ops", "Tensor", tf.Tensor), ("control_flow_ops", "cond", tf.cond)]:
        broken = getattr(utils, module)
        if not hasattr(broken, name):
            mended = types.ModuleType(broken.__name__, broken.__doc__)
            vars(mended).update(vars(broken), **{name: value})
            setattr(utils, module, mended)


_mend_tf_slim()
