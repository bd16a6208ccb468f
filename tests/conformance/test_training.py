"""Every optimizer of tf.compat.v1.train trains every layer."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.configurations import BATCH, METHODS, OUTPUTS, Configuration
from support.pooling_graph import build_all, random_lists

# Rates of optimizers that learn too slowly at the default of 0.05.
RATES = {"AdadeltaOptimizer": 100.0, "ProximalAdagradOptimizer": 0.3, "AdagradOptimizer": 0.3, "FtrlOptimizer": 0.3}

OPTIMIZERS = [
    name for name in dir(tf.train) if name.endswith("Optimizer") and name not in ("Optimizer", "SyncReplicasOptimizer")
]


def test_optimizers_are_found():
    assert {"GradientDescentOptimizer", "MomentumOptimizer", "AdamOptimizer", "RMSPropOptimizer"} < set(OPTIMIZERS)


def optimizer(name, step):
    rate = RATES.get(name, 0.05)
    if name == "AdagradDAOptimizer":
        return tf.train.AdagradDAOptimizer(rate, step)
    if name == "MomentumOptimizer":
        return tf.train.MomentumOptimizer(rate, 0.9)
    return getattr(tf.train, name)(rate)


# NetFV has variables of all kinds. All methods together take a quarter of a minute.
each_set_of_methods = pytest.mark.parametrize(
    "methods", [["NetFV"], pytest.param(list(METHODS), marks=pytest.mark.long)], ids=["NetFV", "all"]
)


def losses(methods, rng, **flags):
    """A feed, the losses of the methods on one batch with lengths, a dict by name, and the gradients of them all."""
    graphs = build_all([Configuration(method, is_training=True, **flags) for method in methods], has_lengths=True)
    target = rng.uniform(-0.5, 0.5, [BATCH, OUTPUTS]).astype(np.float32)
    by_name = {name: tf.reduce_mean(tf.square(graph.y - target)) for name, graph in graphs.items()}
    variables = tf.trainable_variables()
    gradients = list(zip(tf.gradients(list(by_name.values()), variables), variables))
    return next(iter(graphs.values())).feed(random_lists(rng)), by_name, gradients


def assert_trains(name, session, feed, by_name, train):
    """Each loss falls, and each variable moves."""
    variables = tf.trainable_variables()
    # The first step of dual averaging starts at the origin, wherever the variables are.
    session.run(train, feed)
    before = session.run([by_name, variables], feed)
    for _ in range(10):
        session.run(train, feed)
    after = session.run([by_name, variables], feed)
    assert all(np.isfinite(value).all() for value in after[1]), name
    assert all(after[0][key] < before[0][key] for key in by_name), (name, before[0], after[0])
    for variable, now, then in zip(variables, after[1], before[1]):
        assert (now != then).any(), (name, variable.op.name)


@pytest.mark.long
@each_set_of_methods
def test_optimizers(methods, session, rng):
    feed, by_name, gradients = losses(methods, rng, add_batch_norm=True, gating=True)
    step = tf.train.create_global_step()
    for name in OPTIMIZERS:
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train = optimizer(name, step).apply_gradients(gradients, global_step=step)
        session.run(tf.global_variables_initializer())
        assert_trains(name, session, feed, by_name, train)
        assert session.run(step) == 11


@each_set_of_methods
def test_sync_replicas_optimizer(methods, graph, rng):
    """It wraps another optimizer, and needs a session with its hook."""
    feed, by_name, gradients = losses(methods, rng, add_batch_norm=False, gating=True)
    wrapper = tf.train.SyncReplicasOptimizer(tf.train.GradientDescentOptimizer(0.05), 1, total_num_replicas=1)
    # The step must not wait for the updates: a thread of the hook runs parts of it, and feeds no samples.
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    train = tf.group(wrapper.apply_gradients(gradients, tf.train.create_global_step()), *updates)
    hook = wrapper.make_session_run_hook(is_chief=True)
    # The thread waits for a next step that does not come.
    with tf.train.MonitoredTrainingSession(hooks=[hook], stop_grace_period_secs=1) as session:
        assert_trains("SyncReplicasOptimizer", session, feed, by_name, train)
