"""Lets the tests import the programs of examples/youtube8m and their package."""

import pathlib
import sys

import pytest
import tensorflow.compat.v1 as tf

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES / "youtube8m"))

from yt8m import digits as provided
from yt8m.settings import Data


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A directory with the digits as records."""
    directory = str(tmp_path_factory.mktemp("digits"))
    provided.provide(Data(digits=directory), "train")
    return directory


@pytest.fixture(autouse=True)
def event_files():
    """Forgets the writers of event files, which TensorFlow finds by relative path, even in another test's directory."""
    yield
    tf.summary.FileWriterCache.clear()
