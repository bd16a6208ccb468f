"""The layers of EPC-Net: ``import epcnet as lp`` in place of its loupe.

EPC-Net (Hui, Cheng, Xie, Yang, Efficient 3D point cloud feature learning for large-scale place recognition, 2021,
arXiv:2101.02374; github.com/fpthink/EPC-Net). What differs from `loupe.NetVLAD`:

- the projection is followed by a batch norm ``bn``, with ``add_batch_norm=False`` too, and then by the gates;
- the assignment's batch norm is not the fused one: its moving variance is that of the batch, without the factor
  n / (n - 1);
- `G_VLAD` projects the parts of the descriptor by the same weights, and adds them up.
"""

import loupe as lp
import tensorflow.compat.v1 as tf
import tf_slim as slim


class NetVLAD(lp.PoolingBaseModel):
    """NetVLAD, projected, batch-normalised and gated. Arguments, input and errors are those of `loupe.NetVLAD`."""

    groups = 1

    def forward(self, reshaped_input, num_samples=None):
        """The samples, as for `loupe.NetVLAD`, pooled. [B, O]"""
        samples = self.samples(reshaped_input, num_samples)
        with slim.arg_scope([slim.batch_norm], fused=False):
            a = self.soft_assignment(samples)  # [B, N, K]
        A, mean = self.mass_and_means(a, samples)  # [B, 1, K], [B, D, K]
        residual = mean - self.centers()  # [B, D, K]
        descriptor = lp.l2_normalized(residual, times=A, each_cluster=True)  # [B, D * K]
        width = self.feature_size * self.cluster_size // self.groups
        y = self.projection(tf.reshape(descriptor, [-1, width]))  # [B * groups, O]
        y = slim.batch_norm(y, center=True, scale=True, is_training=self.is_training, scope="bn")
        y = tf.reduce_sum(tf.reshape(y, [-1, self.groups, y.shape[1]]), axis=1)  # [B, O]
        return self.context_gating(y) if self.gating else y


class G_VLAD(NetVLAD):
    """Grouped NetVLAD: the descriptor is split into `groups` rows ``[D * K / groups]``, each of them projected by the
    same hidden1_weights ``[D * K / groups, O]``, batch-normalised over the rows of all lists, summed and gated.

    Args:
      groups: a positive divisor of D * K. Default 4.

    The other arguments, input and errors are those of `loupe.NetVLAD`.
    """

    def __init__(
        self,
        feature_size,
        max_samples,
        cluster_size,
        output_dim,
        groups=4,
        gating=True,
        add_batch_norm=True,
        is_training=True,
    ):
        super().__init__(feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, is_training)
        width = self.feature_size * self.cluster_size
        if isinstance(groups, bool) or not isinstance(groups, int) or groups <= 0 or width % groups:
            raise ValueError(f"groups: expected a positive integer that divides D * K = {width}, got {groups!r}")
        self.groups = groups
