"""NetVLAD of weighted samples, in place of the pooling in DH3D's ``global_netvald_block``. It needs pcan.py and
pointnetvlad.py beside it.

DH3D (Du, Wang, Cremers, ECCV 2020, arXiv:2007.09217; github.com/JuanDuGit/DH3D). Its pooling is part of its network;
the README shows which lines `NetVLAD` replaces. Difference from `pcan.NetVLAD`: the samples are l2-normalised here.
PCAN normalises them before it calls its pooling.
"""

import pcan
import tensorflow.compat.v1 as tf


class NetVLAD(pcan.NetVLAD):
    """NetVLAD of l2-normalised, weighted samples, projected, batch-normalised and gated.

    Arguments, input and errors are those of `loupe.NetVLAD`, and `forward` is that of `pcan.NetVLAD`.
    """

    def samples(self, reshaped_input, num_samples=None):
        samples = super().samples(reshaped_input, num_samples)
        return samples.mapped(tf.nn.l2_normalize(samples.rows, axis=1, epsilon=1e-12))
