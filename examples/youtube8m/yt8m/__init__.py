"""Frame-level YouTube-8M, in the data's order: flags, settings, records, model, training, inference."""

import pathlib
import sys

# Where `common` is, what this example shares with examples/digits.py.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from common import commandline, errors

__all__ = ["commandline", "errors"]
