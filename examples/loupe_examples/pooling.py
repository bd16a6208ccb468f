"""A custom pooling method, written with the steps of loupe."""

import loupe
import tensorflow.compat.v1 as tf


class MeanPooling(loupe.PoolingBaseModel):
    """The baseline: the mean of each list, projected and gated like the methods of loupe.

    It has no clusters: `cluster_size` only sets the scale of the projection's initial weights.
    """

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(reshaped_input, num_samples)
        mean = tf.reduce_sum(samples.lists, axis=1) / tf.maximum(samples.lengths, 1)  # [B, D]
        return self.output(mean)
