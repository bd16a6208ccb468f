"""NetVLAD of weighted samples, in place of the pooling in PCAN's ``vlad_forward``. It needs pointnetvlad.py beside it.

PCAN (Zhang, Xiao, CVPR 2019, arXiv:1904.09793; github.com/XLechter/PCAN). Its pooling is part of its network; the
README shows which lines `NetVLAD` replaces. Difference from `pointnetvlad.NetVLAD`: each sample's assignment is
multiplied by the sample's weight, its attention.
"""

import loupe as lp
import pointnetvlad
import tensorflow.compat.v1 as tf


class NetVLAD(pointnetvlad.NetVLAD):
    """NetVLAD of weighted samples, projected, batch-normalised and gated: ``v = sum_n w[n] a[n, k] (x[n] - c[k])``.

    Arguments, input and errors are those of `loupe.NetVLAD`.
    """

    def forward(self, reshaped_input, sample_weights, num_samples=None):
        """Pools the samples with weights, float32 lists [B, N, 1] or rows [B * N, 1]. [B, O]"""
        samples = self.samples(reshaped_input, num_samples)
        # Taken as samples of one feature, the weights are checked and set to zero for padding.
        try:
            w = lp.PoolingBaseModel(1, self.max_samples, 1, 1).samples(sample_weights, num_samples).lists  # [B, N, 1]
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("reshaped_input", "sample_weights")) from error
        a = w * self.soft_assignment(samples)  # [B, N, K]
        # The weights may have either sign, so mass_and_means, which requires a positive mass, cannot be used.
        A = tf.reduce_sum(a, axis=1, keepdims=True)  # [B, 1, K]
        v = self.weighted_sums(a, samples) - A * self.centers()  # [B, D, K]
        return self.output(lp.l2_normalized(v, each_cluster=True))
