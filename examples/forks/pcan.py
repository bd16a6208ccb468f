"""NetVLAD as the programs of the PCAN family have it: ``import pcan as lp`` in place of their loupe.

PCAN (Zhang, Xiao, CVPR 2019, arXiv:1904.09793; github.com/XLechter/PCAN) and DH3D (Du, Wang, Cremers, ECCV 2020,
arXiv:2007.09217; github.com/JuanDuGit/DH3D). What differs from `loupe.NetVLAD`:

- each sample's assignment is multiplied by the sample's weight, its attention;
- the projection is followed by a batch norm ``bn``, with ``add_batch_norm=False`` too, and then by the gates;
- the assignment's batch norm is not the fused one: its moving variance is that of the batch, without the factor
  n / (n - 1).

It follows these formulas; unlike its neighbours it was not compared with the program's own numbers.
"""

import loupe as lp
import tensorflow.compat.v1 as tf
import tf_slim as slim


class NetVLAD(lp.PoolingBaseModel):
    """NetVLAD of weighted samples, projected, batch-normalised and gated: ``v = sum_n w[n] a[n, k] (x[n] - c[k])``.

    Arguments, input and errors are those of `loupe.NetVLAD`.
    """

    def forward(self, reshaped_input, sample_weights, num_samples=None):
        """The samples, as for `loupe.NetVLAD`, pooled by their weights, float32 [B, N, 1] or rows [B * N, 1]. [B, O]"""
        samples = self.samples(reshaped_input, num_samples)
        # Checked, and zero for padding, as if they were samples of one feature.
        try:
            w = lp.PoolingBaseModel(1, self.max_samples, 1, 1).samples(sample_weights, num_samples).lists  # [B, N, 1]
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("reshaped_input", "sample_weights")) from error
        with slim.arg_scope([slim.batch_norm], fused=False):
            a = w * self.soft_assignment(samples)  # [B, N, K]
        # Not by mass_and_means, which requires a positive mass: weights may have either sign.
        A = tf.reduce_sum(a, axis=1, keepdims=True)  # [B, 1, K]
        v = self.weighted_sums(a, samples) - A * self.centers()  # [B, D, K]
        y = self.projection(lp.l2_normalized(v, each_cluster=True))  # [B, O]
        y = slim.batch_norm(y, center=True, scale=True, is_training=self.is_training, scope="bn")
        return self.context_gating(y) if self.gating else y
