"""The graph of a training step: towers, gradients, clipping and Adam."""

import collections

import tensorflow.compat.v1 as tf
from loupe_examples.errors import UserError, note

from yt8m import checkpoints, model

# The operation `train` and tensors of the same step; `count` is the number of steps after `train`.
Step = collections.namedtuple("Step", "train count loss regularization learning_rate predictions labels")


def count_gpus():
    return len(tf.config.experimental.list_physical_devices("GPU"))


def settle_towers(settings):
    """Sets how many towers share a batch, if that is not given: as many GPUs as divide it evenly, or else one CPU."""
    gpus, batch_size = count_gpus(), settings.data.batch_size
    if settings.training.towers is None:
        towers = max(number for number in range(1, max(1, gpus) + 1) if batch_size % number == 0)
        if towers < gpus:
            note(f"{towers} of {gpus} GPUs are used, because batch_size = {batch_size} is not a multiple of {gpus}")
        settings.training.towers = towers


def config(towers, cluster=None):
    """The configuration of sessions that have devices for the towers: GPUs, or else as many virtual CPUs."""
    result = cluster.config() if cluster else tf.ConfigProto()
    result.allow_soft_placement = True
    if not count_gpus():
        result.device_count["CPU"] = towers
    return result


def build(batch, settings, cluster=None):
    """Builds a step of training on a batch of `records.dataset`, a dict of tensors, in the default graph.

    Each tower, a device, takes its part of the batch. The towers' gradients are averaged. Each variable's gradient is
    clipped to the norm `clip_norm`, and Adam applies it. Batch norm's moving averages follow the first tower. In a
    cluster, the parameter servers hold the variables, hidden1_weights in parts.

    Raises a `UserError` if the towers cannot share the batch evenly, or the model cannot be built.
    """
    training, batch_size = settings.training, settings.data.batch_size
    towers = training.towers
    if batch_size % towers:
        raise UserError(f"batch_size: expected a multiple of towers = {towers}, got {batch_size}")
    prefix = cluster.device if cluster else ""
    with tf.device(prefix + "/cpu:0"):
        parts = {name: tf.split(value, towers) for name, value in batch.items()}
    kind = "gpu" if count_gpus() else "cpu"
    devices = [_placement(f"{prefix}/{kind}:{number}", towers, cluster) for number in range(towers)]
    with tf.device(devices[0]):
        global_step = tf.train.get_or_create_global_step()
        learning_rate = tf.train.exponential_decay(
            training.learning_rate,
            global_step * batch_size,
            training.learning_rate_decay_examples,
            training.learning_rate_decay,
            staircase=True,
        )
        optimizer = tf.train.AdamOptimizer(learning_rate)
    built, gradients = [], []
    for number, device in enumerate(devices):
        scope = tf.variable_scope(tf.get_variable_scope(), reuse=number > 0, custom_getter=_partitioning(cluster))
        with tf.device(device), scope:
            part = {name: values[number] for name, values in parts.items()}
            tower = model.build_on(part, settings.data, settings.architecture, is_training=True)
            built.append(tower)
            if number == 0:
                updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
            gradients.append(optimizer.compute_gradients(tower.loss + tower.regularization))
    with tf.device(devices[0]):
        averaged = gradients[0]
        if towers > 1:
            sums = [tf.add_n([gradient for gradient, _ in pairs]) for pairs in zip(*gradients)]
            averaged = [(total / towers, variable) for total, (_, variable) in zip(sums, gradients[0])]
        with tf.control_dependencies(updates):
            train = optimizer.apply_gradients(clipped(averaged, training.clip_norm), global_step)
        with tf.control_dependencies([train]):
            count = tf.identity(global_step.read_value())
        return Step(
            train=train,
            count=count,
            loss=tf.add_n([tower.loss for tower in built]) / towers,
            regularization=built[0].regularization,
            learning_rate=learning_rate,
            predictions=tf.concat([tower.predictions for tower in built], axis=0),
            labels=batch["labels"],
        )


def clipped(pairs, norm):
    """Scales each gradient of these (gradient, variable) pairs down to the norm, if its own norm is larger. The parts
    of a partitioned variable are clipped as one. A norm of 0 changes nothing."""
    if norm == 0:
        return pairs
    halves = collections.defaultdict(list)
    for gradient, variable in pairs:
        # Half the sum of squares, computed without the gigabyte that tf.square would write for hidden1_weights.
        halves[checkpoints.name_and_shape(variable)[0]].append(tf.nn.l2_loss(gradient))
    factors = {name: norm / tf.maximum(tf.sqrt(2 * tf.add_n(parts)), norm) for name, parts in halves.items()}
    return [(gradient * factors[checkpoints.name_and_shape(variable)[0]], variable) for gradient, variable in pairs]


def _placement(device, towers, cluster):
    """The argument of tf.device for a tower's operations. It puts the variables where all towers reach them."""
    if cluster:
        return tf.train.replica_device_setter(cluster=cluster.spec, worker_device=device)
    if towers > 1:
        return tf.train.replica_device_setter(ps_tasks=1, ps_device="/cpu:0", worker_device=device)
    return None


def _partitioning(cluster):
    """A custom getter that partitions hidden1_weights, by far the largest variable, among the parameter servers."""

    def custom(getter, name, *args, **kwargs):
        if cluster and cluster.num_ps > 1 and name.split("/")[-1] == "hidden1_weights":
            kwargs["partitioner"] = tf.fixed_size_partitioner(cluster.num_ps)
        return getter(name, *args, **kwargs)

    return custom
