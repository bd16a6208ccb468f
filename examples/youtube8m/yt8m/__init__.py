"""Frame-level YouTube-8M, in the data's order: flags, settings, records, model, training, inference."""

import pathlib
import sys

# Where `loupe_examples` is, what this example shares with examples/digits.py.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from loupe_examples import commandline, errors

__all__ = ["commandline", "errors"]
