"""A progress bar."""

import os
import sys
import weakref

from tqdm import tqdm


_bars = weakref.WeakSet()


def bar(iterable=None, **arguments):
    """tqdm's progress bar on stderr; also in a terminal that says it has no size, where tqdm would show nothing."""
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
        arguments = dict(ncols=None if size.columns else 80, nrows=None if size.lines else 24, **arguments)
    except (AttributeError, OSError, ValueError):  # There is no terminal.
        pass
    made = tqdm(iterable, **arguments)
    _bars.add(made)
    return made


def close_all():
    """Ends the lines of all bars, as a program does that writes another line and ends."""
    for made in list(_bars):
        made.close()
