"""Checkpoints: found, compared with a model, and restored."""

import contextlib
import glob
import os
import re
import shutil

import tensorflow.compat.v1 as tf
from loupe_examples.errors import UserError, problem_of

from yt8m.settings import FILE, load, model_values, of_preset

SHOWN = 3  # How many of the variables that differ an error names.


def latest(path):
    """The checkpoint of that name, with one of those files, or the latest of that directory; or a `UserError`."""
    if tf.io.gfile.isdir(path):
        names = [latest_or_none(path)]
    else:
        names = [re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path), path]
    found = [name for name in names if name is not None and tf.train.checkpoint_exists(name)]
    if not found:
        raise UserError(f"{path}: no checkpoint")
    return found[0]


def latest_or_none(directory):
    """The name of a directory's latest checkpoint; None if no checkpoints lie there.

    Raises a `UserError` if some do but the file `checkpoint`, by which TensorFlow finds the latest, names none of them.
    """
    name = tf.train.latest_checkpoint(directory)
    found = sorted(glob.glob(os.path.join(glob.escape(directory), "*.index")))
    if found and (name is None or os.path.realpath(f"{name}.index") not in map(os.path.realpath, found)):
        there = ", ".join(os.path.basename(file)[: -len(".index")] for file in found)
        raise UserError(f"{directory}: no checkpoint named by a file `checkpoint`, but {there}")
    return name


def is_last(checkpoint):
    """Whether a checkpoint is the one that its training ends with, as far as the settings beside it tell."""
    steps = load(checkpoint).get("steps")
    return steps is not None and step_of(checkpoint) >= steps


@contextlib.contextmanager
def named(path):
    """A context in which an error of TensorFlow becomes a `UserError`: the problem that was found in a record, or else
    the path, of a checkpoint or its directory, and what TensorFlow says.
    """
    try:
        yield
    except tf.errors.OpError as error:
        # Without the operation and where it was made.
        cause = re.sub("^Graph execution error:.*?Node: '[^']*'", "", error.message, flags=re.DOTALL).split("[[")[0]
        raise UserError(problem_of(error) or f"{path}: {cause.strip()}") from error


def remove_unfinished(directory):
    """Removes what processes have left behind that were killed while they wrote a checkpoint."""
    # Of the variables; of other files that TensorFlow writes, such as the graph; of the settings.
    for pattern in ("model.ckpt-*.tempstate*", "model.ckpt-*_temp*", "*.tmp" + "[0-9a-f]" * 32, f"{FILE}.*.partial"):
        for name in glob.glob(os.path.join(glob.escape(directory), pattern)):
            shutil.rmtree(name, ignore_errors=True)  # A directory; a file stays.
            with contextlib.suppress(OSError):
                os.remove(name)


class Saver(tf.train.Saver):
    """Saves all variables, if all are finite, and keeps so many checkpoints. It writes none a second time."""

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
        """As that of TensorFlow, or a `UserError` if a variable is not finite. Then the older checkpoints stay."""
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
    """How many steps the model of a checkpoint has been trained, an int; 0 if it is None."""
    with named(checkpoint):
        return 0 if checkpoint is None else int(tf.train.NewCheckpointReader(checkpoint).get_tensor("global_step"))


def newest(directory):
    """The name and the step of a directory's latest checkpoint; None and 0 if there is none."""
    name = tf.train.latest_checkpoint(directory)
    return name, step_of(name)


def compare(checkpoint, variables, settings):
    """Raises a `UserError` if a checkpoint does not hold all of the variables, a list, in their shapes."""
    with named(checkpoint):
        shapes = tf.train.NewCheckpointReader(checkpoint).get_variable_to_shape_map()
    expected = _full_shapes(variables)
    differing = [name for name in expected if shapes.get(name) != expected[name]]
    if not differing:
        return
    # What an optimiser keeps of a variable differs where the variable does.
    of_model = _full_shapes(tf.trainable_variables() + tf.model_variables())
    differing = [name for name in differing if name in of_model] or differing
    # The weights first, whose shapes say most.
    differing.sort(key=lambda name: (not name.endswith(("weights", "kernel")), name))
    texts = [f"{name} is {shapes.get(name, 'missing')} where the model has {expected[name]}" for name in differing]
    more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    raise UserError(
        f"{checkpoint}: of another architecture: {'; '.join(texts[:SHOWN])}{more}. {_hint(checkpoint, settings)}"
    )


def _hint(checkpoint, settings):
    """Which settings make the model that of the checkpoint, as far as they are known."""
    kept, built = load(checkpoint), model_values(settings)
    differing = [name for name in built if kept.get(name, built[name]) != built[name]]
    if "preset" in differing:
        implied = dict(model_values(of_preset(kept["preset"])), preset=None)
        differing = [name for name in differing if kept[name] != implied[name]]
    if not differing:
        sizes = "clusters, hidden_size" if settings.architecture.cells is None else "cells, layers"
        return f"Look at preset, {sizes}, num_classes and feature_sizes"
    return "It was trained with " + ", ".join(f"{name} {kept[name]}" for name in differing)


def restore(session, checkpoint, settings):
    """Restores the variables of a model, without those of the optimiser, by their names in a checkpoint.

    Raises a `UserError`, before any variable has changed, if the checkpoint is damaged or of another architecture.
    """
    variables = list({variable.name: variable for variable in tf.trainable_variables() + tf.model_variables()}.values())
    compare(checkpoint, variables, settings)
    with named(checkpoint):
        tf.train.Saver(variables).restore(session, checkpoint)


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
