"""A progress bar in a terminal, or lines in a log."""

import os
import sys

from tqdm import tqdm


def bar(iterable=None, **arguments):
    """Returns tqdm's progress bar on stderr. If stderr is not a terminal, the bar writes one line a minute."""
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
        # tqdm would show nothing in a terminal that says it has no size.
        arguments = dict(ncols=None if size.columns else 80, nrows=None if size.lines else 24, **arguments)
    except (AttributeError, OSError, ValueError):  # There is no terminal.
        text = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
        arguments = {"delay": 60, **arguments, "file": _Lines(), "bar_format": text, "mininterval": 60, "miniters": 1}
    return tqdm(iterable, **arguments)


def is_closed(bar):
    """Whether the bar's lines go into a pipe that nobody reads any longer."""
    return getattr(bar.fp, "is_closed", False)


class _Lines:
    """Writes tqdm's output to stderr as lines, without the carriage returns and blanks that erase older text."""

    is_closed = False

    def isatty(self):
        return False

    def write(self, text):
        if text.strip() and not self.is_closed and sys.stderr is not None:
            try:
                print(text.strip(), file=sys.stderr, flush=True)
            except BrokenPipeError:
                self.is_closed = True

    def flush(self):
        pass
