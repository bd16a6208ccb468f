"""What the programs share, in order of use: flags, settings, records, model, training, inference."""

import pathlib
import sys

# The directory of `loupe_examples`, which this example shares with examples/digits.py.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from loupe_examples import commandline, errors

__all__ = ["commandline", "errors"]
