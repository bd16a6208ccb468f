"""NetVLAD as FICL-Net has it: ``import ficlnet as lp`` in place of its loupe. It needs pointnetvlad.py beside it.

Difference from `pointnetvlad.NetVLAD`: the batch norm ``bn`` after the projection is that of ``tf.layers``. Its moving
averages have a decay of 0.99, and it is not fused.
"""

import pointnetvlad
import tf_slim as slim


class NetVLAD(pointnetvlad.NetVLAD):
    """NetVLAD, projected, batch-normalised and gated. Arguments, input and errors are those of `loupe.NetVLAD`."""

    def projection_norm(self, y):
        with slim.arg_scope([slim.batch_norm], decay=0.99, fused=False):
            return super().projection_norm(y)
