"""The flags that programs share. `settings.settle` fills in the values that the command line does not give."""

import argparse
import dataclasses

from loupe_examples.commandline import Parser, names, positive

from yt8m.presets import DEFAULT, DIGITS, PRESETS
from yt8m.settings import Architecture, Data, Training

USUAL = "Other defaults depend on the preset and on the data, or are kept with the checkpoint in use (see README.md)."


def training(description):
    """The parser of programs that train."""
    parser = Parser(description)
    parser.add_argument(
        "--checkpoint", metavar="DIRECTORY", help="directory of checkpoints and settings (default: checkpoints/PRESET)"
    )
    _add_data(parser, "train")
    _add_model(parser, DEFAULT)
    group = parser.add_argument_group("training", USUAL)
    _add_settings(group, Training)
    group.add_argument("--shuffle-buffer", type=positive, help="how many videos are kept in memory for shuffling")
    return parser


def inference(description, split):
    """The parser of programs that use a checkpoint on a split of the videos."""
    parser = Parser(description)
    parser.add_argument(
        "--checkpoint", metavar="PATH", help="a checkpoint, or the directory of one (default: checkpoints/PRESET)"
    )
    parser.add_argument(
        "--batch-statistics",
        action="store_true",
        help="normalise by each batch's own statistics, as in 2017, and not by the moving averages",
    )
    _add_data(parser, split)
    _add_model(parser, f"the checkpoint's, or {DEFAULT}")
    return parser


def add_digits(parser):
    parser.add_argument(
        "--digits", default=Data.digits, metavar="DIRECTORY", help="where the digits are, or will be written"
    )


def add_output(parser, **arguments):
    """Adds the flags of the programs that write a submission file."""
    parser.add_argument("--output", metavar="FILE", help="the submission file to write", **arguments)
    parser.add_argument("--top", type=positive, default=20, metavar="N", help="how many classes of a video are written")


def presets(text):
    """Names of presets, separated by commas, as a type of argparse."""
    if set(names(text)) - set(PRESETS):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(PRESETS)}, got {text}")
    return names(text)


def _add_data(parser, split):
    """Adds the flags that say which records are read, and how."""
    group = parser.add_argument_group("data", USUAL)
    group.add_argument(
        "--data",
        dest="files",
        nargs="+",
        metavar="PATTERN",
        help=f"TFRecord files, as names or patterns such as 'data/{split}*.tfrecord' (default: the digits)",
    )
    add_digits(group)
    group.add_argument("--skip-corrupt", action="store_true", help="count and skip damaged files and bad videos")
    _add_settings(group, Data)


def _add_model(parser, preset):
    """Adds the flags that say which model is built."""
    group = parser.add_argument_group("model", USUAL)
    text = f"one of {', '.join(PRESETS)} (default: {preset})"
    group.add_argument("--preset", choices=PRESETS, metavar="NAME", help=text)
    _add_settings(group, Architecture)


def _add_settings(group, part):
    """Adds the flags of one part of the settings. They have no default: `settle` later fills in missing values."""
    varying = set(DIGITS).union(*PRESETS.values())
    for field in dataclasses.fields(part):
        if not field.metadata:
            continue
        arguments, flag = dict(field.metadata, dest=field.name, default=None), field.name.replace("_", "-")
        if field.name not in varying and field.default is not None:
            arguments["help"] += f" (default: {field.default})"
        if field.type is bool:
            group.add_argument(f"--{flag}", action="store_true", **arguments)
            group.add_argument(f"--no-{flag}", action="store_false", dest=field.name, default=None, help="without it")
        else:
            group.add_argument(f"--{flag}", **arguments)
