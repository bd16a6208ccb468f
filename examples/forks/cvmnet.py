"""NetVLAD as the programs of the CVM-Net family have it: ``import cvmnet as lp`` in place of their loupe.

CVM-Net (Hu, Feng, Nguyen, Lee, CVPR 2018; github.com/david-husx/crossview_localisation) and VIGOR (Zhu, Yang, Chen,
CVPR 2021, arXiv:2011.12172; github.com/Jeff-Zilence/VIGOR). Differences from `loupe.NetVLAD`:

- each sample is l2-normalised first;
- an argument of `forward` says whether to project the descriptor;
- nothing is gated, whatever `gating` is.
"""

import loupe as lp
import tensorflow.compat.v1 as tf


class NetVLAD(lp.PoolingBaseModel):
    """NetVLAD of l2-normalised samples. Arguments, input and errors are those of `loupe.NetVLAD`."""

    def forward(self, input, do_dim_reduction=False, num_samples=None):
        """Pools maps ``[B, H, W, D]``, whose sizes may be unknown, or other inputs that `loupe.NetVLAD` takes.

        Args:
          input: the samples. For maps of unknown sizes, `max_samples` is ``tf.shape(input)[1] * tf.shape(input)[2]``.
          do_dim_reduction: whether to project the descriptor, a bool. Default False.
          num_samples: the length of each list, as for `loupe.NetVLAD`.

        Returns:
          A float32 tensor ``[B, D * K]``, or with `do_dim_reduction` ``[B, O]``.
        """
        if not isinstance(do_dim_reduction, bool):
            raise TypeError(f"do_dim_reduction: expected a bool, got {do_dim_reduction!r}")
        samples = self.samples(input, num_samples)
        samples = samples.mapped(tf.nn.l2_normalize(samples.rows, axis=1, epsilon=1e-12))
        a = self.soft_assignment(samples)  # [B, N, K]
        A, mean = self.mass_and_means(a, samples)  # [B, 1, K], [B, D, K]
        residual = mean - self.centers()  # [B, D, K]
        descriptor = lp.l2_normalized(residual, times=A, each_cluster=True)
        return self.projection(descriptor) if do_dim_reduction else descriptor
