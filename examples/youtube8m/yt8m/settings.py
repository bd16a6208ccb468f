"""The settings of a program: what the command line leaves open filled in, and what is kept beside the checkpoints."""

import argparse
import json
import os
import random

from loupe_examples import files
from loupe_examples.errors import UserError

from yt8m.presets import DEFAULT, DIGITS, PRESETS, PUBLISHED

FILE = "settings.json"

# What a checkpoint's user has to know to build the model again.
MODEL = [
    "preset", "pooling", "clusters", "hidden_size", "cells", "layers", "relu", "gating", "probability_gating",
    "mixtures", "moe_l2", "batch_norm_decay", "feature_names", "feature_sizes", "num_classes", "max_frames",
    "frame_sampling", "iterations",
]  # fmt: skip


def settle(options, saved=False):
    """The options of a command line, with a value for each setting that it leaves open.

    Args:
      options: the values of the flags as attributes; None, or none, are those that were not given.
      saved: whether there may be a checkpoint, whose settings count more than the preset's.

    Returns:
      A namespace of its own. A value is, in this order, that of the command line; with `saved`, that kept beside the
      checkpoint, if it is of the same preset; that of `DIGITS`, if there is no `data`; that of the preset.

    Raises:
      UserError: if a flag is given that the preset's model does not have, names and sizes of the features differ in
        number, or the kept settings are malformed.
    """
    settings = argparse.Namespace(**vars(options))
    if settings.checkpoint is None:
        settings.checkpoint = os.path.join("checkpoints", settings.preset or DEFAULT)
    kept = load(settings.checkpoint) if saved else {}
    if settings.preset not in (None, kept.get("preset")):
        kept = {}
    settings.preset = settings.preset or kept.get("preset", DEFAULT)
    _check_given(settings)
    for name, value in _defaults(settings, kept).items():
        if getattr(settings, name, None) is None:
            setattr(settings, name, value)
    _check_features(settings)
    return settings


def settle_seed(settings, resumes):
    """Sets the seed of a training, which is one for all its runs: that with which it began, or else any.

    Raises:
      UserError: if another one is asked for than that with which the training began.
    """
    began = load(settings.checkpoint).get("seed") if resumes else None
    if settings.seed is None:
        settings.seed = random.randrange(2**31) if began is None else began
    elif resumes and began != settings.seed:
        known = "whose seed is not known" if began is None else f"with --seed {began}"
        raise UserError(f"{settings.checkpoint}: expected a training with --seed {settings.seed}, got one {known}")


def save(settings):
    """Writes the settings beside the checkpoints, whole or not at all."""
    os.makedirs(settings.checkpoint, exist_ok=True)
    kept = {name: getattr(settings, name) for name in MODEL}
    kept.update({name: getattr(settings, name, None) for name in ("seed", "steps")})
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
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(kept, dict):
        raise UserError(f"{path}: expected settings by name, got {kept!r}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}


def _defaults(settings, kept):
    """The values that take the place of those that are not given, a dict."""
    values = dict(PUBLISHED, **PRESETS[settings.preset])
    if settings.data is None:
        values.update({name: value for name, value in DIGITS.items() if values[name] is not None})
    values.update({name: kept[name] for name in MODEL if name in kept})
    return values


def _check_given(settings):
    for name, value in dict(PUBLISHED, **PRESETS[settings.preset]).items():
        if value is None and getattr(settings, name, None) is not None:
            flag = ("--no-" if getattr(settings, name) is False else "--") + name.replace("_", "-")
            raise UserError(f"{flag}: expected a preset whose model has this, got {settings.preset}")


def _check_features(settings):
    if len(settings.feature_names) != len(settings.feature_sizes):
        raise UserError(
            f"--feature-sizes: expected one for each of {','.join(settings.feature_names)}, "
            f"got {','.join(map(str, settings.feature_sizes))}"
        )
