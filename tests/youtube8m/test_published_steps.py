"""Six training steps of each of the seven models, clipping, decay and Adam included, against the 2017 program's."""

import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import assign
from support.golden import of_kind
from support.youtube8m import GOLDENS, golden_settings
from yt8m import presets, step

# The other models differ from one of these only in the layers, which have goldens of their own.
DEFAULT = ("gated-netvlad", "lstm")
each_preset = pytest.mark.parametrize(
    "preset", [pytest.param(name, marks=[] if name in DEFAULT else pytest.mark.long) for name in presets.SUBMISSION]
)


@each_preset
def test_losses_of_six_steps(preset, session):
    with np.load(str(GOLDENS / "training" / (preset + ".npz"))) as arrays:
        golden = dict(arrays)
    steps, videos, size, num_classes = map(int, golden["sizes"])
    rng = np.random.RandomState(int(golden["seed"]))
    num_frames = np.full([steps, videos], size)
    if preset in ("gru", "lstm"):
        num_frames = rng.randint(1, size + 1, [steps, videos])
    frames = rng.uniform(-2, 2, [steps, videos, size, 1152]).astype(np.float32)
    frames[np.arange(size) >= num_frames[:, :, np.newaxis]] = 0
    settings = golden_settings(
        preset.replace("-", "_"),
        json.loads(str(golden["flags"])),
        num_classes,
        batch_size=videos,
        towers=1,
        frame_sampling="all",
        **{name: golden[name].item() for name in golden if name.startswith("learning_rate")},
    )
    batch = {
        "frames": tf.placeholder(tf.float32, frames.shape[1:]),
        "num_frames": tf.placeholder(tf.int32, [videos]),
        "labels": tf.placeholder(tf.bool, [videos, num_classes]),
    }
    built = step.build(batch, settings)
    session.run(tf.global_variables_initializer())
    assign(session, of_kind(golden, "var"), tf.trainable_variables() + tf.model_variables())
    losses = []
    for number in range(steps):
        feed = {"frames": frames[number], "num_frames": num_frames[number], "labels": golden["labels"][number]}
        losses.append(session.run([built.loss, built.train], {batch[name]: feed[name] for name in feed})[0])
    np.testing.assert_allclose(losses, golden["losses"], rtol=2e-5)
