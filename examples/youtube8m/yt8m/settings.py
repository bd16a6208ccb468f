"""The settings of a program in three parts, with the published values as defaults, and the file that keeps them."""

import argparse
import dataclasses
import json
import os
import random
import reprlib

from loupe_examples import files
from loupe_examples.commandline import above_zero, decay, factor, names, not_negative, positive, seed, sizes
from loupe_examples.errors import UserError

from yt8m.presets import DEFAULT, DIGITS, PRESETS

FILE = "settings.json"


def _flag(default, help, **arguments):
    """A setting with a flag of the same name. The arguments are those of argparse's `add_argument`."""
    return dataclasses.field(default=default, metadata=dict(arguments, help=help))


@dataclasses.dataclass
class Data:
    """Which videos are read, and how."""

    files: list = None  # names or patterns of TFRecord files; None: the digits
    digits: str = "digits"  # the directory of the digits
    skip_corrupt: bool = False  # whether damaged files and bad videos are counted and skipped
    feature_names: tuple = _flag(("rgb", "audio"), "the features that are read, such as rgb,audio or rgb", type=names)
    feature_sizes: tuple = _flag((1024, 128), "the bytes of each feature per frame, such as 1024,128", type=sizes)
    num_classes: int = _flag(3862, "how many classes there are: 3862 from 2018 on, 4716 before", type=positive)
    max_frames: int = _flag(300, "how many leading frames of a video are read", type=positive)
    frame_sampling: str = _flag(
        "random",
        "random: --iterations frames drawn with replacement; run: as many consecutive frames; all: all frames",
        choices=("random", "run", "all"),
    )
    iterations: int = _flag(300, "how many frames of a video are sampled", type=positive)
    batch_size: int = _flag(80, "how many videos a batch has", type=positive)
    readers: int = _flag(8, "how many files are read at a time", type=positive)
    shuffle_buffer: int = 1000  # how many videos are kept in memory for shuffling, in training


@dataclasses.dataclass
class Architecture:
    """Which model is built. None means that the model has no such setting."""

    pooling: str = None  # a key of `model.POOLINGS` or of `recurrent.CELLS`
    clusters: int = _flag(None, "how many clusters the first feature has", type=positive)
    hidden_size: int = _flag(1024, "the width of the pooled video", type=positive)
    mixtures: int = _flag(2, "how many experts each class has", type=positive)
    cells: int = _flag(None, "how many cells a layer of gru or lstm has", type=positive)
    layers: int = _flag(None, "how many layers gru or lstm has", type=positive)
    moe_l2: float = _flag(1e-6, "the weight of the experts' and their gates' L2 penalty", type=not_negative)
    batch_norm_decay: float = _flag(0.999, "the decay of batch norm's moving averages", type=decay)
    relu: bool = _flag(False, "batch norm and relu6 after the projection, instead of biases")
    gating: bool = _flag(True, "Context Gating of the pooled video")
    probability_gating: bool = _flag(True, "Context Gating of the class probabilities")


@dataclasses.dataclass
class Training:
    """How the model is trained."""

    steps: int = _flag(300000, "how many steps the model is trained, in all runs", type=positive)
    learning_rate: float = _flag(0.0002, "the initial learning rate of Adam", type=not_negative)
    learning_rate_decay: float = _flag(0.8, "the factor of each decay of the learning rate", type=factor)
    learning_rate_decay_examples: int = _flag(4000000, "how many videos are seen between decays", type=positive)
    clip_norm: float = _flag(1.0, "the largest norm of a variable's gradient; 0: not clipped", type=not_negative)
    seed: int = _flag(None, "the seed of weights and order of videos (default: the first run's)", type=seed)
    towers: int = _flag(None, "how many devices share a batch (default: as many GPUs as divide it)", type=positive)
    checkpoint_seconds: int = _flag(600, "how many seconds pass between two checkpoints", type=positive)
    keep: int = _flag(5, "how many checkpoints are kept", type=positive)
    wait_seconds: float = _flag(600, "how many seconds a cluster's chief or server may be silent", type=above_zero)
    summary_steps: int = _flag(100, "how many steps pass between TensorBoard's scalars", type=positive)


@dataclasses.dataclass
class Settings:
    """All settings of a program."""

    preset: str
    checkpoint: str  # the directory of the checkpoints, or one of them
    data: Data
    architecture: Architecture
    training: Training


# The settings that are needed to build the model of a checkpoint again.
_KEPT = ["feature_names", "feature_sizes", "num_classes", "max_frames", "frame_sampling", "iterations"]
_KEPT += [field.name for field in dataclasses.fields(Architecture)]


def of_preset(preset, checkpoint=None, **values):
    """The settings of a preset, some of them replaced by `values`."""
    result = Settings(preset, checkpoint, Data(), Architecture(), Training())
    for name, value in dict(PRESETS[preset], **values).items():
        (part,) = [part for part in (result.data, result.architecture, result.training) if hasattr(part, name)]
        setattr(part, name, value)
    return result


def settle(options, saved=False):
    """The settings of a command line, whose values are attributes of `options`, or None where they are not given.

    Each value is the first that exists of these: the one on the command line; with `saved`, the one kept beside the
    checkpoint, if that has the same preset; the one in `DIGITS`, if no files are given; the preset's.

    Raises:
      UserError: if a setting is given that the preset's model does not have, names and sizes of the features differ in
        number, the kept settings are malformed, or TensorFlow would take the checkpoint's name for a pattern.
    """
    given = {name: value for name, value in vars(options).items() if value is not None}
    checkpoint = given.get("checkpoint") or os.path.join("checkpoints", given.get("preset", DEFAULT))
    checkpoint = files.for_tensorflow(checkpoint).rstrip("/" + os.sep) or os.sep
    # TensorFlow takes a backslash for a part of a pattern too, except on Windows, where it separates directories.
    for character in "*?[" + "\\" * (os.sep == "/"):
        if character in checkpoint:
            raise UserError(f"{checkpoint}: expected no {character}, which TensorFlow takes for a pattern")
    for path in (checkpoint, os.path.join(checkpoint, "checkpoint")):
        if os.path.lexists(path) and not os.path.isdir(path):
            files.readable(path)
    kept = load(checkpoint) if saved else {}
    if given.get("preset") not in (None, kept.get("preset")):
        kept = {}
    preset = given.get("preset") or kept.get("preset", DEFAULT)
    usual, values = _values(of_preset(preset)), {}
    for field in dataclasses.fields(Architecture):
        if usual[field.name] is None and field.name in given:
            raise UserError(f"{field.name}: expected a preset whose model has this, got {preset}")
    if "files" not in given:
        values.update({name: value for name, value in DIGITS.items() if usual[name] is not None})
    values.update({name: kept[name] for name in _KEPT if name in kept})
    values.update({name: given[name] for name in usual if name in given})
    result = of_preset(preset, checkpoint, **values)
    names, sizes = result.data.feature_names, result.data.feature_sizes
    if len(names) != len(sizes):
        raise UserError(f"feature_sizes: expected one for each of {','.join(names)}, got {','.join(map(str, sizes))}")
    return result


def settle_seed(settings, resumes):
    """Sets the seed of the training, which all its runs share. Raises a `UserError` if another seed is given."""
    training = settings.training
    began = load(settings.checkpoint).get("seed") if resumes else None
    if training.seed is None:
        training.seed = random.randrange(2**31) if began is None else began
    elif resumes and began != training.seed:
        known = "whose seed is not known" if began is None else f"with seed {began}"
        raise UserError(f"{settings.checkpoint}: expected a training run with seed {training.seed}, got one {known}")


def model_values(settings):
    """The settings that are needed to build the model of a checkpoint again, a dict."""
    values = _values(settings)
    return dict(preset=settings.preset, **{name: values[name] for name in _KEPT})


def save(settings):
    """Writes the settings beside the checkpoints, whole or not at all."""
    kept = dict(model_values(settings), seed=settings.training.seed, steps=settings.training.steps)
    path = os.path.join(settings.checkpoint, FILE)
    with files.whole(path) as partial, open(partial, "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=1, sort_keys=True)


def load(checkpoint):
    """The settings that are kept beside a checkpoint or in its directory, by name; an empty dict if none are."""
    path = os.path.join(checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint), FILE)
    if not os.path.exists(path):
        return {}
    try:
        with open(files.readable(path), encoding="utf-8") as file:
            kept = json.load(file)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path}: expected JSON: {error}") from error
    if not isinstance(kept, dict):
        raise UserError(f"{path}: expected settings by name, got {reprlib.repr(kept)}")
    kept = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
    preset = kept.get("preset", DEFAULT)
    if preset not in list(PRESETS):  # A list, because a value may have no hash.
        raise UserError(f"{path}: preset: expected one of {', '.join(PRESETS)}, got {reprlib.repr(preset)}")
    usual = _values(of_preset(preset))
    for name in [*_KEPT, "seed", "steps"]:
        if name in kept and not _is_possible(name, kept[name], usual[name]):
            problem = f"expected a value such as {0 if name == 'seed' else usual[name]}, got {reprlib.repr(kept[name])}"
            raise UserError(f"{path}: {name}: {problem}")
    return kept


def _is_possible(name, value, usual):
    """Whether the setting's flag accepts the value. `usual` is the preset's value."""
    parts = (Data, Architecture, Training)
    (flag,) = [field.metadata for part in parts for field in dataclasses.fields(part) if field.name == name]
    if name == "pooling":
        return value == usual
    if "choices" in flag:
        return value in flag["choices"]
    if value is None or "type" not in flag or (usual is None and name != "seed"):
        return type(value) is type(usual)
    try:
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        return flag["type"](text) == value
    except (argparse.ArgumentTypeError, RecursionError, ValueError):
        return False


def _values(settings):
    """All settings but preset and checkpoint by name, a dict."""
    return {**vars(settings.data), **vars(settings.architecture), **vars(settings.training)}
