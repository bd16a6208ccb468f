"""Checkpoints: found, compared with a model before they are restored, and the settings that are kept beside them."""

import json
import os

import files
import tensorflow.compat.v1 as tf
from commandline import UserError

SETTINGS = "settings.json"


def latest(path):
    """The name of a checkpoint, from itself or from the directory whose latest it is.

    Raises:
      UserError: if there is none.
    """
    name = tf.train.latest_checkpoint(path) if tf.io.gfile.isdir(path) else path
    if name is None or not tf.train.checkpoint_exists(name):
        raise UserError(f"{path}: no checkpoint")
    return name


def compare(checkpoint, variables):
    """Finds out whether a checkpoint holds all of the variables, a list, in their shapes.

    Raises:
      UserError: if not, which says what variables differ, or that the checkpoint cannot be read.
    """
    try:
        shapes = tf.train.NewCheckpointReader(checkpoint).get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError) as error:  # ValueError in TensorFlow 1
        raise UserError(f"{checkpoint}: {error}") from error
    differences = []
    for name, shape in sorted(_full_shapes(variables).items()):
        if name not in shapes:
            differences.append(f"{name} {shape} is missing")
        elif shapes[name] != shape:
            differences.append(f"{name} is {shapes[name]} where the model has {shape}")
    if differences:
        raise UserError(f"{checkpoint}: of another architecture: {'; '.join(differences)}")


def restore(session, path, variables=None):
    """Restores variables by name from a checkpoint or from the latest of a directory.

    Args:
      session: a session of the default graph.
      path: the checkpoint or the directory.
      variables: a list. Default None: all variables of the model, without the optimiser's.

    Returns:
      The checkpoint's name.

    Raises:
      UserError: if there is no checkpoint, or it is of another architecture; then no variable has changed.
    """
    variables = tf.trainable_variables() + tf.model_variables() if variables is None else variables
    variables = list({variable.name: variable for variable in variables}.values())
    name = latest(path)
    compare(name, variables)
    try:
        tf.train.Saver(variables).restore(session, name)
    except (tf.errors.DataLossError, tf.errors.OutOfRangeError, tf.errors.NotFoundError) as error:
        raise UserError(f"{name}: {error.message}") from error
    return name


def save_settings(directory, settings):
    """Writes a dict of settings beside the checkpoints of the directory, whole or not at all."""
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, SETTINGS)
    with files.whole(path) as partial, open(partial, "w", encoding="utf-8") as file:
        json.dump(settings, file, indent=1, sort_keys=True)


def load_settings(path):
    """The settings that are kept beside a checkpoint, given by name or by its directory; an empty dict if none are."""
    path = os.path.join(path if os.path.isdir(path) else os.path.dirname(path), SETTINGS)
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


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
