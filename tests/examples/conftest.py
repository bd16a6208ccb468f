"""Lets the tests import examples/digits.py, `common` and the modules of examples/forks."""

import pathlib
import sys

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES), str(EXAMPLES / "forks")]
