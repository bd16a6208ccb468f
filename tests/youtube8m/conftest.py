"""Lets the tests import the programs of examples/youtube8m."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "youtube8m"))
