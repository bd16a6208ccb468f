"""How a training goes, shown, recorded, and ended where its loss is not finite."""

import time

import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples import progress
from loupe_examples.errors import UserError, note

from yt8m import checkpoints, metrics


class Monitor(tf.train.SessionRunHook):
    """A progress bar with loss, GAP of the batch, examples per second and the time left; and TensorBoard scalars.

    Args:
      step: a `step.Step`.
      settings: the settings of a training (see `settings.settle`).
      directory: where TensorBoard's events are written. Default None: they are not.

    Raises:
      UserError: in the run, if the loss is not finite.
    """

    SECONDS = 0.5  # between two looks at the loss and the batch

    def __init__(self, step, settings, directory=None):
        self._step = step
        self._settings = settings
        self._directory = directory
        self._bar = self._writer = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self._bar is not None:
            self._bar.close()
        if self._writer is not None:
            self._writer.flush()

    def after_create_session(self, session, coord):
        self.__exit__()  # of a session that a lost parameter server ended
        self._written = step = int(session.run(tf.train.get_global_step()))
        self._tell_beginning(step)
        self._bar = progress.bar(desc="train", unit="step", total=self._settings.training.steps, initial=step)
        self._shown = time.time(), step
        if self._directory is not None:
            self._writer = tf.summary.FileWriterCache.get(self._directory)

    def before_run(self, run_context):
        names = ["count", "loss"]
        if time.time() - self._shown[0] >= self.SECONDS or self._is_due(self._bar.n + 1):
            names += ["regularization", "learning_rate", "predictions", "labels"]
        return tf.train.SessionRunArgs({name: getattr(self._step, name) for name in names})

    def after_run(self, run_context, run_values):
        values = run_values.results
        step = int(values["count"])  # of all workers, which may go one step too far
        self._bar.update(min(step, self._settings.training.steps) - self._bar.n)
        if not np.isfinite(values["loss"]):
            raise UserError(
                f"step {step}: expected a finite loss, got {values['loss']}. The checkpoints before it are kept; try a "
                "lower learning_rate"
            )
        if "predictions" not in values:
            return
        now = time.time()
        speed = (step - self._shown[1]) * self._settings.data.batch_size / max(now - self._shown[0], 1e-9)
        self._shown = now, step
        gap = metrics.gap(values["predictions"], values["labels"])
        self._bar.set_postfix_str(f"loss {values['loss']:.4f}, GAP {gap:.4f}, {speed:.0f} examples/s")
        if self._writer is not None and self._is_due(step):
            self._written = step
            scalars = {name: values[name] for name in ["loss", "regularization", "learning_rate"]}
            scalars.update({"gap": gap, "examples_per_second": speed})
            summary = tf.Summary(
                value=[tf.Summary.Value(tag=tag, simple_value=float(value)) for tag, value in scalars.items()]
            )
            self._writer.add_summary(summary, step)

    def _tell_beginning(self, step):
        latest = tf.train.latest_checkpoint(self._settings.checkpoint)
        if self._directory is None and step:
            note(f"joins the training at step {step} of {self._settings.training.steps}")
        elif self._directory is not None and latest is not None:  # Other workers may be further already.
            note(f"{latest}: goes on from step {checkpoints.step_of(latest)} of {self._settings.training.steps}")

    def _is_due(self, step):
        return step - self._written >= self._settings.training.summary_steps
