"""Training from the last checkpoint on, by one process or by a worker of a cluster."""

import contextlib
import os
import signal
import time

import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples import progress
from loupe_examples.errors import Interrupted, UserError, note, warn

from yt8m import checkpoints, metrics, records, step
from yt8m.settings import save, settle_seed

try:
    import fcntl
except ImportError:  # Windows has no such module.
    fcntl = None

SECONDS = 0.5  # between two updates of the figures in the progress bar


def train(settings, interrupts=None, process=None):
    """Trains until `settings.training.steps`, from the last checkpoint if there is one.

    Args:
      settings: a `settings.Settings`, with files. If `seed` or `towers` is None it is set.
      interrupts: an `Interrupts` whose context is open. Default None: signals act as usual.
      process: a worker's `cluster.Cluster`. Default None: there is no cluster.

    Returns:
      How many steps the model had been trained before, an int.

    Raises:
      UserError: for bad input, a second process that trains in the directory, or a loss that is not finite.
      tf.errors.InvalidArgumentError: for bad records.
      Interrupted: after a signal, when a checkpoint has been saved.
    """
    interrupts = interrupts or Interrupts()
    directory = settings.checkpoint
    is_chief = process is None or process.is_chief
    if is_chief:
        checkpoints.latest_or_none(directory)  # Refuses checkpoints that the training would not continue from.
    latest, trained = checkpoints.newest(directory)
    if not is_chief and trained >= settings.training.steps:
        return trained
    step.settle_towers(settings)
    records.check(settings.data)
    settle_seed(settings, resumes=latest is not None)
    with tf.Graph().as_default():
        tf.set_random_seed(settings.training.seed)
        built = step.build(_batch(settings, trained, process), settings, process)
        with locked(directory) if is_chief else contextlib.nullcontext():
            latest, trained = checkpoints.newest(directory)
            if is_chief:
                if latest is not None:
                    checkpoints.compare(latest, tf.global_variables(), settings)
                save(settings)
            if process:
                process.start(step.config(settings.training.towers, process))
            if trained < settings.training.steps:
                _run(built, settings, interrupts, process, latest, trained)
    return trained


def _batch(settings, trained, process):
    """The next batch, which each process reads for itself."""
    # Each worker, and each run, reads all files in an order of its own. Otherwise a training that is often interrupted
    # would always see the same videos first.
    seed = settings.training.seed + trained + (process.rank * 10**7 if process else 0)
    with tf.device(f"{process.device if process else ''}/cpu:0"):
        iterator = tf.data.make_initializable_iterator(records.dataset(settings.data, training=True, seed=seed))
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
        return iterator.get_next()


def _run(built, settings, interrupts, process, latest, trained):
    training, directory = settings.training, settings.checkpoint
    is_chief = process is None or process.is_chief
    master = process.target if process else ""
    config = step.config(training.towers, process)
    with progress.bar(desc="train", unit="step", total=training.steps, initial=trained, delay=0) as bar:
        monitor = _Monitor(settings, bar, is_chief)
        hooks = [monitor, tf.train.StopAtStepHook(last_step=training.steps), *([process] if process else [])]
        if is_chief:
            scaffold = tf.train.Scaffold(saver=checkpoints.Saver(training.keep))
            creator = tf.train.ChiefSessionCreator(scaffold, master, config, directory)
            hooks.append(tf.train.CheckpointSaverHook(directory, training.checkpoint_seconds, scaffold=scaffold))
        else:
            creator = _WorkerSessionCreator(master, config)
        with checkpoints.named(latest or directory):
            session = tf.train.MonitoredSession(creator, hooks)
        # The error is also named within the session, which takes the OutOfRangeError of a file for the end of the data.
        stopped = f"{directory}: the training has stopped"
        with checkpoints.named(stopped), session, checkpoints.named(stopped):
            while not (session.should_stop() or interrupts.number):
                monitor.show(session.run(built._asdict()))
                if progress.is_closed(bar):
                    interrupts.number = signal.SIGPIPE
    if not is_chief:
        process.check_end(interrupts)
    elif interrupts.number:
        saved, count = checkpoints.newest(directory)
        if count < training.steps:
            how = f"saved at step {count} of {training.steps}, to continue later"
            raise Interrupted(interrupts.number, f"{saved}: {how}")


class _WorkerSessionCreator(tf.train.SessionCreator):
    """Like `tf.train.WorkerSessionCreator`, but looks for the chief's variables every second, not every 30 seconds."""

    def __init__(self, master, config):
        self._scaffold, self._master, self._config = tf.train.Scaffold(), master, config

    def create_session(self):
        ops = self._scaffold.finalize()
        manager = tf.train.SessionManager(
            ops.local_init_op, ops.ready_op, ops.ready_for_local_init_op, recovery_wait_secs=1
        )
        return manager.wait_for_session(self._master, config=self._config)


class Interrupts:
    """A context that notes the first SIGINT or SIGTERM, after which the training ends with the current step.

    A second signal acts as it did before. A signal that was ignored stays ignored, such as SIGINT in a background job.
    """

    def __init__(self):
        self.number = self.time = None  # of the first signal
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *unused):
        while self._previous:
            number, previous = self._previous.popitem()
            signal.signal(number, signal.SIG_DFL if previous is None else previous)

    def _note(self, number, frame):
        self.number, self.time = number, time.monotonic()
        self.__exit__()


class _Monitor(tf.train.SessionRunHook):
    """Shows how the training goes, writes it for TensorBoard, and ends a training run whose loss is not finite."""

    def __init__(self, settings, bar, is_chief):
        self._settings, self._bar, self._is_chief = settings, bar, is_chief

    def after_create_session(self, session, coord):
        count, steps = int(session.run(tf.train.get_global_step())), self._settings.training.steps
        latest, saved = checkpoints.newest(self._settings.checkpoint)
        self._bar.clear()
        if not self._is_chief:
            note(f"joins the training at step {count} of {steps}")
        elif latest is not None:
            note(f"{latest}: continues from step {saved} of {steps}")
        self._written, self._shown, self._time = count, count, time.monotonic()

    def show(self, values):
        """Shows and writes the values of a `step.Step`."""
        count, loss, training = int(values["count"]), values["loss"], self._settings.training
        if not np.isfinite(loss):
            kept = "The checkpoints before it are kept; try a lower learning_rate"
            raise UserError(f"step {count}: expected a finite loss, got {loss}. {kept}")
        seconds, is_due = time.monotonic() - self._time, count - self._written >= training.summary_steps
        if is_due or seconds > SECONDS:
            speed = (count - self._shown) * self._settings.data.batch_size / max(seconds, 1e-9)
            gap = metrics.gap(values["predictions"], values["labels"])
            self._bar.set_postfix_str(f"loss {loss:.4f}, GAP {gap:.4f}, {speed:.0f} examples/s", refresh=False)
            self._shown, self._time = count, time.monotonic()
        if is_due:
            self._written = count
            scalars = {name: values[name] for name in ("loss", "regularization", "learning_rate")}
            scalars.update(gap=gap, examples_per_second=speed)
            summary = [tf.Summary.Value(tag=tag, simple_value=float(value)) for tag, value in scalars.items()]
            if self._is_chief:
                writer = tf.summary.FileWriterCache.get(self._settings.checkpoint)
                writer.add_summary(tf.Summary(value=summary), count)
                writer.flush()
        # Several workers together may take a few steps too many.
        self._bar.update(min(count, training.steps) - self._bar.n)


@contextlib.contextmanager
def locked(directory):
    """A context in which no other process trains in the directory, which is made if it is missing.

    The operating system frees the lock when the process ends, however it ends. Where there are no locks, on some file
    systems and on Windows, a warning says so. Raises a `UserError` if another process trains there.
    """
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "training.lock"), "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise UserError(f"{directory}: another process is training there") from error
        except (AttributeError, OSError):  # The system lacks the module, or the file system lacks locks.
            warn(f"{directory}: has no locks; make sure that no other process trains there")
        checkpoints.remove_unfinished(directory)
        try:
            yield
        finally:
            checkpoints.remove_unfinished(directory)
