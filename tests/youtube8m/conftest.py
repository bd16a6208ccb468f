"""Lets the tests import the programs of examples/youtube8m and their package."""

import pathlib
import sys

import pytest
import tensorflow.compat.v1 as tf

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES / "youtube8m"))


@pytest.fixture(autouse=True)
def event_files():
    """Event files of this test alone: TensorFlow keeps their writers by relative path, and so for another directory."""
    yield
    tf.summary.FileWriterCache.clear()
