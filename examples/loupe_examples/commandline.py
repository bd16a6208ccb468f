"""Command lines: a parser whose errors are one line, the types of its arguments, and the end of a program."""

import argparse
import faulthandler
import logging
import os
import sys
import warnings

from loupe_examples.errors import Interrupted, problem_of, say


CLOSED = 141  # 128 + SIGPIPE


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose help shows the defaults, except None and False."""

    def __init__(self, description):
        super().__init__(description=description, formatter_class=_HelpFormatter)

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action):
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def prepare():
    """Prepares the process for TensorFlow. A program calls it before it imports TensorFlow.

    It silences TensorFlow's own log, unless TF_CPP_MIN_LOG_LEVEL is set. Unless TF_CPU_ALLOCATOR_USE_BFC is set, it has
    TensorFlow keep the memory of a step for the next one on CPUs, as TensorFlow always does on GPUs. Otherwise, without
    oneDNN, the system maps and clears a gigabyte of gradients again in each step.
    """
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        _silence_native_code()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # TensorFlow and scikit-image may import matplotlib, which warns about its cache if there is no home directory.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # protobuf warns about records that hold something else, and also raises an error.
    warnings.filterwarnings("ignore", message="Unexpected end-group tag")


def run(main):
    """Calls `prepare`, runs a program's `main`, and ends the process.

    The status is 0; or 2 with one line on stderr for bad input (see `errors.problem_of`); or, after a signal, 128 plus
    the signal's number (130 on Ctrl-C), with a line that says what was kept, if anything was. It is `CLOSED` if the
    output goes into a pipe that nobody reads any longer.
    """
    prepare()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # Shows characters that the stream cannot encode as escapes.
    try:
        status = _status(main)
    except BrokenPipeError:
        status = CLOSED
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            # At its end, the process would try to write the rest of the stream, and fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if isinstance(error, BrokenPipeError):
                status = CLOSED
            elif status == 0:
                say("error", problem_of(error) or error)
                status = 2
    sys.exit(status)


def _status(main):
    """Calls a program's `main`, says what went wrong, and returns the status of the process."""
    try:
        main()
    except SystemExit as error:  # from argparse
        return error.code
    except KeyboardInterrupt:
        return 130
    except Interrupted as error:
        say("interrupted", error)
        return 128 + error.number
    except BrokenPipeError:
        raise
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        say("error", problem)
        return 2
    return 0


def _silence_native_code():
    """Leaves stderr to Python, because TensorFlow's C++ code logs there whatever its log level is."""
    if sys.stderr is None or sys.stderr is not sys.__stderr__:
        return
    sys.stderr.flush()
    kept = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = sys.__stderr__ = kept
    faulthandler.enable(kept)  # So that a crash of native code is not silent.


def positive(text):
    """A positive integer, as a type of argparse. TensorFlow's sizes end at 2**31."""
    _checked(int, text, lambda value: value > 0, "a positive integer")
    return _checked(int, text, lambda value: value < 2**31, f"an integer below {2**31}")


def above_zero(text):
    """A number above 0, as a type of argparse."""
    return _checked(float, text, lambda value: 0 < value < float("inf"), "a number above 0")


def not_negative(text):
    """A number of at least 0, as a type of argparse."""
    return _checked(float, text, lambda value: 0 <= value < float("inf"), "a number of at least 0")


def factor(text):
    """A number from 0 to 1, as a type of argparse."""
    return _checked(float, text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def decay(text):
    """The decay of a moving average, as a type of argparse. With a decay of 1, the average would never move."""
    return _checked(float, text, lambda value: 0 <= value < 1, "a number from 0 to below 1")


def seed(text):
    """A seed that TensorFlow and NumPy take, as a type of argparse."""
    return _checked(int, text, lambda value: 0 <= value < 2**31, f"an integer from 0 to {2**31 - 1}")


def names(text):
    """Names separated by commas, as a type of argparse."""
    values = tuple(name.strip() for name in text.split(","))
    if not all(value and value.isprintable() for value in values) or len(set(values)) != len(values):
        raise argparse.ArgumentTypeError(f"expected different names separated by commas, got {text!r}")
    return values


def sizes(text):
    """Positive integers separated by commas, as a type of argparse."""
    return tuple(positive(size) for size in text.split(","))


def weights(text):
    """Numbers of at least 0 separated by commas, with a finite sum above 0, as a type of argparse."""
    values = [not_negative(weight) for weight in text.split(",")]
    if not 0 < sum(values) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected weights with a finite sum above 0, got {text}")
    return values


def writable(path):
    """The name of a file that can be written, as a type of argparse, so that this is checked before the training."""
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        path = os.path.expanduser(path)
    directory = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(directory):
        raise argparse.ArgumentTypeError(f"expected a file in a directory that exists, got {path}")
    is_device = os.path.exists(path) and not os.path.isfile(path)
    if os.path.isdir(path) or not os.access(path if is_device else directory, os.W_OK):
        raise argparse.ArgumentTypeError(f"expected a file that can be written, got {path}")
    return path


def _checked(kind, text, is_good, expected):
    try:
        value = kind(text)
        if is_good(value):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {expected}, got {text}")
