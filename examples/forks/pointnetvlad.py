"""NetVLAD as the programs of the PointNetVLAD family have it: ``import pointnetvlad as lp`` in place of their loupe.

PointNetVLAD (Uy, Lee, CVPR 2018, arXiv:1804.03492; github.com/mikacuy/pointnetvlad), LPD-Net, FICL-Net, and the NetVLAD
of attentive-netvlad. What differs from `loupe.NetVLAD`:

- the projection is followed by a batch norm ``bn``, with ``add_batch_norm=False`` too, and then by the gates;
- the assignment's batch norm is not the fused one: its moving variance is that of the batch, without the factor
  n / (n - 1).
"""

import loupe as lp
import tf_slim as slim


class NetVLAD(lp.PoolingBaseModel):
    """NetVLAD, projected, batch-normalised and gated. Arguments, input and errors are those of `loupe.NetVLAD`."""

    def forward(self, reshaped_input, num_samples=None):
        """The samples, as for `loupe.NetVLAD`, pooled. [B, O]"""
        samples = self.samples(reshaped_input, num_samples)
        with slim.arg_scope([slim.batch_norm], fused=False):
            a = self.soft_assignment(samples)  # [B, N, K]
        A, mean = self.mass_and_means(a, samples)  # [B, 1, K], [B, D, K]
        residual = mean - self.centers()  # [B, D, K]
        y = self.projection(lp.l2_normalized(residual, times=A, each_cluster=True))  # [B, O]
        y = slim.batch_norm(y, center=True, scale=True, is_training=self.is_training, scope="bn")
        return self.context_gating(y) if self.gating else y
