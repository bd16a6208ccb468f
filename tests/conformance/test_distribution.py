"""Layers on several devices and several servers."""

import socket

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import assign, by_name, random_values, relative_error
from support.configurations import BATCH, CONFIGURATIONS, METHODS_OF_2017, OUTPUTS, a_configuration_of_each_method
from support.pooling_graph import build_all, random_lists

RATE = 0.1


@a_configuration_of_each_method
def test_two_towers(configuration, rng):
    """On two virtual devices, under AUTO_REUSE: one update for each variable, by the mean of the towers' gradients."""
    lists, target = random_lists(rng, 2 * BATCH), rng.uniform(-0.5, 0.5, [2 * BATCH, OUTPUTS]).astype(np.float32)
    optimizer = tf.train.GradientDescentOptimizer(RATE)
    towers, losses = [], []
    for i in range(2):
        batch = slice(i * BATCH, (i + 1) * BATCH)
        with tf.device("/cpu:{}".format(i)), tf.variable_scope("pooling", reuse=tf.AUTO_REUSE):
            loss = tf.reduce_mean(tf.square(configuration.layer().forward(lists[batch]) - target[batch]))
        losses.append(loss)
        towers.append(optimizer.compute_gradients(loss))
        if i == 0:
            of_one_tower = [variable.op.name for variable in tf.global_variables()]
            updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert [variable.op.name for variable in tf.global_variables()] == of_one_tower
    assert all(gradient is not None for tower in towers for gradient, _ in tower)
    pairs = [((one + two) / 2, variable) for (one, variable), (two, _) in zip(*towers)]
    assert len({variable.op.name for _, variable in pairs}) == len(pairs) == len(tf.trainable_variables())
    train = tf.group(optimizer.apply_gradients(pairs), *updates)

    with tf.Session(config=tf.ConfigProto(device_count={"CPU": 2})) as session:
        values = random_values(rng)
        assign(session, values)
        options, metadata = tf.RunOptions(output_partition_graphs=True), tf.RunMetadata()
        session.run(train, None, options, metadata)
        devices = {node.device for graph in metadata.partition_graphs for node in graph.node if "MatMul" in node.op}
        assert {device[-5:] for device in devices} == {"CPU:0", "CPU:1"}
        came = session.run(by_name(tf.trainable_variables()))
        assign(session, values)
        alone = [session.run({v.op.name: g for g, v in tower}) for tower in towers]
    for name, value in came.items():
        expected = values[name] - RATE * (alone[0][name] + alone[1][name]) / 2
        assert relative_error(value, expected) <= 1e-6, name


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


@pytest.fixture(scope="module")
def cluster():
    """Two parameter servers and a worker, all on loopback and in this process."""
    # Another program may take a port before a server does, so try again.
    for attempt in range(5):
        worker, first, second = ("127.0.0.1:{}".format(port) for port in free_ports(3))
        spec = tf.train.ClusterSpec({"worker": [worker], "ps": [first, second]})
        try:
            servers = [tf.train.Server(spec, "ps", i) for i in range(2)] + [tf.train.Server(spec, "worker", 0)]
        except tf.errors.OpError:
            if attempt == 4:
                raise
            continue
        return servers
    return None


@pytest.mark.long
def test_partitioned_over_parameter_servers(cluster, rng, tmp_path):
    """Layers are trained, saved, and restored without partitions, all in one graph, because connecting is slow."""
    lists = random_lists(rng)
    target = rng.uniform(-0.5, 0.5, [BATCH, OUTPUTS]).astype(np.float32)
    device = tf.train.replica_device_setter(2, worker_device="/job:worker/task:0")
    with tf.device(device), tf.variable_scope(tf.get_variable_scope(), partitioner=tf.fixed_size_partitioner(2)):
        graphs = build_all(CONFIGURATIONS)
    losses = {name: tf.reduce_mean(tf.square(graph.y - target)) for name, graph in graphs.items()}
    parts = [variable for variable in tf.trainable_variables() if "/part_" in variable.op.name]
    assert {variable.device for variable in parts} == {"/job:ps/task:0", "/job:ps/task:1"}
    for configuration in CONFIGURATIONS:
        names = {v.op.name for v in parts if v.op.name.startswith(str(configuration) + "/")}
        if configuration.method in METHODS_OF_2017:
            assert {str(configuration) + "/cluster_weights/part_{}".format(i) for i in range(2)} <= names
        assert {str(configuration) + "/hidden1_weights/part_{}".format(i) for i in range(2)} <= names
    with tf.device(device), tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.GradientDescentOptimizer(0.05).minimize(tf.add_n(list(losses.values())))
    saver = tf.train.Saver()
    feed = next(iter(graphs.values())).feed(lists)
    with tf.Session(cluster[-1].target) as session:
        session.run(tf.global_variables_initializer())
        before = session.run(losses, feed)
        for _ in range(10):
            session.run(train, feed)
        after = session.run(losses, feed)
        assert all(after[name] < before[name] for name in before)
        expected = session.run({name: graph.y for name, graph in graphs.items()}, feed)
        path = saver.save(session, str(tmp_path / "model.ckpt"))
    with tf.Graph().as_default(), tf.Session() as session:
        graphs = build_all(CONFIGURATIONS)
        assert not any("/part_" in variable.op.name for variable in tf.global_variables())
        tf.train.Saver().restore(session, path)
        came = session.run({name: graph.y for name, graph in graphs.items()}, next(iter(graphs.values())).feed(lists))
    assert all(relative_error(came[name], expected[name]) <= 1e-6 for name in expected)
