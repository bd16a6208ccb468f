"""A progress bar."""

import os
import sys

from tqdm import tqdm


def bar(iterable=None, **arguments):
    """tqdm's progress bar on stderr; also in a terminal that says it has no size, where tqdm would show nothing."""
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # There is no terminal.
        return tqdm(iterable, **arguments)
    return tqdm(iterable, ncols=None if size.columns else 80, nrows=None if size.lines else 24, **arguments)
