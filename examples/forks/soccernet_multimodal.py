"""NetVLAD and NetRVLAD with names that end in a suffix: ``import soccernet_multimodal as lp`` in place of loupe.

Improved soccer action spotting using both audio and video streams (Vanderplaetse, Dupont, CVPR workshops 2020,
arXiv:2011.04258; github.com/bastienvanderplaetse/SoccerNetMultimodalActionSpotting). What differs from loupe is the
constructors' eighth argument, which ends the name of each variable, and of batch norm's scopes:
``cluster_weights_video``, ``cluster_bn_video/beta``. So layers with different suffixes share a variable scope.
"""

import loupe as lp
import tensorflow.compat.v1 as tf


class _Suffixed(lp.PoolingBaseModel):
    def __init__(
        self,
        feature_size,
        max_samples,
        cluster_size,
        output_dim,
        gating=True,
        add_batch_norm=True,
        is_training=True,
        suffix_tensor_name="",
    ):
        super().__init__(feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, is_training)
        if not isinstance(suffix_tensor_name, str):
            raise TypeError(f"suffix_tensor_name: expected a str, got {suffix_tensor_name!r}")
        self.suffix_tensor_name = suffix_tensor_name

    def forward(self, reshaped_input, num_samples=None):
        """The samples, as for `loupe.NetVLAD`, pooled. [B, O]"""
        with self.suffixed_names():
            y = self.projection(self.descriptor(self.samples(reshaped_input, num_samples)))
        return self.context_gating(y) if self.gating else y

    def context_gating(self, input_layer):
        with self.suffixed_names():
            return super().context_gating(input_layer)

    def suffixed_names(self):
        """The current variable scope, where, with the suffix "_video", cluster_bn/beta is cluster_bn_video/beta."""
        scope = tf.get_variable_scope()
        start = len(scope.name) + 1 if scope.name else 0

        def suffixed(getter, name, *args, **kwargs):
            first, slash, rest = name[start:].partition("/")
            return getter(name[:start] + first + self.suffix_tensor_name + slash + rest, *args, **kwargs)

        return tf.variable_scope(scope, custom_getter=suffixed, auxiliary_name_scope=False)


class NetVLAD(_Suffixed):
    """`loupe.NetVLAD`, with its arguments, and `suffix_tensor_name`, what names end in. Default ""."""

    def descriptor(self, samples):
        a = self.soft_assignment(samples)  # [B, N, K]
        A, mean = self.mass_and_means(a, samples)  # [B, 1, K], [B, D, K]
        residual = mean - self.centers()  # [B, D, K]
        return lp.l2_normalized(residual, times=A, each_cluster=True)


class NetRVLAD(_Suffixed):
    """`loupe.NetRVLAD`, with its arguments, and `suffix_tensor_name`, what names end in. Default ""."""

    def descriptor(self, samples):
        a = self.soft_assignment(samples, summary=True)  # [B, N, K]
        return lp.l2_normalized(self.weighted_sums(a, samples), each_cluster=True)
