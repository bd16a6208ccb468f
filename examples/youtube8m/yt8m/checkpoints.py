"""Checkpoints: found, compared with a model, and restored."""

import contextlib
import glob
import os
import re
import shutil

import tensorflow.compat.v1 as tf
from loupe_examples.errors import UserError, note, problem_of

from yt8m.presets import PRESETS
from yt8m.settings import FILE, load, model_values, of_preset

SHOWN = 3  # How many of the variables that differ an error names.


def latest(path):
    """The name of a checkpoint, from its name, one of its files, or the directory whose latest it is.

    Raises:
      UserError: if there is none.
    """
    if tf.io.gfile.isdir(path):
        name = tf.train.latest_checkpoint(path)
        if name is None or not exists(name):
            there = sorted(file[: -len(".index")] for file in tf.io.gfile.listdir(path) if file.endswith(".index"))
            found = f" named by a file `checkpoint`, but {', '.join(there)}" if there else ""
            raise UserError(f"{path}: no checkpoint{found}")
        return name
    for name in (re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path), path):
        if exists(name):
            return name
    raise UserError(f"{path}: no checkpoint")


def exists(name):
    """Whether there is a checkpoint of that name. One that is being removed loses its data first."""
    return tf.train.checkpoint_exists(name) and bool(tf.io.gfile.glob(name + ".data-*") or os.path.isfile(name))


def following(path, timeout=None):
    """Yields each new checkpoint of a directory, the latest first, and waits for others.

    Args:
      path: the directory, which may be created later.
      timeout: how many seconds to wait for the next checkpoint. Default None: without end.

    Raises:
      UserError: if the path is something else, such as a checkpoint, or if it is not created in time.
    """
    if not os.path.isdir(path):
        if os.path.exists(path) or os.path.isfile(path + ".index"):
            raise UserError(f"continuous: expected a directory of checkpoints, got {path}")
        note(f"{path}: is not there yet; waiting for a training to make it")
    yield from tf.train.checkpoints_iterator(path, timeout=timeout)
    if not os.path.isdir(path):
        raise UserError(f"{path}: expected a directory of checkpoints, found none in {timeout:g} seconds")


def is_last(checkpoint):
    """Whether a checkpoint is the one that its training ends with, as far as the settings beside it tell."""
    steps = load(checkpoint).get("steps")
    try:
        return steps is not None and step_of(checkpoint) >= steps
    except UserError:  # It was removed, or holds no step.
        return False


@contextlib.contextmanager
def named(path):
    """A context in which an error of TensorFlow becomes a `UserError`: the problem that was found in a record, or else
    the path, of a checkpoint or its directory, and what TensorFlow says.
    """
    try:
        yield
    except tf.errors.OpError as error:
        raise UserError(problem_of(error) or f"{path}: {_cause(error)}") from error


def _cause(error):
    """What TensorFlow says of an error, without the operation and where it was made."""
    message = re.sub("^Graph execution error:.*?Node: '[^']*'", "", error.message, flags=re.DOTALL)
    return message.split("[[")[0].strip()


def remove_unfinished(directory):
    """Removes what processes have left behind that were killed while they wrote a checkpoint."""
    # Of the variables; of other files that TensorFlow writes, such as the graph; of the settings.
    tensorflows = "*.tmp" + "[0-9a-f]" * 32
    for pattern in ("model.ckpt-*.tempstate*", "model.ckpt-*_temp*", tensorflows, f"{FILE}.*.partial"):
        for name in glob.glob(os.path.join(glob.escape(directory), pattern)):
            if os.path.isdir(name):
                shutil.rmtree(name, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.remove(name)


class Saver(tf.train.Saver):
    """Saves all variables, if all are finite; what has been saved, it does not write again.

    Args:
      keep: how many checkpoints are kept.
    """

    def __init__(self, keep):
        # By relative names, a directory that is copied or moved goes on with its own checkpoints.
        super().__init__(max_to_keep=keep, save_relative_paths=True)
        self._checked = [variable for variable in tf.global_variables() if variable.dtype.base_dtype.is_floating]
        finite = []
        for variable in self._checked:
            with tf.device(variable.device):
                finite.append(tf.reduce_all(tf.is_finite(variable)))
        self._finite = tf.stack(finite)

    def save(self, session, save_path, global_step=None, **arguments):
        """As that of TensorFlow.

        Raises:
          UserError: if a variable is not finite, or the checkpoint cannot be written. Then the older ones stay.
        """
        directory, name = os.path.dirname(save_path), f"{save_path}-{global_step}"
        if not os.path.exists(os.path.join(directory, FILE)):  # TensorFlow would make the directory again.
            raise UserError(f"{name}: cannot be written: {directory} was removed")
        # Overwritten, it would be damaged for a moment.
        if tf.train.latest_checkpoint(directory) == name:
            return name
        strange = [v.op.name for v, is_finite in zip(self._checked, session.run(self._finite)) if not is_finite]
        if strange:
            raise UserError(f"{name}: is not written: {strange[0]} is not finite. The checkpoints before it are kept")
        return super().save(session, save_path, global_step=global_step, **arguments)


def step_of(checkpoint):
    """How many steps the model of a checkpoint has been trained, an int; 0 if it is None.

    Raises:
      UserError: if the checkpoint cannot be read or has no `global_step`.
    """
    with named(checkpoint):
        return 0 if checkpoint is None else int(tf.train.NewCheckpointReader(checkpoint).get_tensor("global_step"))


def newest(directory):
    """The name and the step of a directory's latest checkpoint, also while others come and go; None and 0 if there is
    none.

    Raises:
      UserError: if the checkpoint cannot be read, or does not say its step.
    """
    while True:
        name = tf.train.latest_checkpoint(directory)
        try:
            return name, step_of(name)
        except UserError:
            if name == tf.train.latest_checkpoint(directory):
                raise


def compare(checkpoint, variables, settings):
    """Finds out whether a checkpoint holds all of the variables, a list, in their shapes.

    Raises:
      UserError: if not, which names some that differ, and flags; or if the checkpoint cannot be read.
    """
    with named(checkpoint):
        shapes = tf.train.NewCheckpointReader(checkpoint).get_variable_to_shape_map()
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
    """Which settings make the model that of the checkpoint, as far as they are known."""
    kept, built = load(checkpoint), model_values(settings)
    differing = [name for name in built if name in kept and kept[name] != built[name]]
    if "preset" in differing and kept["preset"] in PRESETS:
        implied = model_values(of_preset(kept["preset"]))
        differing = [name for name in differing if name == "preset" or kept[name] != implied[name]]
    if not differing:
        sizes = "clusters, hidden_size" if settings.architecture.cells is None else "cells, layers"
        return f"Look at preset, {sizes}, num_classes and feature_sizes"
    return "It was trained with " + ", ".join(f"{name} {_text(kept[name])}" for name in differing)


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


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
        with named(name):
            tf.train.Saver(variables).restore(session, name)
    except ValueError as error:  # It was removed since it was compared.
        raise UserError(f"{name}: no checkpoint any more") from error
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
