"""The published pooling method that the 2017 toolbox lacks, and versions of the methods that scale the samples."""

import math

import loupe
import tensorflow.compat.v1 as tf
import tf_slim as slim


class GatedSoftDBoW(loupe.PoolingBaseModel):
    """Soft-DBoW whose counts are gated by each word's strongest occurrence. P = K

    With the soft assignment a, as in `loupe.SoftDBoW`::

        A[k] = sum_n a[n, k],  m = l2(max_n a[n, k]),  y = l2(A * sigmoid(norm(m R S)))

    where R (dim_red) is [K, D] and S (cluster_weights_2) [D, K], both of N(0, 1/sqrt(D)), and norm is a batch norm
    (cluster_bn_2), with or without `add_batch_norm`. Arguments, input, output and errors are those of
    `loupe.PoolingBaseModel`.
    """

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(reshaped_input, num_samples)
        a = self.soft_assignment(samples)  # [B, N, K]
        A = tf.reduce_sum(a, axis=1)  # [B, K]
        strongest = tf.nn.l2_normalize(tf.reduce_max(a, axis=1), axis=1, epsilon=1e-12)  # [B, K]
        initializer = tf.random_normal_initializer(stddev=1 / math.sqrt(self.feature_size))
        reduction = tf.get_variable("dim_red", [self.cluster_size, self.feature_size], initializer=initializer)
        activation = loupe.project(loupe.project(strongest, reduction), self.cluster_weights("cluster_weights_2"))
        normed = slim.batch_norm(
            activation, center=True, scale=True, is_training=self.is_training, scope="cluster_bn_2"
        )
        return self.output(tf.nn.l2_normalize(A * tf.sigmoid(normed), axis=1, epsilon=1e-12))


class OfScaled(loupe.PoolingBaseModel):
    """A mixin to list before a method's class. It pools the samples scale * x + shift without computing them.

    The soft assignment uses ``(scale x + shift) W = [x, 1] [scale W; shift W]``, and the sums use
    ``sum_n a (scale x + shift) = scale sum_n a x + shift sum_n a``. The gradients of scale and shift then come from the
    weights and the sums. Computed through the samples [T, D], they would take more than a tenth of a step's time.

    Attributes:
      scale, shift: float32 [D], to be set before `forward`.
    """

    def soft_assignment(self, samples, weights=None, summary=False):
        weights = self.cluster_weights() if weights is None else weights
        rows = tf.concat([samples.rows, tf.ones_like(samples.rows[:, :1])], axis=1)  # [T, D + 1]
        shifted = loupe.project(tf.expand_dims(self.shift, 0), weights)  # [1, K]
        weights = tf.concat([tf.expand_dims(self.scale, 1) * weights, shifted], axis=0)  # [D + 1, K]
        return super().soft_assignment(samples.mapped(rows), weights, summary)

    def mass_and_means(self, a, samples, squares=False):
        mass, mean, *of_squares = super().mass_and_means(a, samples, squares)
        scale, shift = self._tiled(mean)
        scaled = scale * mean  # [B, D, K]
        of_squares = [tf.square(scale) * x + shift * (2 * scaled + shift) for x in of_squares]
        return (mass, scaled + shift, *of_squares)

    def weighted_sums(self, a, samples):
        sums = super().weighted_sums(a, samples)
        scale, shift = self._tiled(sums)
        return scale * sums + shift * tf.reduce_sum(a, axis=1, keepdims=True)

    def _tiled(self, sums):
        """Scale and shift as [B, D, 1] for sums [B, D, K]. Their gradients sum over the last axis, which is faster."""
        times = tf.stack([tf.shape(sums)[0], 1, 1])
        return [tf.tile(tf.reshape(value, [1, -1, 1]), times) for value in (self.scale, self.shift)]


# The methods that start from the soft assignment, and their subclasses for scaled samples.
OF_SCALED = {
    method: type(method.__name__ + "OfScaled", (OfScaled, method), {})
    for method in (loupe.NetVLAD, loupe.NetRVLAD, loupe.NetFV, loupe.SoftDBoW, GatedSoftDBoW)
}
