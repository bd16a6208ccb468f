"""The published models by name, and the settings for the digits."""

import os

import checkpoints
import prepare_digits
from commandline import UserError

# What the rows of the published table have in common.
PUBLISHED = {
    "feature_names": ("rgb", "audio"),
    "feature_sizes": (1024, 128),
    "num_classes": 3862,
    "max_frames": 300,
    "frame_sampling": "random",
    "iterations": 300,
    "shuffle_buffer": 1000,
    "hidden_size": 1024,
    "relu": False,
    "gating": True,
    "probability_gating": True,
    "mixtures": 2,
    "moe_l2": 1e-6,
    "batch_norm_decay": 0.999,
    "batch_size": 80,
    "learning_rate": 0.0002,
    "learning_rate_decay": 0.8,
    "learning_rate_decay_examples": 4000000,
    "clip_norm": 1.0,
    "steps": 300000,
}
PLAIN = {"gating": False, "probability_gating": False, "moe_l2": 1e-8}

PRESETS = {
    "gated-netvlad": {"pooling": "netvlad", "clusters": 256},
    "gated-netrvlad": {"pooling": "netrvlad", "clusters": 256, "steps": 600000},
    "gated-netfv": {"pooling": "netfv", "clusters": 128, "steps": 600000},
    "soft-dbow": dict(PLAIN, pooling="soft-dbow", clusters=8000, steps=800000),
    # Not in the published table: the same without gates, and the baseline.
    "netvlad": dict(PLAIN, pooling="netvlad", clusters=256),
    "netrvlad": dict(PLAIN, pooling="netrvlad", clusters=256),
    "netfv": dict(PLAIN, pooling="netfv", clusters=128),
    "mean": dict(PLAIN, pooling="mean", clusters=1),
}
DEFAULT = "gated-netvlad"

# In place of the preset's, where the digits are the data: a small model that learns in seconds.
DIGITS = {
    "feature_names": tuple(prepare_digits.FEATURES),
    "feature_sizes": tuple(prepare_digits.FEATURES.values()),
    "num_classes": prepare_digits.NUM_CLASSES,
    "max_frames": prepare_digits.MAX_FRAMES,
    "frame_sampling": "all",
    "iterations": prepare_digits.MAX_FRAMES,
    "clusters": 32,
    "hidden_size": 64,
    # Slower moving averages would not arrive in so few steps.
    "batch_norm_decay": 0.9,
    "batch_size": 64,
    "learning_rate": 0.005,
    # At the end the weights must rest, or the moving averages lag behind them: half of the seeds fell to a GAP of 0.9.
    "learning_rate_decay_examples": 6000,
    "steps": 1000,
}

# What a checkpoint's user has to know to build the model again.
KEPT = [
    "preset", "pooling", "clusters", "hidden_size", "relu", "gating", "probability_gating", "mixtures", "moe_l2",
    "batch_norm_decay", "feature_names", "feature_sizes", "num_classes", "max_frames", "frame_sampling", "iterations",
]  # fmt: skip


def settle(settings, split, saved=False):
    """Fills in what the command line left open: each value that is None or lacks.

    A value comes from, in this order: the command line; with `saved`, the settings kept beside the checkpoint, if they
    are of the same preset; `DIGITS`, if there is no --data; the preset. Without --data the digits are prepared, and
    `settings.data` is their split.

    Args:
      settings: the values of the data and model flags as attributes, which are set. If `checkpoint` is None, it becomes
        checkpoints/PRESET.
      split: train, validate or test.
      saved: whether there is a checkpoint that may have settings.

    Returns:
      The settings.

    Raises:
      UserError: if names and sizes of the features differ in number.
    """
    preset = settings.preset
    if settings.checkpoint is None:
        settings.checkpoint = os.path.join("checkpoints", preset or DEFAULT)
    kept = checkpoints.load_settings(settings.checkpoint) if saved else {}
    if preset not in (None, kept.get("preset")):
        kept = {}
    settings.preset = preset = preset or kept.get("preset", DEFAULT)
    values = dict(PUBLISHED, **PRESETS[preset])
    if settings.data is None:
        values.update(DIGITS)
        settings.data = prepare_digits.prepare(settings.digits)[split]
    values.update(kept)
    for name, value in values.items():
        if getattr(settings, name, None) is None:
            setattr(settings, name, tuple(value) if isinstance(value, list) else value)
    if len(settings.feature_names) != len(settings.feature_sizes):
        raise UserError(
            f"--feature-sizes: expected one for each of {','.join(settings.feature_names)}, "
            f"came {','.join(map(str, settings.feature_sizes))}"
        )
    return settings


def kept(settings):
    """The settings that `checkpoints.save_settings` keeps, a dict."""
    return {name: getattr(settings, name) for name in KEPT}
