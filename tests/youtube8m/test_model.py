"""The models have the numbers of the published program, and keep their own promises."""

import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.youtube8m import GOLDENS, MODELS, golden_settings
from yt8m import checkpoints, errors, model, presets
from yt8m.settings import of_preset

SMALL = {
    "feature_names": ("rgb", "audio"), "feature_sizes": (6, 4), "num_classes": 5,
    "clusters": 8, "hidden_size": 3, "cells": 4,
}  # fmt: skip
USUAL = ("gated-netvlad", "gated-netfv", "gated-soft-dbow", "lstm")  # Each kind of layer once.


def long(*values):
    return pytest.param(*values, marks=pytest.mark.long)


each_model = pytest.mark.parametrize("name", sorted(MODELS))


@each_model
@pytest.mark.parametrize("mode, padding", [("infer", None), long("train", None), ("train", 4)])
def test_golden(name, mode, padding, session):
    golden = np.load(str(GOLDENS / (name + ".npz")))
    frames, num_frames = golden["input"], golden["num_frames"] if "num_frames" in golden else None
    if padding is not None:
        if num_frames is None:
            num_frames = np.full(frames.shape[0], frames.shape[1], np.int32)
        frames = np.pad(frames, [(0, 0), (0, padding), (0, 0)], mode="edge")
    settings = golden_settings(name)
    built = model.build(
        tf.constant(frames), num_frames, settings.data, settings.architecture, mode == "train", golden["labels"]
    )
    checkpoints.restore(session, str(GOLDENS / name / "model.ckpt"), settings)
    predictions, loss, regularization = session.run(built)
    # The errors can be as small as 5e-7, 3e-7 and 2e-7.
    assert np.abs(predictions - golden["predictions_" + mode]).max() < 1.5e-6
    np.testing.assert_allclose(loss, golden["loss_" + mode], rtol=9e-7)
    np.testing.assert_allclose(regularization, golden["regularization_" + mode], rtol=6e-7)


@each_model
def test_variables_are_the_published_ones(name):
    settings = golden_settings(name)
    model.build(tf.zeros([5, 12, 1152]), None, settings.data, settings.architecture, is_training=True)
    came = [{"name": variable.op.name, "shape": variable.shape.as_list()} for variable in tf.global_variables()]
    assert came == MODELS[name]["variables"]
    assert [variable.op.name for variable in tf.trainable_variables()] == MODELS[name]["trainable"]


@pytest.mark.parametrize("preset", [name if name in USUAL else long(name) for name in presets.PRESETS])
def test_padding_changes_nothing(preset, session, rng):
    settings = of_preset(preset, **SMALL)
    lists = rng.standard_normal((4, 7, 10)).astype(np.float32)
    lengths = np.array([7, 1, 3, 5], np.int32)
    frames = tf.placeholder(tf.float32, [4, 7, 10])
    built = model.build(
        frames, tf.constant(lengths), settings.data, settings.architecture, is_training=True, labels=np.eye(4, 5) > 0
    )
    session.run(tf.global_variables_initializer())
    is_real = np.arange(7)[:, np.newaxis] < lengths[:, np.newaxis, np.newaxis]
    outputs = [session.run(built, {frames: np.where(is_real, lists, filler)}) for filler in (0, 1e3)]
    for one, other in zip(*outputs):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("preset", ["gated-netvlad", long("gated-netfv"), long("gated-soft-dbow"), "gru", long("mean")])
@pytest.mark.parametrize("names, sizes", [(("rgb",), (6,)), (("rgb", "audio", "flow"), (6, 4, 3))])
def test_any_list_of_features(preset, names, sizes, session):
    settings = of_preset(preset, **dict(SMALL, feature_names=names, feature_sizes=sizes))
    built = model.build(tf.ones([2, 3, sum(sizes)]), None, settings.data, settings.architecture, is_training=False)
    assert built.loss is None
    session.run(tf.global_variables_initializer())
    assert session.run(built.predictions).shape == (2, 5)


@pytest.mark.parametrize("is_training", [True, False], ids=["train", "infer"])
def test_sums_are_scaled_in_training_and_frames_in_inference(is_training):
    """Scaling the sums saves the frames' gradients, and takes longer where there are none."""
    settings = of_preset("gated-netfv", **SMALL)
    model.build(tf.ones([2, 3, 10]), None, settings.data, settings.architecture, is_training)
    is_repeated = any(op.type == "Tile" for op in tf.get_default_graph().get_operations())  # The scale, for the sums.
    assert is_repeated == is_training


def test_published_size():
    settings = of_preset("gated-netvlad")
    model.build(tf.zeros([80, 300, 1152]), None, settings.data, settings.architecture, is_training=True)
    shapes = {variable.op.name: variable.shape.as_list() for variable in tf.trainable_variables()}
    assert shapes["video_VLAD/cluster_weights"] == [1024, 256]
    assert shapes["audio_VLAD/cluster_weights2"] == [1, 128, 128]
    assert shapes["hidden1_weights"] == [1024 * 256 + 128 * 128, 1024]
    assert shapes["gates/weights"] == [1024, 3862 * 3]
    assert shapes["gating_prob_weights"] == [3862, 3862]


def test_initial_values(session):
    settings = of_preset("soft-dbow", **dict(SMALL, clusters=64, hidden_size=500))
    model.build(tf.zeros([2, 3, 10]), None, settings.data, settings.architecture, is_training=True)
    session.run(tf.global_variables_initializer())
    values = {variable.op.name: session.run(variable) for variable in tf.global_variables()}
    np.testing.assert_allclose(values["hidden1_weights"].std(), 1 / 8, rtol=0.05)
    np.testing.assert_allclose(values["hidden1_biases"].std(), 0.01, rtol=0.2)
    np.testing.assert_allclose(values["gates/weights"].std(), (2 / (500 + 15)) ** 0.5, rtol=0.05)
    assert not values["experts/biases"].any()


def test_too_few_clusters():
    settings = of_preset("soft-dbow", **dict(SMALL, clusters=7))
    with pytest.raises(errors.UserError, match="clusters: expected at least 8, for feature audio, got 7"):
        model.build(tf.zeros([2, 3, 10]), None, settings.data, settings.architecture, True)


@pytest.mark.parametrize(
    "name, other", [("gated_netvlad", "gated_netfv"), ("netvlad_relu", "gated_netvlad"), ("lstm", "gru")]
)
def test_checkpoint_of_another_architecture(name, other, session):
    settings = golden_settings(name)
    model.build(tf.zeros([5, 12, 1152]), None, settings.data, settings.architecture, is_training=True)
    path = str(GOLDENS / other / "model.ckpt")
    with pytest.raises(errors.UserError) as error:
        checkpoints.restore(session, path, settings)
    theirs = {variable["name"]: variable["shape"] for variable in MODELS[other]["variables"]}
    differing = [v["name"] for v in MODELS[name]["variables"] if theirs.get(v["name"]) != v["shape"]]
    differing.sort(key=lambda name: (not name.endswith(("weights", "kernel")), name))
    assert len(differing) > 3
    named = re.fullmatch(
        re.escape(path) + r": of another architecture: (\S+) .+; (\S+) .+; (\S+) .+; and (\d+) more\. "
        "Look at preset, clusters, hidden_size, cells, layers, num_classes and feature_sizes",
        str(error.value),
    ).groups()
    assert list(named) == differing[:3] + [str(len(differing) - 3)]
