"""Training from the last checkpoint on, by one process or by those of a cluster."""

import tensorflow.compat.v1 as tf

from yt8m import checkpoints, monitor, records, step
from yt8m.settings import save, settle_seed


def train(settings, process=None):
    """Trains until `settings.steps`, from the last checkpoint if there is one.

    Args:
      settings: settled (see `settings.settle`), with data. If `seed` is None it is set, and so is `towers`.
      process: a worker's `cluster.Cluster`. Default None: there is no cluster.

    Returns:
      How many steps the model had been trained before, an int.

    Raises:
      UserError: for bad input.
      tf.errors.InvalidArgumentError: for bad records (see `records.dataset`).
    """
    settings.towers = settings.towers or max(1, step.count_gpus())
    records.check(settings)
    is_chief = process is None or process.is_chief
    latest = tf.train.latest_checkpoint(settings.checkpoint)
    settle_seed(settings, resumes=latest is not None)
    trained = checkpoints.step_of(latest)
    with tf.Graph().as_default():
        tf.set_random_seed(settings.seed)
        built = step.build(_batch(settings, process, trained), settings, process)
        if latest is not None:
            checkpoints.compare(latest, tf.global_variables(), settings)
        if is_chief:
            save(settings)
        target = process.start(step.config(settings, process)) if process else ""
        if not is_chief:
            process.wait_for_chief()
        if trained < settings.steps:
            _run(built, settings, target, process)
        if process:
            process.leave()
    return trained


def _batch(settings, process, trained):
    """The next batch, read by the process itself."""
    # Each worker reads all files, in an order of its own; and each run, or a training that is often interrupted would
    # see the same videos first each time.
    seed = settings.seed + (process.index if process else 0) + trained
    with tf.device(f"{process.device if process else ''}/cpu:0"):
        iterator = tf.data.make_initializable_iterator(records.dataset(settings, training=True, seed=seed))
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
        return iterator.get_next()


def _run(built, settings, target, process):
    is_chief = process is None or process.is_chief
    directory = settings.checkpoint if is_chief else None
    with monitor.Monitor(built, settings, directory) as shown, tf.train.MonitoredTrainingSession(
        master=target,
        is_chief=is_chief,
        checkpoint_dir=settings.checkpoint,
        scaffold=tf.train.Scaffold(saver=tf.train.Saver(max_to_keep=settings.keep)),
        hooks=[shown, tf.train.StopAtStepHook(last_step=settings.steps)],
        save_checkpoint_secs=settings.checkpoint_seconds,
        save_summaries_steps=None,
        save_summaries_secs=None,
        log_step_count_steps=None,
        config=step.config(settings, process),
    ) as session:
        while not session.should_stop():
            session.run(built.train)
