"""NetVLAD and NetRVLAD with names that end in a suffix: ``import soccernet_multimodal as lp`` in place of loupe.

Improved soccer action spotting using both audio and video streams (Vanderplaetse, Dupont, CVPR workshops 2020,
arXiv:2011.04258; github.com/bastienvanderplaetse/SoccerNetMultimodalActionSpotting). Difference from loupe: the
constructors have an eighth argument, a suffix for the names of variables and of batch norm's scopes, as in
``cluster_weights_video`` and ``cluster_bn_video/beta``. Layers with different suffixes can share a variable scope.
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
        with self.suffixed_names():
            projected = super().forward(reshaped_input, num_samples)
        return self.context_gating(projected) if self.gating else projected

    def output(self, descriptor):
        """Returns the projection, which `forward` gates, so that the names of the gates get the suffix only once."""
        return self.projection(descriptor)

    def context_gating(self, input_layer):
        with self.suffixed_names():
            return super().context_gating(input_layer)

    def suffixed_names(self):
        """Returns the current scope with the suffix appended to names: cluster_bn_video/beta for cluster_bn/beta."""
        scope = tf.get_variable_scope()
        start = len(scope.name) + 1 if scope.name else 0

        def suffixed(getter, name, *args, **kwargs):
            first, slash, rest = name[start:].partition("/")
            return getter(name[:start] + first + self.suffix_tensor_name + slash + rest, *args, **kwargs)

        return tf.variable_scope(scope, custom_getter=suffixed, auxiliary_name_scope=False)


class NetVLAD(_Suffixed, lp.NetVLAD):
    """`loupe.NetVLAD` with one more argument, `suffix_tensor_name`, a str. Default ""."""


class NetRVLAD(_Suffixed, lp.NetRVLAD):
    """`loupe.NetRVLAD` with one more argument, `suffix_tensor_name`, a str. Default ""."""
