"""Pooling methods that were published after 2017: `NeXtVLAD` and `GhostVLAD`. Import this file or copy it.

    from methods import GhostVLAD, NeXtVLAD

    pooling = NeXtVLAD(feature_size=1024, max_samples=300, cluster_size=128, output_dim=2048)
    video = pooling.forward(frames, num_samples)  # [B, 300, 1024], [B] -> [B, 2048]

Their arguments, input, output and errors are those of `loupe.PoolingBaseModel`, and each has a few arguments of its
own. As in loupe, B is the number of lists, N of samples in each, and K of clusters; D, O and P are the widths of a
sample, the output and the descriptor.

NetVLAD++ [3], which finds events in videos, needs no class of its own. It pools the frames before and after a moment
separately, with half of the clusters each, so that the network learns what leads to an event and what follows it::

    with tf.variable_scope("before"):
        past = loupe.NetVLAD(512, 15, 32, None, gating=False).forward(frames_before)  # [B, 15, 512] -> [B, 512 * 32]
    with tf.variable_scope("after"):
        future = loupe.NetVLAD(512, 15, 32, None, gating=False).forward(frames_after)
    descriptor = tf.concat([past, future], axis=1)  # [B, 2 * 512 * 32]

References:
  [1] Lin, Xiao, Fan: NeXtVLAD: an efficient neural network to aggregate frame-level features for large-scale video
      classification. arXiv:1811.05014, 2018.
  [2] Zhong, Arandjelovic, Zisserman: GhostVLAD for set-based face recognition. arXiv:1810.09951, 2018.
  [3] Giancola, Ghanem: Temporally-aware feature pooling for action spotting in soccer broadcasts. arXiv:2104.06779,
      2021.
"""

import math

import loupe
import tensorflow.compat.v1 as tf
import tf_slim as slim


class NeXtVLAD(loupe.PoolingBaseModel):
    """NeXtVLAD [1]: NetVLAD of samples that are widened and cut into groups, where each group has an attention weight.

    With L = expansion, G = groups and M = L * D / G, the width of a group::

        y = x F + f                      the wider samples, cut into groups y[n, g] of width M
        t = sigmoid(y T + t0)            the attention to each group of each sample
        a = t softmax(norm(y W))         the soft assignment of each group, with a softmax over its K clusters
        v[d, k] = sum_n sum_g a[n, g, k] (y[n, g, d] - c[d, k])

    The groups share the centres c. Each ``v[:, k]`` is l2-normalised. Then v is flattened to P = M * K = L * D * K / G,
    with d the slow index, and batch-normalised; without `add_batch_norm`, it is l2-normalised as a whole, like NetVLAD.
    With 8 groups and an expansion of 2, the descriptor is a quarter as wide as that of NetVLAD.

    Args:
      feature_size, ..., is_training: as for `loupe.PoolingBaseModel`.
      expansion: L, how many times wider y is than x, a positive integer. Default 2.
      groups: G, the number of groups, a divisor of ``expansion * feature_size``. Default 8.

    The variables are fully_connected/weights, F [D, L * D], and fully_connected/biases, f; fully_connected_1/weights,
    T [L * D, G], and fully_connected_1/biases, t0; cluster_weights, W [L * D, G * K], with the batch norm cluster_bn or
    cluster_biases; cluster_weights2, c [1, M, K]; and the batch norm vlad_bn of width P. All weights, hidden1_weights
    included, start with the original's variance scaling. Batch statistics leave out padding and empty lists.
    """

    def __init__(
        self,
        feature_size,
        max_samples,
        cluster_size,
        output_dim,
        gating=True,
        add_batch_norm=True,
        is_training=True,
        *,
        expansion=2,
        groups=8,
    ):
        super().__init__(feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, is_training)
        self.expansion = loupe.check_size("expansion", expansion)
        self.groups = loupe.check_size("groups", groups)
        width = self.expansion * self.feature_size
        if width % self.groups:
            raise ValueError(f"groups: expected a divisor of expansion * feature_size = {width}, got {self.groups}")

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(reshaped_input, num_samples)
        width = self.expansion * self.feature_size
        y = samples.mapped(self.affine(samples.rows, width, "fully_connected"))  # [B, N, L * D]
        t = tf.sigmoid(self.affine(y.rows, self.groups, "fully_connected_1"))  # [T, G]
        a = self.group_assignment(y.rows) * tf.expand_dims(t, 2)  # [T, G, K]
        a = self.by_group(y.scattered(tf.reshape(a, [-1, self.groups * self.cluster_size])))  # [B, N * G, K]
        c = self.centers()  # [1, M, K]
        A = tf.reduce_sum(a, axis=1, keepdims=True)  # [B, 1, K]
        v = tf.matmul(self.by_group(y.lists), a, transpose_a=True) - A * c  # [B, M, K]
        v = self.normalized(v, samples)  # [B, P]
        return self.output(v)

    def affine(self, rows, width, name):
        """Returns the rows [T, I] times weights, plus biases, both variables in the scope `name`. [T, width]"""
        inputs = tf.dimension_value(rows.shape[1])
        weights = loupe.get_variable(name + "/weights", [inputs, width], initializer=variance_scaling(inputs))
        biases = loupe.get_variable(name + "/biases", [width], initializer=tf.zeros_initializer())
        return tf.nn.bias_add(loupe.rows_times(rows, weights), biases)

    def group_assignment(self, rows):
        """Returns softmax(norm(y W)) over the clusters of each group, for rows y [T, L * D]. [T, G, K]"""
        width = self.expansion * self.feature_size
        shape = [width, self.groups * self.cluster_size]
        weights = loupe.get_variable("cluster_weights", shape, initializer=variance_scaling(width))
        activation = self.batch_norm_or_biases(loupe.rows_times(rows, weights), "cluster")  # [T, G * K]
        return tf.nn.softmax(tf.reshape(activation, [-1, self.groups, self.cluster_size]))

    def by_group(self, lists):
        """Returns lists [B, N, G * I] of samples as lists of their groups. [B, N * G, I]"""
        size = tf.dimension_value(lists.shape[1]) or tf.shape(lists)[1]
        return tf.reshape(lists, [-1, size * self.groups, tf.dimension_value(lists.shape[2]) // self.groups])

    def centers(self):
        """Creates c, the centres of the clusters, which all groups share. [1, M, K]"""
        width = self.expansion * self.feature_size // self.groups
        shape = [1, width, self.cluster_size]
        return loupe.get_variable("cluster_weights2", shape, initializer=variance_scaling(width))

    def normalized(self, v, samples):
        """Returns v [B, M, K] normalised by cluster, flattened, and normalised once more. [B, P]"""
        if not self.add_batch_norm:
            return loupe.l2_normalized(v, each_cluster=True)
        v = tf.reshape(tf.nn.l2_normalize(v, axis=1), [-1, v.shape[1:].num_elements()])
        if samples.num_samples is None:
            return self.batch_norm_or_biases(v, "vlad")
        # Empty lists must not enter the statistics, and their descriptor is zero.
        indices = tf.where_v2(samples.num_samples > 0)
        normed = self.batch_norm_or_biases(tf.gather_nd(v, indices), "vlad")
        return tf.reshape(tf.scatter_nd(indices, normed, tf.shape(v, out_type=tf.int64)), [-1, v.shape[1]])

    def projection(self, descriptor):
        """Returns the descriptor [B, P] times hidden1_weights [P, O] or, if ``output_dim`` is None, the descriptor."""
        if self.output_dim is None:
            return descriptor
        width = tf.dimension_value(descriptor.shape[1])
        shape = [width, self.output_dim]
        weights = loupe.get_variable("hidden1_weights", shape, initializer=variance_scaling(width))
        return loupe.project(descriptor, weights)

    def batch_norm_or_biases(self, rows, name):
        """Returns rows [R, C] batch-normalised, or plus biases without `add_batch_norm`. [R, C]

        As in the original, the moving variance averages the variance of the batch without Bessel's correction, which
        slim's fused batch norm applies. Given batch weights of 1, slim uses moments whose second derivatives are right.
        """
        ones = tf.ones([tf.maximum(tf.shape(rows)[0], 1)])
        stddev = 1 / math.sqrt(self.feature_size)
        with slim.arg_scope([slim.batch_norm], fused=False, batch_weights=ones):
            return loupe.batch_norm_or_biases(rows, name, stddev, self.add_batch_norm, self.is_training)


class GhostVLAD(loupe.PoolingBaseModel):
    """GhostVLAD [2]: NetVLAD with ghost clusters, which take a share of the assignment and are then left out.

    With G = ghost_clusters and the soft assignment ``a = softmax(norm(x W))`` over K + G clusters::

        v[d, k] = sum_n a[n, k] (x[n, d] - c[d, k])    for the first K clusters

    A blurred face or a silent frame can be assigned to a ghost, and then adds little to v. As in `loupe.NetVLAD`, v is
    normalised and flattened: P = D * K.

    Args:
      feature_size, ..., is_training: as for `loupe.PoolingBaseModel`.
      ghost_clusters: G, the number of ghosts, a positive integer. Default 1.

    The variables are those of NetVLAD, but the assignment's variables have K + G clusters instead of K.
    """

    def __init__(
        self,
        feature_size,
        max_samples,
        cluster_size,
        output_dim,
        gating=True,
        add_batch_norm=True,
        is_training=True,
        *,
        ghost_clusters=1,
    ):
        super().__init__(feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, is_training)
        self.ghost_clusters = loupe.check_size("ghost_clusters", ghost_clusters)

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(reshaped_input, num_samples)
        shape = [self.feature_size, self.cluster_size + self.ghost_clusters]
        W = loupe.get_variable("cluster_weights", shape, 1 / math.sqrt(self.feature_size))  # [D, K + G]
        a = self.soft_assignment(samples, W)[:, :, : self.cluster_size]  # [B, N, K], without the ghosts
        c = self.centers()  # [1, D, K]
        A = tf.reduce_sum(a, axis=1, keepdims=True)  # [B, 1, K]
        v = self.weighted_sums(a, samples) - A * c  # [B, D, K]
        v = loupe.l2_normalized(v, each_cluster=True)  # [B, D * K]
        return self.output(v)


def variance_scaling(fan_in):
    """The initialiser of the original NeXtVLAD, slim's variance scaling with a factor of 2.

    The variance is 2 / fan_in of the whole variable, even if a partitioner splits it.
    """
    return tf.truncated_normal_initializer(stddev=math.sqrt(1.3 * 2 / fan_in))
