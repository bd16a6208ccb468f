"""The modules of examples/forks have the variables and the numbers of the changed copies of the toolbox that they stand
for, and keep what the layers promise.

pytest prints the worst errors against the goldens at its end (see tests/conftest.py).
"""

import collections

from support import golden
import cvmnet
import epcnet
import numpy as np
import pcan
import pointnetvlad
import pytest
import soccernet_multimodal
import tensorflow.compat.v1 as tf
from support.comparison import assign, by_name, names, randomize, relative_error

B, N, D, K, O = SIZES = 3, 10, 8, 4, 6  # of the goldens; a map of theirs is [B, 2, 5, D]


class Fork(collections.namedtuple("Fork", "layer arguments forward_arguments")):
    """A layer, its constructor's arguments after the sizes, and those of forward after the samples."""

    def build(self, x, num_samples=None, weights=None, is_training=True, max_samples=N):
        layer = self.layer(D, max_samples, K, O, is_training=is_training, **self.arguments)
        arguments = dict(self.forward_arguments, num_samples=num_samples)
        return layer.forward(x, **arguments) if weights is None else layer.forward(x, weights, **arguments)


FORKS = {
    "pointnetvlad": Fork(pointnetvlad.NetVLAD, {}, {}),
    "epcnet": Fork(epcnet.NetVLAD, {}, {}),
    "epcnet_gvlad": Fork(epcnet.G_VLAD, {}, {}),
    "cvmnet_bare": Fork(cvmnet.NetVLAD, {"add_batch_norm": False}, {}),
    "cvmnet_reduced": Fork(cvmnet.NetVLAD, {"add_batch_norm": False}, {"do_dim_reduction": True}),
    "soccernet_multimodal_netvlad": Fork(soccernet_multimodal.NetVLAD, {"suffix_tensor_name": "_video"}, {}),
    "soccernet_multimodal_netrvlad": Fork(soccernet_multimodal.NetRVLAD, {"suffix_tensor_name": "_video"}, {}),
    "pcan": Fork(pcan.NetVLAD, {}, {}),
}
# EPC-Net's NetVLAD is PointNetVLAD's.
GOLDENS = {"pointnetvlad": "pointnetvlad", "epcnet": "pointnetvlad"}
GOLDENS.update((name, name) for name in FORKS if name.startswith(("epcnet_", "cvmnet_")) or name.endswith("netrvlad"))

each_golden = pytest.mark.parametrize("name", sorted(GOLDENS))
each_fork = pytest.mark.parametrize("name", sorted(FORKS))

TOLERANCES = {"outputs": 2e-5, "gradients": 5e-4, "moving averages": 2e-5}


@pytest.fixture
def check(record_property):
    def check(name, quantity, came, expected):
        assert sorted(came) == sorted(expected)
        errors = {key: relative_error(came[key], expected[key]) for key in expected}
        record_property(f"error of {name} {quantity}", float(max(errors.values())))
        assert all(error <= TOLERANCES[quantity] for error in errors.values()), errors

    return check


@each_golden
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_goldens(name, mode, session, check):
    recorded = golden.load("forks/" + GOLDENS[name])
    x = tf.placeholder(tf.float32, (None,) + recorded["x"].shape[1:])
    y = FORKS[name].build(x, is_training=mode == "train")
    assign(session, golden.of_kind(recorded, "var"))
    sources = dict(by_name(tf.trainable_variables()), x=x)
    gradients = dict(zip(sources, tf.gradients(y * recorded["cotangent"], list(sources.values()))))
    outputs, gradients = session.run([y, gradients], {x: recorded["x"]})
    check(name, "outputs", {"y": outputs}, {"y": recorded["y_" + mode]})
    check(name, "gradients", gradients, golden.of_kind(recorded, "grad_" + mode))
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), {x: recorded["x"]})
    expected = golden.of_kind(recorded, "var")
    if mode == "train":
        expected.update(golden.of_kind(recorded, "after_update"))
    check(name, "moving averages", session.run(by_name(tf.global_variables())), expected)
