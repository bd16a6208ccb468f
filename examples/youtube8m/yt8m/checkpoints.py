"""Checkpoints: found, compared with a model, and restored."""

import os

import tensorflow.compat.v1 as tf
from common.errors import UserError

from yt8m.presets import PRESETS, PUBLISHED
from yt8m.settings import load

SHOWN = 3  # How many of the variables that differ an error names.

# The settings that say what variables a model has.
ARCHITECTURE = [
    "preset", "clusters", "hidden_size", "cells", "layers", "relu", "gating", "probability_gating", "mixtures",
    "feature_names", "feature_sizes", "num_classes",
]  # fmt: skip


def latest(path):
    """The name of a checkpoint, from itself or from the directory whose latest it is.

    Raises:
      UserError: if there is none.
    """
    name = tf.train.latest_checkpoint(path) if tf.io.gfile.isdir(path) else path
    if name is None or not exists(name):
        raise UserError(f"{path}: no checkpoint")
    return name


def exists(name):
    """Whether there is a checkpoint of that name."""
    return tf.train.checkpoint_exists(name)


def following(path, timeout=None):
    """Yields each new checkpoint of a directory, the latest first, and waits for others.

    Args:
      path: the directory, which may come to be later.
      timeout: end when so many seconds no checkpoint has come. Default None: wait for ever.

    Raises:
      UserError: if the path is a checkpoint, which no other follows.
    """
    if os.path.isfile(path) or os.path.isfile(path + ".index"):  # exists() is true of a directory too
        raise UserError(f"--continuous: expected a directory of checkpoints, got {path}")
    return tf.train.checkpoints_iterator(path, timeout=timeout)


def step_of(checkpoint):
    """How many steps the model of a checkpoint has been trained, an int; 0 if it is None.

    Raises:
      UserError: if the checkpoint cannot be read, or does not say.
    """
    try:
        return 0 if checkpoint is None else int(tf.train.NewCheckpointReader(checkpoint).get_tensor("global_step"))
    except (tf.errors.OpError, ValueError) as error:  # ValueError in TensorFlow 1
        raise UserError(
            f"{checkpoint}: expected the checkpoint of a training, got one without its step: {error}"
        ) from error


def compare(checkpoint, variables, settings):
    """Finds out whether a checkpoint holds all of the variables, a list, in their shapes.

    Raises:
      UserError: if not, which names some that differ, and flags; or if the checkpoint cannot be read.
    """
    try:
        shapes = tf.train.NewCheckpointReader(checkpoint).get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError) as error:  # ValueError in TensorFlow 1
        raise UserError(f"{checkpoint}: {error}") from error
    differences = {}
    # The weights first, whose shapes say most.
    for name, shape in sorted(
        _full_shapes(variables).items(), key=lambda item: (not item[0].endswith(("weights", "kernel")), item)
    ):
        if name not in shapes:
            differences[name] = f"{name} {shape} is missing"
        elif shapes[name] != shape:
            differences[name] = f"{name} is {shapes[name]} where the model has {shape}"
    if differences:
        # What an optimiser keeps of a variable differs where the variable does.
        of_model = _full_shapes(tf.trainable_variables() + tf.model_variables())
        texts = [text for name, text in differences.items() if name in of_model] or list(differences.values())
        more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
        raise UserError(
            f"{checkpoint}: of another architecture: {'; '.join(texts[:SHOWN])}{more}. {_hint(checkpoint, settings)}"
        )


def _hint(checkpoint, settings):
    """Which flags make the model that of the checkpoint, as far as it is known."""
    kept = load(checkpoint)
    differing = [name for name in ARCHITECTURE if name in kept and kept[name] != getattr(settings, name)]
    if "preset" in differing:  # which implies others
        implied = dict(PUBLISHED, **PRESETS.get(kept["preset"], {}))
        differing = [name for name in differing if kept[name] != implied.get(name)]
    if not differing:
        flags = "--clusters, --hidden-size" if settings.cells is None else "--cells, --layers"
        return f"Look at --preset, {flags}, --num-classes and --feature-sizes"
    return "It was trained with " + " ".join(_flag(name, kept[name]) for name in differing)


def _flag(name, value):
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {','.join(map(str, value)) if isinstance(value, tuple) else value}"


def restore(session, path, settings, variables=None):
    """Restores variables by name from a checkpoint or from the latest of a directory.

    Args:
      session: a session of the default graph.
      path: the checkpoint or the directory.
      settings: those of the model.
      variables: a list. Default None: all variables of the model, without the optimiser's.

    Returns:
      The checkpoint's name.

    Raises:
      UserError: if there is no checkpoint, or it is of another architecture; then no variable has changed.
    """
    variables = tf.trainable_variables() + tf.model_variables() if variables is None else variables
    variables = list({variable.name: variable for variable in variables}.values())
    name = latest(path)
    compare(name, variables, settings)
    try:
        tf.train.Saver(variables).restore(session, name)
    except (tf.errors.DataLossError, tf.errors.OutOfRangeError, tf.errors.NotFoundError) as error:
        raise UserError(f"{name}: {error.message}") from error
    return name


def _full_shapes(variables):
    """Name to shape, the parts of a partitioned variable as the one that the checkpoint holds."""
    shapes = {}
    for variable in variables:
        part = variable._get_save_slice_info()
        if part is None:
            shapes[variable.op.name] = variable.shape.as_list()
        else:
            shapes[part.full_name] = list(part.full_shape)
    return shapes
