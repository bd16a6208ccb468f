"""Finds checkpoints, compares them with a model, and restores them."""

import contextlib
import glob
import os
import re
import shutil

import tensorflow.compat.v1 as tf
from loupe_examples.errors import UserError, problem_of

from yt8m.settings import FILE, load, model_values

SHOWN = 3  # How many differing variables an error names.


def latest(path):
    """Finds a checkpoint by its name, one of its files or its directory, or raises a `UserError`."""
    if tf.io.gfile.isdir(path):
        names = [latest_or_none(path)]
    else:
        names = [re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path), path]
    found = [name for name in names if name is not None and tf.train.checkpoint_exists(name)]
    if not found:
        raise UserError(f"{path}: no checkpoint")
    return found[0]


def latest_or_none(directory):
    """The name of a directory's latest checkpoint; None if it has no checkpoints.

    Raises a `UserError` if the file `checkpoint`, where TensorFlow looks for the latest, does not name one of them.
    """
    if os.path.exists(directory + ".index"):
        raise UserError(f"{directory}: expected a directory, got a checkpoint")
    try:
        name = tf.train.latest_checkpoint(directory)
    except (ValueError, tf.errors.OpError):  # The file `checkpoint` is malformed, or names a missing directory.
        name = None
    found = sorted(glob.glob(os.path.join(glob.escape(directory), "*.index")))
    if not found and not os.path.exists(os.path.join(directory, "checkpoint")):
        return None
    if name is None or os.path.realpath(f"{name}.index") not in map(os.path.realpath, found):
        there = ", ".join(os.path.basename(file)[: -len(".index")] for file in found) or "none"
        raise UserError(f"{directory}: expected a file `checkpoint` that names one of these checkpoints: {there}")
    return name


def is_last(checkpoint):
    """Whether a checkpoint is the one that its training run ends with, as far as the settings beside it tell."""
    steps = load(checkpoint).get("steps")
    return steps is not None and step_of(checkpoint) >= steps


@contextlib.contextmanager
def named(path):
    """A context in which an error of TensorFlow becomes a `UserError`. Its message is the problem that was found in a
    record; or else the path of a checkpoint or its directory, and TensorFlow's message."""
    try:
        yield
    except tf.errors.OpError as error:
        # The message without the operation, the place where it was created, and guesses at the cause.
        cause = error.message.split("Original error:")[-1]
        cause = re.sub("Graph execution error:.*?Node: '[^']*'", "", cause, flags=re.DOTALL).split("[[")[0]
        raise UserError(problem_of(error) or f"{path}: {cause.strip()}") from error


def remove_unfinished(directory):
    """Removes the files of processes that were killed while they wrote a checkpoint."""
    # Parts of the variables, of other files that TensorFlow writes, such as the graph, and of the settings.
    for pattern in ("model.ckpt-*.tempstate*", "model.ckpt-*_temp*", "*.tmp" + "[0-9a-f]" * 32, f"{FILE}.*.partial"):
        for name in glob.glob(os.path.join(glob.escape(directory), pattern)):
            shutil.rmtree(name, ignore_errors=True)  # Removes a directory, and ignores a file.
            with contextlib.suppress(OSError):
                os.remove(name)


class Saver(tf.train.Saver):
    """Saves all variables, if all are finite, and keeps the last `keep` checkpoints. It writes each only once."""

    def __init__(self, keep):
        # With relative names, a training run in a copied or moved directory continues from the checkpoints there.
        super().__init__(max_to_keep=keep, save_relative_paths=True)
        self._checked = [variable for variable in tf.global_variables() if variable.dtype.base_dtype.is_floating]
        finite = []
        for variable in self._checked:
            with tf.device(variable.device):
                finite.append(tf.reduce_all(tf.is_finite(variable)))
        self._finite = tf.stack(finite)

    def save(self, session, save_path, global_step=None, **arguments):
        """Saves as TensorFlow does. If a variable is not finite, raises a `UserError` and keeps older checkpoints."""
        directory, name = os.path.dirname(save_path), f"{save_path}-{global_step}"
        if not os.path.exists(os.path.join(directory, FILE)):  # TensorFlow would make the directory again.
            raise UserError(f"{name}: cannot be written: {directory} was removed")
        # While it is overwritten, a checkpoint is damaged for a moment.
        if tf.train.latest_checkpoint(directory) == name:
            return name
        strange = [v.op.name for v, is_finite in zip(self._checked, session.run(self._finite)) if not is_finite]
        if strange:
            raise UserError(f"{name}: is not written: {strange[0]} is not finite. The checkpoints before it are kept")
        return super().save(session, save_path, global_step=global_step, **arguments)


def step_of(checkpoint):
    """How many steps the model of a checkpoint has been trained, an int; 0 if `checkpoint` is None."""
    try:
        with named(checkpoint):
            return 0 if checkpoint is None else int(tf.train.NewCheckpointReader(checkpoint).get_tensor("global_step"))
    except IndexError as error:  # The reader raises this for a file that is cut.
        raise UserError(f"{checkpoint}: {error}") from error


def newest(directory):
    """The name and the step of a directory's latest checkpoint; None and 0 if there is none."""
    name = tf.train.latest_checkpoint(directory)
    return name, step_of(name)


def compare(checkpoint, variables, settings):
    """Raises a `UserError` if a checkpoint does not hold all of the variables, a list, with their shapes."""
    with named(checkpoint):
        shapes = tf.train.NewCheckpointReader(checkpoint).get_variable_to_shape_map()
    expected = dict(map(name_and_shape, variables))
    differing = [name for name in expected if shapes.get(name) != expected[name]]
    if not differing:
        return
    # An optimiser's variables differ wherever the model's do, so naming those is enough.
    of_model = dict(map(name_and_shape, tf.trainable_variables() + tf.model_variables()))
    differing = [name for name in differing if name in of_model] or differing
    # The weights first, whose shapes say most.
    differing.sort(key=lambda name: (not name.endswith(("weights", "kernel")), name))
    texts = [f"{name} is {shapes.get(name, 'missing')} where the model has {expected[name]}" for name in differing]
    more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    raise UserError(
        f"{checkpoint}: of another architecture: {'; '.join(texts[:SHOWN])}{more}. {_hint(checkpoint, settings)}"
    )


def _hint(checkpoint, settings):
    """Says which settings the checkpoint needs, as far as they are known."""
    kept, built = load(checkpoint), model_values(settings)
    differing = [f"{name} {kept[name]}" for name in built if kept.get(name, built[name]) != built[name]]
    usual = "Look at preset, clusters, hidden_size, cells, layers, num_classes and feature_sizes"
    return "It was trained with " + ", ".join(differing) if differing else usual


def restore(session, checkpoint, settings):
    """Restores the variables of a model, without those of the optimiser, by their names in a checkpoint.

    Raises a `UserError`, before any variable has changed, if the checkpoint is damaged or of another architecture.
    """
    variables = list({variable.name: variable for variable in tf.trainable_variables() + tf.model_variables()}.values())
    compare(checkpoint, variables, settings)
    with named(checkpoint):
        tf.train.Saver(variables).restore(session, checkpoint)


def name_and_shape(variable):
    """The name and the shape of a variable in a checkpoint. A part has those of the whole variable."""
    part = variable._get_save_slice_info()
    if part is None:
        return variable.op.name, variable.shape.as_list()
    return part.full_name, list(part.full_shape)
