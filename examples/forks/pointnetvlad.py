"""NetVLAD as the programs of the PointNetVLAD family have it: ``import pointnetvlad as lp`` in place of their loupe.

PointNetVLAD (Uy, Lee, CVPR 2018, arXiv:1804.03492; github.com/mikacuy/pointnetvlad) and LPD-Net (Liu et al., ICCV 2019,
arXiv:1812.07050). Differences from `loupe.NetVLAD`:

- the assignment's batch norm is not fused: its moving variance averages the variance of the batch without the factor
  n / (n - 1);
- the projection is followed by a batch norm ``bn``, even with ``add_batch_norm=False``, and then by the gates.

The classes of FICL-Net, EPC-Net, PCAN and DH3D are subclasses of this one: their modules need this file beside them.
"""

import loupe as lp
import tf_slim as slim


class NetVLAD(lp.NetVLAD):
    """NetVLAD, projected, batch-normalised and gated. Arguments, input and errors are those of `loupe.NetVLAD`."""

    def soft_assignment(self, samples, weights=None, summary=False):
        with slim.arg_scope([slim.batch_norm], fused=False):
            return super().soft_assignment(samples, weights, summary)

    def projection(self, descriptor):
        """Returns the projection, batch-normalised. [B, O]"""
        return self.projection_norm(super().projection(descriptor))

    def projection_norm(self, y):
        return slim.batch_norm(y, center=True, scale=True, is_training=self.is_training, scope="bn")
