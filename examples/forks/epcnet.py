"""The layers of EPC-Net: ``import epcnet as lp`` in place of its loupe. It needs pointnetvlad.py beside it.

EPC-Net (Hui, Cheng, Xie, Yang, Efficient 3D point cloud feature learning for large-scale place recognition, 2021,
arXiv:2101.02374; github.com/fpthink/EPC-Net). `NetVLAD` is that of pointnetvlad.py. `G_VLAD` projects each part of the
descriptor with the same weights, and adds the projections.
"""

import loupe
import tensorflow.compat.v1 as tf
from pointnetvlad import NetVLAD

__all__ = ["NetVLAD", "G_VLAD"]


class G_VLAD(NetVLAD):
    """Grouped NetVLAD: the descriptor is split into `groups` rows ``[D * K / groups]``, which are projected by the same
    hidden1_weights ``[D * K / groups, O]``, batch-normalised over the rows of all lists, summed and gated.

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
        self.groups = loupe.check_size("groups", groups)
        if width % self.groups:
            raise ValueError(f"groups: expected a divisor of D * K = {width}, got {self.groups}")

    def projection(self, descriptor):
        """Returns the sum of the groups' batch-normalised projections. [B, O]"""
        width = self.feature_size * self.cluster_size // self.groups
        y = super().projection(tf.reshape(descriptor, [-1, width]))  # [B * groups, O]
        return tf.reduce_sum(tf.reshape(y, [-1, self.groups, y.shape[1]]), axis=1)
