"""Bad input, told apart from the programs' own faults; interruptions, warnings, notes: each is one line on stderr."""

import codecs
import os
import re
import sys

# How a problem that was found inside a tf.data pipeline comes through TensorFlow's own text around it.
PROBLEM = "<problem>{}</problem>"


class UserError(Exception):
    """Bad input. The message is one line that names the file, the flag or the variable, and the cause."""


class Interrupted(Exception):
    """The end of what a signal stopped in good order. The message says what was kept.

    Args:
      number: the signal's.
      message: one line.
    """

    def __init__(self, number, message):
        super().__init__(message)
        self.number = number


def problem_of(error):
    """What an exception says about bad input: the text of a `UserError`, or of a problem that the input pipeline found
    and TensorFlow wrapped into an error of its own; None for other exceptions."""
    if isinstance(error, UserError):
        return str(error)
    found = re.search(PROBLEM.format("(.*?)"), str(error), re.DOTALL)
    # TensorFlow's Assert shows bytes in C's escapes.
    return found and codecs.escape_decode(found.group(1).encode("utf-8"))[0].decode("utf-8", "replace")


def say(kind, message):
    """One line on stderr: the program's name, what kind of message it is, and the message."""
    line = visible(" ".join(str(message).split()))
    print(f"{os.path.basename(sys.argv[0])}: {kind}: {line}", file=sys.stderr, flush=True)


def visible(text):
    """The text with escapes in place of what is not printable, which a terminal might obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def note(message):
    """One line on stderr that is no warning."""
    say("note", message)


def warn(message):
    """One line on stderr; the program goes on."""
    say("warning", message)
