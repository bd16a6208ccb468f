"""What the programs of this example share on their command lines: flags, and errors of one line."""

import argparse
import codecs
import logging
import os
import re
import sys

# TensorFlow logs to stderr. This has to come before its import; what needs no TensorFlow does not wait for it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# How an error that was found inside a tf.data pipeline comes through TensorFlow's own text around it.
PROBLEM = "<problem>{}</problem>"


class UserError(Exception):
    """Bad input. The message is one line that names the file, the flag or the variable, and the cause."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def __init__(self, description):
        super().__init__(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def run(main):
    """Runs a program's `main`, and ends the process: with status 0; or with status 2 and one line on stderr, without
    a traceback, for a `UserError` or a problem that the input pipeline found; or with status 130 on Ctrl-C."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        _say("error", problem)
        sys.exit(2)
    sys.exit(0)


def problem_of(error):
    """What an exception says about bad input: the text of a `UserError`, or of a problem that the input pipeline found
    and TensorFlow wrapped into an error of its own; None for other exceptions."""
    if isinstance(error, UserError):
        return str(error)
    found = re.search(PROBLEM.format("(.*?)"), str(error), re.DOTALL)
    # TensorFlow's Assert shows bytes in C's escapes.
    return found and codecs.escape_decode(found.group(1).encode("utf-8"))[0].decode("utf-8", "replace")


def warn(message):
    """One line on stderr; the program goes on."""
    _say("warning", message)


def _say(kind, message):
    line = " ".join(str(message).split())
    print(f"{os.path.basename(sys.argv[0])}: {kind}: {line}", file=sys.stderr, flush=True)


def positive(text):
    """A positive integer, as a type of argparse."""
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("expected a positive integer, came " + text)
    return value


def not_negative(text):
    """A number of at least 0, as a type of argparse."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("expected a number of at least 0, came " + text)
    return value


def fraction(text):
    """A number between 0 and 1, as a type of argparse."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("expected a number from 0 to 1, came " + text)
    return value


def names(text):
    """Names with commas between, as a type of argparse."""
    values = tuple(name.strip() for name in text.split(","))
    if not all(values) or len(set(values)) != len(values):
        raise argparse.ArgumentTypeError("expected different names with commas between, came " + repr(text))
    return values


def sizes(text):
    """Positive integers with commas between, as a type of argparse."""
    return tuple(positive(size) for size in text.split(","))


def add_data_flags(parser, split):
    """Adds the flags that say which records are read, and how. `presets.settle` fills in what was not given."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        nargs="+",
        metavar="PATTERN",
        help=f"TFRecord files of frame-level features, as names or patterns such as 'data/{split}*.tfrecord'; "
        "None: the digits, which are prepared first",
    )
    group.add_argument("--digits", default="digits", metavar="DIRECTORY", help="where the digits are, or shall be")
    group.add_argument("--feature-names", type=names, help="the features that are read, such as rgb,audio or rgb")
    group.add_argument("--feature-sizes", type=sizes, help="how many bytes a frame has of each, such as 1024,128")
    group.add_argument(
        "--num-classes", type=positive, help="how many classes there are: 3862 from 2018 on, 4716 before"
    )
    group.add_argument("--max-frames", type=positive, help="how many leading frames of a video are read")
    group.add_argument(
        "--frame-sampling",
        choices=["random", "run", "all"],
        help="random: --iterations frames drawn with replacement; run: as many in a row; all: all frames there are",
    )
    group.add_argument("--iterations", type=positive, help="how many frames are sampled of a video")
    group.add_argument("--batch-size", type=positive, help="how many videos a batch has")
    group.add_argument("--readers", type=positive, default=8, help="how many files are read at a time")
    group.add_argument("--skip-corrupt", action="store_true", help="count corrupt and truncated files, and go on")


def add_model_flags(parser, presets):
    """Adds the flags that say which model is built, `presets` being the names that --preset takes."""
    group = parser.add_argument_group("model", "What is not given is as the preset has it.")
    group.add_argument(
        "--preset", choices=presets, metavar="NAME", help=f"one of {', '.join(presets)}; None: gated-netvlad"
    )
    group.add_argument("--clusters", type=positive, help="how many clusters the frames' first feature has")
    group.add_argument("--hidden-size", type=positive, help="the width of the pooled video")
    group.add_argument("--mixtures", type=positive, help="how many experts each class has")
    group.add_argument("--moe-l2", type=not_negative, help="the weight of the experts' and their gates' L2 penalty")
    group.add_argument("--batch-norm-decay", type=fraction, help="the decay of batch norm's moving averages")
    for switch, help in [
        ("relu", "batch norm and relu6 after the projection, instead of biases"),
        ("gating", "Context Gating of the pooled video"),
        ("probability-gating", "Context Gating of the class probabilities"),
    ]:
        key = switch.replace("-", "_")
        group.add_argument("--" + switch, dest=key, action="store_true", default=None, help=help)
        group.add_argument("--no-" + switch, dest=key, action="store_false", default=None, help="without it")
