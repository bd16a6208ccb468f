"""Trains a model on frame-level YouTube-8M records.

Without --data, on the handwritten digits, which are prepared first; then the values that the command line leaves open
suit the digits and not YouTube-8M. An interrupted training goes on from its last checkpoint when it is started again.
With TF_CONFIG it is one process of a cluster of parameter servers and workers, which share the directory of
checkpoints.
"""

import random

import checkpoints
import cluster
import commandline
import presets
import progress
import records
import tensorflow.compat.v1 as tf
import training


def parser():
    result = commandline.Parser(__doc__)
    result.add_argument(
        "--checkpoint",
        metavar="DIRECTORY",
        help="where checkpoints, settings and TensorBoard's events are written; None: checkpoints/PRESET",
    )
    commandline.add_data_flags(result, "train")
    commandline.add_model_flags(result, presets.PRESETS)
    group = result.add_argument_group("training", "What is not given is as the preset has it.")
    group.add_argument("--steps", type=commandline.positive, help="how many steps the model is trained, in all runs")
    group.add_argument("--learning-rate", type=commandline.not_negative, help="of Adam, at first")
    group.add_argument("--learning-rate-decay", type=commandline.fraction, help="the factor of each decay of the rate")
    group.add_argument("--learning-rate-decay-examples", type=commandline.positive, help="from one decay to the next")
    group.add_argument("--clip-norm", type=commandline.not_negative, help="of each variable's gradient; 0: not clipped")
    group.add_argument("--shuffle-buffer", type=commandline.positive, help="among how many videos the next is drawn")
    group.add_argument("--seed", type=int, help="of the initial weights and the order of the videos")
    group.add_argument("--towers", type=commandline.positive, help="how many devices share a batch; None: all GPUs")
    group.add_argument("--checkpoint-seconds", type=commandline.positive, default=600, help="between two checkpoints")
    group.add_argument("--keep", type=commandline.positive, default=5, help="how many checkpoints are kept")
    group.add_argument("--summary-steps", type=commandline.positive, default=100, help="between TensorBoard's scalars")
    return result


def main(argv=None):
    flags = parser().parse_args(argv)
    process = cluster.from_environment()
    if process and process.is_ps:
        process.serve()
        return
    settings = presets.settle(flags, "train")
    settings.towers = settings.towers or max(1, training.count_gpus())
    records.check(settings)
    train(settings, process)


def train(settings, process=None):
    """Trains until `settings.steps`, from the last checkpoint if there is one.

    Args:
      settings: the values of the flags, settled (see `presets.settle`).
      process: a worker's `cluster.Cluster`. Default None: there is no cluster.

    Raises:
      UserError: for bad input.
      tf.errors.InvalidArgumentError: for bad records (see `records.dataset`).
    """
    is_chief = process is None or process.is_chief
    with tf.Graph().as_default():
        tf.set_random_seed(settings.seed)
        built = training.build(_batch(settings, process), settings, process)
        latest = tf.train.latest_checkpoint(settings.checkpoint)
        if latest is not None:
            checkpoints.compare(latest, tf.global_variables())
        if is_chief:
            checkpoints.save_settings(settings.checkpoint, presets.kept(settings))
        target = process.start(training.config(settings, process)) if process else ""
        if not is_chief:
            process.wait_for_chief()
        if _step_of(latest) < settings.steps:
            _run(built, settings, target, process)
        if process:
            process.leave()
    if is_chief:
        print(f"{tf.train.latest_checkpoint(settings.checkpoint)}: trained {settings.steps} steps")


def _batch(settings, process):
    """The next batch, read by the process itself."""
    # Each worker reads all files, in an order of its own.
    seed = random.randrange(2**31) if settings.seed is None else settings.seed + (process.index if process else 0)
    with tf.device(f"{process.device if process else ''}/cpu:0"):
        iterator = tf.data.make_initializable_iterator(records.dataset(settings, training=True, seed=seed))
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
        return iterator.get_next()


def _step_of(checkpoint):
    return 0 if checkpoint is None else int(tf.train.NewCheckpointReader(checkpoint).get_tensor("global_step"))


def _run(built, settings, target, process):
    is_chief = process is None or process.is_chief
    directory = settings.checkpoint if is_chief else None
    with progress.Progress(built, settings, directory) as shown, tf.train.MonitoredTrainingSession(
        master=target,
        is_chief=is_chief,
        checkpoint_dir=settings.checkpoint,
        scaffold=tf.train.Scaffold(saver=tf.train.Saver(max_to_keep=settings.keep)),
        hooks=[shown, tf.train.StopAtStepHook(last_step=settings.steps)],
        save_checkpoint_secs=settings.checkpoint_seconds,
        save_summaries_steps=None,
        save_summaries_secs=None,
        log_step_count_steps=None,
        config=training.config(settings, process),
    ) as session:
        while not session.should_stop():
            session.run(built.step)


if __name__ == "__main__":
    commandline.run(main)
