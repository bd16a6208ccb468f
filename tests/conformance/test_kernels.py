"""Every op of the graphs, forward and backward, can run on a GPU."""

import re

import pytest
import tensorflow.compat.v1 as tf
from support.configurations import CONFIGURATIONS
from support.kernels import gpu_kernels, has_gpu_kernel
from support.pooling_graph import build, each_configuration_and_lengths

# TensorFlow has no GPU kernel for the summary that NetRVLAD makes of its biases, or for the summary's tag.
SUMMARY = re.compile("cluster_biases(_1)?(/tag)?$")


needs_gpu_kernels = pytest.mark.skipif(
    not gpu_kernels("MatMul"), reason="this wheel of TensorFlow has no kernels for GPUs"
)


@needs_gpu_kernels
@each_configuration_and_lengths(CONFIGURATIONS)
def test_every_op_has_a_gpu_kernel(configuration, has_lengths, graph):
    pooling = build(configuration, has_lengths)
    tf.gradients(tf.square(pooling.y), [pooling.x] + tf.trainable_variables())
    nodes = graph.as_graph_def().node
    # Layers put some ops on the CPU themselves, such as the message of a check.
    asked = [node for node in nodes if not node.device.endswith("CPU:0")]
    missing = {node.name: node.op for node in asked if node.op != "Placeholder" and not has_gpu_kernel(node)}
    assert all(SUMMARY.match(name) for name in missing), missing
    assert len(asked) > 50


@needs_gpu_kernels
def test_the_check_sees_types_and_devices(graph):
    """TensorFlow has no histogram and no product of int64 for GPUs."""
    tf.summary.histogram("histogram", tf.zeros([3]))
    tf.matmul(tf.zeros([2, 2]), tf.zeros([2, 2]), name="float32")
    tf.matmul(tf.zeros([2, 2], tf.int64), tf.zeros([2, 2], tf.int64), name="int64")
    has = {node.name: has_gpu_kernel(node) for node in graph.as_graph_def().node}
    assert (has["histogram"], has["float32"], has["int64"]) == (False, True, False)
