"""Reports bad input, interruptions, warnings and notes in one line on stderr. Other errors keep their traceback."""

import codecs
import contextlib
import errno
import os
import re
import sys

# Marks a problem that was found inside a tf.data pipeline, because TensorFlow adds text of its own to the message.
PROBLEM = "<problem>{}</problem>"


class UserError(Exception):
    """Bad input. The message is one line that names the file, the flag or the variable, and the cause."""


class Interrupted(Exception):
    """The end of work that a signal has stopped. The message says what was kept.

    Args:
      number: the signal's number.
      message: one line.
    """

    def __init__(self, number, message):
        super().__init__(message)
        self.number = number


def problem_of(error):
    """Returns the message of an exception about bad input, or None for other exceptions.

    Bad input is a `UserError`, a file that cannot be read or written, or a problem in the input pipeline, which
    TensorFlow reports as an error of its own.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename or repr('')}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO):  # The output cannot be written.
        return error.strerror
    found = re.search(PROBLEM.format("(.*?)"), str(error), re.DOTALL)
    # TensorFlow's Assert shows bytes in C's escapes.
    return found and codecs.escape_decode(found.group(1).encode("utf-8"))[0].decode("utf-8", "replace")


def say(kind, message):
    """Writes one line to stderr: the program's name, what kind of message it is, and the message."""
    line = visible(" ".join(str(message).split()))
    with contextlib.suppress(AttributeError, OSError):  # Stderr is closed, and nobody can read the line.
        sys.stderr.write(f"{os.path.basename(sys.argv[0])}: {kind}: {line}\n")
        sys.stderr.flush()


def show(text):
    """Writes a line to stdout, such as the result of a program, with escapes as in `visible`."""
    print(visible(text), flush=True)


def visible(text):
    """The text with escapes in place of characters that are not printable, because a terminal might obey them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def note(message):
    """Writes a note to stderr."""
    say("note", message)


def warn(message):
    """Writes a warning to stderr; the program goes on."""
    say("warning", message)
