"""Training from the last checkpoint on, by one process or by a worker of a cluster."""

import contextlib
import functools
import inspect
import os
import signal
import socket
import tempfile
import time

import filelock
import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples import progress
from loupe_examples.errors import Interrupted, UserError, note, warn

from yt8m import checkpoints, metrics, records, step
from yt8m.settings import save, settle_seed

SECONDS = 0.5  # between two looks at the batch
SCALARS = ["loss", "regularization", "learning_rate"]

# Where a file system has no locks, newer versions would lock by a file that outlives a killed process.
_HARD = {"fallback_to_soft": False} if "fallback_to_soft" in inspect.signature(filelock.FileLock).parameters else {}
_Lock = functools.partial(filelock.FileLock, **_HARD)


def train(settings, interrupts=None, process=None):
    """Trains until `settings.training.steps`, from the last checkpoint if there is one.

    Args:
      settings: a `settings.Settings`, with files. If `seed` is None it is set, and so is `towers`.
      interrupts: an `Interrupts`. Default None: signals are not handled.
      process: a worker's `cluster.Cluster`. Default None: there is no cluster.

    Returns:
      How many steps the model had been trained before, an int.

    Raises:
      UserError: for bad input; if another process trains in the directory of checkpoints; if the loss is not finite,
        or a file cannot be read or written. The older checkpoints stay as they were.
      tf.errors.InvalidArgumentError: for bad records (see `records.dataset`).
      Interrupted: after a signal, when a checkpoint has been saved.
    """
    is_chief = process is None or process.is_chief
    latest, trained = checkpoints.newest(settings.checkpoint)
    if not is_chief and trained >= settings.training.steps:
        return trained
    settings.training.towers = settings.training.towers or max(1, step.count_gpus())
    records.check(settings.data)
    settle_seed(settings, resumes=latest is not None)
    interrupts = interrupts or Interrupts()
    with tf.Graph().as_default(), contextlib.ExitStack() as stack:
        tf.set_random_seed(settings.training.seed)
        built = step.build(_batch(settings, trained, process), settings, process)
        if is_chief:
            stack.enter_context(locked(settings.checkpoint))
            latest, trained = checkpoints.newest(settings.checkpoint)
            if latest is not None:
                checkpoints.compare(latest, tf.global_variables(), settings)
            checkpoints.remove_unfinished(settings.checkpoint)
            stack.callback(checkpoints.remove_unfinished, settings.checkpoint)
            save(settings)
        if process:
            process.start(step.config(settings.training.towers, process))
        if trained < settings.training.steps:
            _run(built, settings, interrupts, process)
    return trained


def is_complete(settings):
    """Whether the last checkpoint is the one that the training ends with."""
    return checkpoints.newest(settings.checkpoint)[1] >= settings.training.steps


def _batch(settings, trained, process):
    """The next batch, read by the process itself."""
    # Each worker reads all files in an order of its own. So does each run of a training: otherwise one that is often
    # interrupted would always see the same videos first.
    seed = settings.training.seed + trained + (process.rank * 10**7 if process else 0)
    with tf.device(f"{process.device if process else ''}/cpu:0"):
        iterator = tf.data.make_initializable_iterator(records.dataset(settings.data, training=True, seed=seed))
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
        return iterator.get_next()


def _run(built, settings, interrupts, process):
    is_chief, training, directory = process is None or process.is_chief, settings.training, settings.checkpoint
    latest, trained = checkpoints.newest(directory)
    master, config = process.target if process else "", step.config(training.towers, process)
    with progress.bar(desc="train", unit="step", total=training.steps, initial=trained) as bar:
        monitor = _Monitor(built, settings, bar, is_chief)
        hooks = [monitor, tf.train.StopAtStepHook(last_step=training.steps), interrupts]
        if process:
            hooks.append(process)
        if is_chief:
            scaffold = tf.train.Scaffold(saver=checkpoints.Saver(training.keep))
            creator = tf.train.ChiefSessionCreator(scaffold, master, config, directory)
            hooks.append(tf.train.CheckpointSaverHook(directory, training.checkpoint_seconds, scaffold=scaffold))
        else:
            creator = _WorkerSessionCreator(master, config)
        with checkpoints.named(latest or directory):
            session = tf.train.MonitoredSession(creator, hooks)
        # Within the session too, which takes the OutOfRangeError of a file for the end of the data.
        stopped = f"{directory}: the training has stopped"
        with checkpoints.named(stopped), session, checkpoints.named(stopped):
            while not session.should_stop():
                session.run(built.train)
    if not is_chief:
        process.check_end(interrupts)
    elif interrupts.number and not is_complete(settings):
        saved, count = checkpoints.newest(directory)
        raise Interrupted(interrupts.number, f"{saved}: saved after {count} of {training.steps} steps, to go on from")


class _WorkerSessionCreator(tf.train.SessionCreator):
    """As `tf.train.WorkerSessionCreator`, but it looks for the chief's variables every second, not every 30 seconds."""

    def __init__(self, master, config):
        self._scaffold, self._master, self._config = tf.train.Scaffold(), master, config

    def create_session(self):
        ops = self._scaffold.finalize()
        manager = tf.train.SessionManager(
            ops.local_init_op, ops.ready_op, ops.ready_for_local_init_op, recovery_wait_secs=1
        )
        return manager.wait_for_session(self._master, config=self._config)


class Interrupts(tf.train.SessionRunHook):
    """A context that notes the first SIGINT or SIGTERM; as a hook, it then ends the training after the step.

    The second signal acts as it did before. What was ignored before stays so, as SIGINT is in a shell's background.
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

    def after_run(self, run_context, run_values):
        if self.number is not None:
            run_context.request_stop()

    def _note(self, number, frame):
        self.number, self.time = number, time.monotonic()
        self.__exit__()


class _Monitor(tf.train.SessionRunHook):
    """Shows how the training goes, writes it for TensorBoard, and ends a training whose loss is not finite."""

    def __init__(self, built, settings, bar, is_chief):
        self._fetches = built._asdict()
        del self._fetches["train"]
        self._settings, self._bar, self._is_chief = settings, bar, is_chief

    def after_create_session(self, session, coord):
        self._written = count = int(session.run(tf.train.get_global_step()))
        latest, saved = checkpoints.newest(self._settings.checkpoint)
        steps = self._settings.training.steps
        self._bar.clear()
        if not self._is_chief:
            note(f"joins the training at step {count} of {steps}")
        elif latest is not None:
            note(f"{latest}: goes on from step {saved} of {steps}")
        self._shown = time.monotonic(), count

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._fetches)

    def after_run(self, run_context, run_values):
        values, training = run_values.results, self._settings.training
        count = int(values["count"])
        if not np.isfinite(values["loss"]):
            raise UserError(
                f"step {count}: expected a finite loss, got {values['loss']}. The checkpoints before it are kept; "
                "try a lower learning_rate"
            )
        seconds = time.monotonic() - self._shown[0]
        is_due = count - self._written >= training.summary_steps
        if is_due or seconds > SECONDS:
            speed = (count - self._shown[1]) * self._settings.data.batch_size / max(seconds, 1e-9)
            gap = metrics.gap(values["predictions"], values["labels"])
            self._shown = time.monotonic(), count
            text = f"loss {values['loss']:.4f}, GAP {gap:.4f}, {speed:.0f} examples/s"
            self._bar.set_postfix_str(text, refresh=False)
        if is_due:
            self._written = count
            if self._is_chief:
                self._write(count, gap=gap, examples_per_second=speed, **{name: values[name] for name in SCALARS})
        # Several workers may do a few steps too many.
        self._bar.update(min(count, training.steps) - self._bar.n)

    def _write(self, count, **scalars):
        values = [tf.Summary.Value(tag=tag, simple_value=float(value)) for tag, value in scalars.items()]
        writer = tf.summary.FileWriterCache.get(self._settings.checkpoint)
        writer.add_summary(tf.Summary(value=values), count)
        writer.flush()


@contextlib.contextmanager
def locked(directory):
    """A context in which no other process trains in the directory, which is made if it is missing.

    The operating system holds the lock, and frees it when the process ends, however it ends.

    Raises:
      UserError: if another process trains there, which is named; or if the directory cannot be written to.
    """
    lock, owner = _Lock(os.path.join(directory, "training.lock")), os.path.join(directory, "training.owner")
    try:
        os.makedirs(directory, exist_ok=True)
        if _has_locks(directory):
            lock.acquire(timeout=0)
        else:
            warn(f"{directory}: its file system has no locks; make sure that no other process trains there")
        with open(owner, "w", encoding="utf-8") as file:
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    except filelock.Timeout as error:
        raise UserError(
            f"{directory}: another training is at work there: {_text(owner) or 'it has just begun'}"
        ) from error
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _has_locks(directory):
    """Whether a file can be locked that is new, so that no other process has locked it."""
    with tempfile.TemporaryDirectory(dir=directory) as new:
        try:
            with _Lock(os.path.join(new, "lock")).acquire(timeout=0):
                return True
        except (NotImplementedError, OSError):  # Of the latter kind is a timeout, which is what old versions raise.
            return False


def _text(owner):
    with contextlib.suppress(OSError), open(owner, encoding="utf-8") as file:
        return file.read()
    return ""
