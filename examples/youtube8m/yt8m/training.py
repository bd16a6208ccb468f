"""Training from the last checkpoint on, by one process or by those of a cluster."""

import contextlib
import os

import tensorflow.compat.v1 as tf
from loupe_examples.errors import Interrupted, UserError

from yt8m import checkpoints, lock, monitor, records, step
from yt8m.interrupts import Interrupts
from yt8m.settings import save, settle_seed


def train(settings, process=None):
    """Trains until `settings.training.steps`, from the last checkpoint if there is one.

    Args:
      settings: settled (see `settings.settle`), with data. If `seed` is None it is set, and so is `towers`.
      process: a worker's `cluster.Cluster`, whose `run` calls this. Default None: there is no cluster.

    Returns:
      How many steps the model had been trained before, an int.

    Raises:
      UserError: for bad input; if another training is at work in the directory of checkpoints; if the loss is not
        finite, or a checkpoint cannot be written. The older checkpoints stay as they were.
      tf.errors.InvalidArgumentError: for bad records (see `records.dataset`).
      Interrupted: after SIGINT or SIGTERM, when a checkpoint has been saved.
    """
    settings.training.towers = settings.training.towers or max(1, step.count_gpus())
    if process and not process.is_chief and is_complete(settings):
        return checkpoints.newest(settings.checkpoint)[1]
    target = process.start(step.config(settings.training.towers, process)) if process else ""
    with tf.Graph().as_default(), contextlib.ExitStack() as stack:
        if process and not process.is_chief:
            return _follow(settings, process)
        # A directory is made later, if all else is in order.
        locked = os.path.exists(settings.checkpoint) and stack.enter_context(lock.held(settings.checkpoint))
        built, trained = _build(settings, process)
        locked = locked or stack.enter_context(lock.held(settings.checkpoint))
        checkpoints.remove_unfinished(settings.checkpoint)
        save(settings)
        if trained < settings.training.steps:
            interrupts = process.interrupts if process else stack.enter_context(Interrupts())
            saver = checkpoints.Saver(settings.training.keep, locked)
            _lead(built, settings, saver, interrupts, target, step.config(settings.training.towers, process))
        return trained


def is_complete(settings):
    """Whether the last checkpoint is the one that the training ends with."""
    return checkpoints.newest(settings.checkpoint)[1] >= settings.training.steps


def _build(settings, process):
    """The step, and how many the model has had before."""
    records.check(settings.data)
    latest, trained = checkpoints.newest(settings.checkpoint)
    settle_seed(settings, resumes=latest is not None)
    tf.set_random_seed(settings.training.seed)
    built = step.build(_batch(settings, process, trained), settings, process)
    if latest is not None:
        try:
            checkpoints.compare(latest, tf.global_variables(), settings)
        except UserError:
            if checkpoints.exists(latest):  # The chief of a worker may have removed it.
                raise
    return built, trained


def _batch(settings, process, trained):
    """The next batch, read by the process itself."""
    # Each worker reads all files, in an order of its own; and each run, or a training that is often interrupted would
    # see the same videos first each time.
    seed = settings.training.seed + (process.index if process else 0) + trained
    with tf.device(f"{process.device if process else ''}/cpu:0"):
        iterator = tf.data.make_initializable_iterator(records.dataset(settings.data, training=True, seed=seed))
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
        return iterator.get_next()


def _lead(built, settings, saver, interrupts, target, config):
    """Trains as the only process, or as the chief, who saves checkpoints."""
    scaffold = tf.train.Scaffold(saver=saver)
    creator = _ChiefSessionCreator(scaffold, target, config, settings.checkpoint)
    hooks = [_Interruption(lambda: interrupts.number is not None), _Checkpoints(settings, scaffold)]
    _run(built, settings, creator, hooks, settings.checkpoint)
    if interrupts.number is not None and not is_complete(settings):
        saved = checkpoints.latest(settings.checkpoint)
        count = checkpoints.step_of(saved)
        raise Interrupted(
            interrupts.number, f"{saved}: saved after {count} of {settings.training.steps} steps, to go on from"
        )


def _follow(settings, process):
    """Trains as a worker beside the chief, and returns how many steps the model had before."""
    built, trained = _build(settings, process)
    missing = tf.report_uninitialized_variables(tf.global_variables())
    scaffold = tf.train.Scaffold(saver=tf.train.Saver())
    creator = _WorkerSessionCreator(process, missing, scaffold, step.config(settings.training.towers, process))
    hooks = [_Interruption(lambda: process.is_over.is_set() or process.interrupts.number is not None)]
    # Again, where a chief that was lost goes on from an earlier step.
    while process.wait_for(missing, tf.train.get_global_step(), settings.training.steps):
        _run(built, settings, creator, hooks)
    if process.interrupts.number is not None and not process.is_over.is_set():
        raise Interrupted(process.interrupts.number, "this worker has left the training")
    return trained


def _run(built, settings, creator, hooks, directory=None):
    with monitor.Monitor(built, settings, directory) as shown:
        hooks = [shown, tf.train.StopAtStepHook(last_step=settings.training.steps)] + hooks
        with tf.train.MonitoredSession(creator, hooks) as session:
            while not session.should_stop():
                session.run(built.train)


class _ChiefSessionCreator(tf.train.ChiefSessionCreator):
    """TensorFlow's own, but that a checkpoint whose data cannot be read is bad input."""

    def __init__(self, scaffold, target, config, directory):
        super().__init__(scaffold, target, config, directory)
        self._directory = directory

    def create_session(self):
        try:
            return super().create_session()
        except (tf.errors.DataLossError, tf.errors.OutOfRangeError):
            with checkpoints.named(checkpoints.newest(self._directory)[0]):
                raise


class _WorkerSessionCreator(tf.train.SessionCreator):
    """Sessions of a worker, as soon as the chief has initialised the variables: at first, and after a parameter server
    was lost. TensorFlow's own would look only every 30 seconds."""

    def __init__(self, process, missing, scaffold, config):
        self._missing = missing
        self._process = process
        self._creator = tf.train.WorkerSessionCreator(scaffold, process.server.target, config)

    def create_session(self):
        self._process.wait_for(self._missing)
        return self._creator.create_session()


class _Interruption(tf.train.SessionRunHook):
    """Ends a training in good order, with a checkpoint, when it has to."""

    def __init__(self, is_due):
        self._is_due = is_due

    def after_run(self, run_context, run_values):
        if self._is_due():
            run_context.request_stop()


class _Checkpoints(tf.train.CheckpointSaverHook):
    """Saves checkpoints, also at the beginning and at the end. What cannot be written is bad input."""

    def __init__(self, settings, scaffold):
        super().__init__(settings.checkpoint, save_secs=settings.training.checkpoint_seconds, scaffold=scaffold)
        self._directory = settings.checkpoint

    def after_create_session(self, session, coord):
        with checkpoints.named(f"{self._directory}: cannot be written"):
            super().after_create_session(session, coord)

    def after_run(self, run_context, run_values):
        with checkpoints.named(f"{self._directory}: cannot be written"):
            super().after_run(run_context, run_values)

    def end(self, session):
        with checkpoints.named(f"{self._directory}: cannot be written"):
            super().end(session)
