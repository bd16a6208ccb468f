"""The settings of a program in three parts, with the published values as defaults, and the file that keeps them."""

import dataclasses
import json
import os
import random

from loupe_examples import files
from loupe_examples.errors import UserError

from yt8m.presets import DEFAULT, DIGITS, PRESETS

FILE = "settings.json"

SAMPLINGS = ("random", "run", "all")


@dataclasses.dataclass
class Data:
    """Which videos are read, and how."""

    files: list = None  # names or patterns of TFRecord files; None: the digits
    digits: str = "digits"  # the directory of the digits
    feature_names: tuple = ("rgb", "audio")  # the features that are read
    feature_sizes: tuple = (1024, 128)  # how many bytes a frame has of each feature
    num_classes: int = 3862
    max_frames: int = 300  # how many leading frames of a video are read
    frame_sampling: str = "random"  # random, run or all, as --help explains
    iterations: int = 300  # how many frames are sampled, unless all are taken
    batch_size: int = 80
    shuffle_buffer: int = 1000  # among how many videos the next one is drawn in training
    readers: int = 8  # how many files are read at a time
    skip_corrupt: bool = False  # whether damaged files and bad videos are counted and skipped


@dataclasses.dataclass
class Architecture:
    """What model is built. None: the model has no such thing."""

    pooling: str = None  # a key of `model.POOLINGS` or of `recurrent.CELLS`
    clusters: int = None  # of the first feature
    hidden_size: int = 1024  # the width of the pooled video
    cells: int = None  # in each recurrent layer
    layers: int = None  # how many recurrent layers there are
    relu: bool = False  # batch norm and relu6 after the projection, instead of biases
    gating: bool = True  # Context Gating of the pooled video
    probability_gating: bool = True  # Context Gating of the class probabilities
    mixtures: int = 2  # how many experts each class has
    moe_l2: float = 1e-6  # the weight of the experts' L2 penalty
    batch_norm_decay: float = 0.999  # of the moving averages


@dataclasses.dataclass
class Training:
    """How the model is trained."""

    steps: int = 300000  # in all runs together
    learning_rate: float = 0.0002  # of Adam, at first
    learning_rate_decay: float = 0.8  # the factor of each decay
    learning_rate_decay_examples: int = 4000000  # how many videos are seen from one decay to the next
    clip_norm: float = 1.0  # the largest norm of a variable's gradient; 0: any
    seed: int = None  # of the initial weights and the order of the videos; see `settle_seed`
    towers: int = None  # how many devices share a batch; None: all GPUs
    checkpoint_seconds: int = 600  # between two checkpoints
    keep: int = 5  # how many checkpoints are kept
    wait_seconds: float = 600  # in a cluster, how long a silent chief or parameter server is waited for
    summary_steps: int = 100  # between two of TensorBoard's scalars


@dataclasses.dataclass
class Settings:
    """All settings of a program."""

    preset: str
    checkpoint: str  # the directory of the checkpoints, or one of them
    data: Data
    architecture: Architecture
    training: Training


# What a checkpoint's user needs beside the architecture to build the model again.
_KEPT_OF_DATA = ("feature_names", "feature_sizes", "num_classes", "max_frames", "frame_sampling", "iterations")


def of_preset(preset, checkpoint=None, **values):
    """The settings of a preset, with other values for some of them, by name."""
    values = dict(_values_of(preset), **values)
    parts = [part(**{name: values.pop(name) for name in _names(part)}) for part in (Data, Architecture, Training)]
    if values:
        raise TypeError(f"expected names of settings, got {', '.join(values)}")
    return Settings(preset, checkpoint, *parts)


def settle(options, saved=False):
    """The settings of a command line.

    A value is, in this order, that of the command line; with `saved`, the one kept beside the checkpoint, if it is of
    the same preset; that of `DIGITS`, if no files are given; that of the preset.

    Args:
      options: the values of the flags as attributes. None: not given.
      saved: whether the settings beside the checkpoint count.

    Raises:
      UserError: if a setting is given that the preset's model does not have, names and sizes of the features differ in
        number, or the kept settings are malformed.
    """
    given = {name: value for name, value in vars(options).items() if value is not None}
    checkpoint = given.get("checkpoint") or os.path.join("checkpoints", given.get("preset", DEFAULT))
    # A backslash too, but on Windows it is a separator.
    for character in "*?[" + "\\" * (os.sep == "/"):
        if character in checkpoint:
            raise UserError(f"{checkpoint}: expected no {character}, which TensorFlow takes for a pattern")
    kept = load(checkpoint) if saved else {}
    if given.get("preset") not in (None, kept.get("preset")):
        kept = {}
    preset = given.get("preset") or kept.get("preset", DEFAULT)
    values = _values_of(preset)
    names = list(values)
    for name in _names(Architecture):
        if values[name] is None and name in given:
            raise UserError(f"{name}: expected a preset whose model has this, got {preset}")
    if "files" not in given:
        values.update({name: value for name, value in DIGITS.items() if values[name] is not None})
    values.update({name: kept[name] for name in _kept_names() if name in kept})
    values.update({name: given[name] for name in names if name in given})
    result = of_preset(preset, checkpoint, **values)
    if len(result.data.feature_names) != len(result.data.feature_sizes):
        raise UserError(
            f"feature_sizes: expected one for each of {','.join(result.data.feature_names)}, "
            f"got {','.join(map(str, result.data.feature_sizes))}"
        )
    return result


def settle_seed(settings, resumes):
    """Sets the seed of a training, which is one for all its runs: the one with which it began, or else any.

    Raises:
      UserError: if another seed is asked for than that with which the training began.
    """
    training = settings.training
    began = load(settings.checkpoint).get("seed") if resumes else None
    if training.seed is None:
        training.seed = random.randrange(2**31) if began is None else began
    elif resumes and began != training.seed:
        known = "whose seed is not known" if began is None else f"with seed {began}"
        raise UserError(f"{settings.checkpoint}: expected a training with seed {training.seed}, got one {known}")


def model_values(settings):
    """What a checkpoint's user needs to build the model again, a dict."""
    values = {**vars(settings.data), **vars(settings.architecture)}
    return dict(preset=settings.preset, **{name: values[name] for name in _kept_names()})


def save(settings):
    """Writes the settings beside the checkpoints, whole or not at all."""
    os.makedirs(settings.checkpoint, exist_ok=True)
    kept = dict(model_values(settings), seed=settings.training.seed, steps=settings.training.steps)
    path = os.path.join(settings.checkpoint, FILE)
    try:
        with files.whole(path) as partial, open(partial, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1, sort_keys=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def load(checkpoint):
    """The settings that are kept beside a checkpoint, given by name or by its directory; an empty dict if none are."""
    path = os.path.join(checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint), FILE)
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
    except (OSError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(kept, dict):
        raise UserError(f"{path}: expected settings by name, got {kept!r}")
    kept = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
    preset = kept.get("preset", DEFAULT)
    if not isinstance(preset, str) or preset not in PRESETS:
        raise UserError(f"{path}: preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
    usual = _values_of(preset)
    for name in kept:
        if name in usual and not _is_possible(name, kept[name], usual[name]):
            raise UserError(f"{path}: {name}: expected a value such as {usual[name]}, got {kept[name]!r}")
    return kept


def _is_possible(name, value, usual):
    """Whether a value that was kept is one that the setting of a preset can have. `usual` is the preset's."""
    if name in _names(Training):
        return value is None or type(value) is int and 0 <= value < 2**31  # seed and steps
    if name in ("frame_sampling", "pooling"):
        return value in (SAMPLINGS if name == "frame_sampling" else [usual])
    if isinstance(usual, tuple):
        return isinstance(value, tuple) and len(value) > 0 and all(_is_possible("", item, usual[0]) for item in value)
    if isinstance(usual, float):
        return type(value) in (int, float) and 0 <= value < float("inf")
    return type(value) is type(usual) and (type(value) is not int or 0 < value < 2**31)


def _names(part):
    return [field.name for field in dataclasses.fields(part)]


def _kept_names():
    return [*_names(Architecture), *_KEPT_OF_DATA]


def _values_of(preset):
    """All settings of a preset by name, a dict."""
    fields = [field for part in (Data, Architecture, Training) for field in dataclasses.fields(part)]
    return dict({field.name: field.default for field in fields}, **PRESETS[preset])
