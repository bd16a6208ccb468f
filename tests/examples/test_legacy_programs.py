"""Programs in the manner of those that ship a changed toolbox: trained, restored in another process, exported."""

import importlib
import os
import sys

from support import programs
import numpy as np
import pytest

import loupe

LEGACY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "legacy")
FORKS = os.path.join(os.path.dirname(os.path.abspath(loupe.__file__)), "examples", "forks")

# Restores for inference, compares, exports, and compares what the export gives.
RESTORE = """
import importlib, sys
import numpy as np
import tensorflow.compat.v1 as tf

name, directory, *paths = sys.argv[1:]
sys.path[:0] = paths
tf.disable_v2_behavior()
program = importlib.import_module(name)
expected = np.load(directory + "/expected.npz")

def check(y):
    error = np.abs(y - expected["y"]).max()
    assert error <= 1e-5, error

x = tf.placeholder(tf.float32, program.SHAPE)
y = program.network(x, is_training=False)
with tf.Session() as session:
    tf.train.Saver().restore(session, directory + "/model.ckpt")
    check(session.run(y, {x: expected["x"]}))
    tf.saved_model.simple_save(session, directory + "/export", {"x": x}, {"y": y})
with tf.Graph().as_default(), tf.Session() as session:
    signature = tf.saved_model.load(session, ["serve"], directory + "/export").signature_def["serving_default"]
    check(session.run(signature.outputs["y"].name, {signature.inputs["x"].name: expected["x"]}))
print("restored and exported")
"""


@pytest.mark.long
@pytest.mark.parametrize("name", ["crossview", "point_clouds"])
def test_trained_restored_and_exported(name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [LEGACY] + sys.path)
    x, y, recall = importlib.import_module(name).train(str(tmp_path))
    assert recall >= 0.8  # chance would give about 0.1
    np.savez(str(tmp_path / "expected.npz"), x=x, y=y)
    assert "restored and exported" in programs.run(RESTORE, name, tmp_path, LEGACY, FORKS)
