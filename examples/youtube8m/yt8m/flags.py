"""The flags that programs share. `settings.settle` fills in what the command line leaves open."""

import argparse

from loupe_examples.commandline import Parser, above_zero, decay, factor, names, not_negative, positive, seed, sizes

from yt8m.presets import DEFAULT, PRESETS
from yt8m.settings import SAMPLINGS, Data, Training

_PRESET = "What is not given is the preset's, or the digits' own (see README.md)."
_KEPT = (
    "What is not given is as train.py kept it beside the checkpoint, else the preset's, or the digits' own (README.md)."
)


def training(description):
    """The parser of programs that train."""
    parser = Parser(description)
    parser.add_argument(
        "--checkpoint",
        metavar="DIRECTORY",
        help="where checkpoints, settings and TensorBoard's events are written (default: checkpoints/PRESET)",
    )
    _add_data(parser, "train", _PRESET)
    _add_model(parser, _PRESET, DEFAULT)
    group = parser.add_argument_group("training", _PRESET)
    group.add_argument("--steps", type=positive, help="how many steps the model is trained, in all runs")
    group.add_argument("--learning-rate", type=not_negative, help="of Adam, at first")
    group.add_argument("--learning-rate-decay", type=factor, help="the factor of each decay of the rate")
    group.add_argument("--learning-rate-decay-examples", type=positive, help="from one decay to the next")
    group.add_argument("--clip-norm", type=not_negative, help="of each variable's gradient; 0: not clipped")
    group.add_argument("--shuffle-buffer", type=positive, help="among how many videos the next is drawn")
    group.add_argument(
        "--seed",
        type=seed,
        help="of the initial weights and the order of the videos (default: that with which the training began, or any)",
    )
    group.add_argument("--towers", type=positive, help="how many devices share a batch (default: all GPUs)")
    group.add_argument(
        "--checkpoint-seconds", type=positive, default=Training.checkpoint_seconds, help="between two checkpoints"
    )
    group.add_argument("--keep", type=positive, default=Training.keep, help="how many checkpoints are kept")
    group.add_argument(
        "--wait-seconds",
        type=above_zero,
        default=Training.wait_seconds,
        help="in a cluster, how long nothing may be heard of the chief or a parameter server before the training is "
        "given up",
    )
    group.add_argument(
        "--summary-steps", type=positive, default=Training.summary_steps, help="between TensorBoard's scalars"
    )
    return parser


def inference(description, split):
    """The parser of programs that use a checkpoint on a split of the videos."""
    parser = Parser(description)
    parser.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="a checkpoint, or the directory whose latest it is (default: checkpoints/PRESET)",
    )
    parser.add_argument(
        "--batch-statistics",
        action="store_true",
        help="normalise by the statistics of each batch, as the published program's inference did, and not by the "
        "moving averages; then the videos of a batch influence each other, and --batch-size matters: it had 1024",
    )
    _add_data(parser, split, _KEPT)
    _add_model(parser, _KEPT, f"the checkpoint's, or {DEFAULT}")
    return parser


def add_digits(parser):
    parser.add_argument(
        "--digits", default=Data.digits, metavar="DIRECTORY", help="where the digits are, or will be written"
    )


def add_output(parser, **arguments):
    """Adds what the programs that write a submission file share."""
    parser.add_argument("--output", metavar="FILE", help="the submission file to write", **arguments)
    parser.add_argument("--top", type=positive, default=20, metavar="N", help="how many classes a video gets")


def presets(text):
    """Names of presets with commas between, as a type of argparse."""
    chosen = names(text)
    for name in chosen:
        if name not in PRESETS:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(PRESETS)}, got {name}")
    return chosen


def _add_data(parser, split, source):
    """Adds the flags that say which records are read, and how."""
    group = parser.add_argument_group("data", source)
    group.add_argument(
        "--data",
        dest="files",
        nargs="+",
        metavar="PATTERN",
        help=f"TFRecord files of frame-level features, as names or patterns such as 'data/{split}*.tfrecord' "
        "(default: the digits, which are prepared first)",
    )
    add_digits(group)
    group.add_argument("--feature-names", type=names, help="the features that are read, such as rgb,audio or rgb")
    group.add_argument("--feature-sizes", type=sizes, help="how many bytes a frame has of each, such as 1024,128")
    group.add_argument(
        "--num-classes", type=positive, help="how many classes there are: 3862 from 2018 on, 4716 before"
    )
    group.add_argument("--max-frames", type=positive, help="how many leading frames of a video are read")
    group.add_argument(
        "--frame-sampling",
        choices=SAMPLINGS,
        help="random: --iterations frames drawn with replacement; run: as many in a row; all: all frames there are",
    )
    group.add_argument("--iterations", type=positive, help="how many frames are sampled of a video")
    group.add_argument("--batch-size", type=positive, help="how many videos a batch has")
    group.add_argument("--readers", type=positive, default=Data.readers, help="how many files are read at a time")
    group.add_argument("--skip-corrupt", action="store_true", help="count and skip damaged files and bad videos")


def _add_model(parser, source, preset):
    """Adds the flags that say which model is built."""
    group = parser.add_argument_group("model", source)
    group.add_argument(
        "--preset", choices=PRESETS, metavar="NAME", help=f"one of {', '.join(PRESETS)} (default: {preset})"
    )
    group.add_argument("--clusters", type=positive, help="how many clusters the frames' first feature has")
    group.add_argument("--hidden-size", type=positive, help="the width of the pooled video")
    group.add_argument("--mixtures", type=positive, help="how many experts each class has")
    group.add_argument("--cells", type=positive, help="how many cells a layer of gru or lstm has")
    group.add_argument("--layers", type=positive, help="how many layers gru or lstm has")
    group.add_argument("--moe-l2", type=not_negative, help="the weight of the experts' and their gates' L2 penalty")
    group.add_argument("--batch-norm-decay", type=decay, help="the decay of batch norm's moving averages")
    for switch, help in [
        ("relu", "batch norm and relu6 after the projection, instead of biases"),
        ("gating", "Context Gating of the pooled video"),
        ("probability-gating", "Context Gating of the class probabilities"),
    ]:
        key = switch.replace("-", "_")
        group.add_argument("--" + switch, dest=key, action="store_true", default=None, help=help)
        group.add_argument("--no-" + switch, dest=key, action="store_false", default=None, help="without it")
