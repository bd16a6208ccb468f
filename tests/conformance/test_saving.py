"""Layers that are saved, in any of TensorFlow's ways, give the same numbers where they are loaded."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support import programs
from support.comparison import randomize, relative_error
from support.configurations import BATCH, CONFIGURATIONS, METHODS_OF_2017, a_configuration_of_each_method
from support.pooling_graph import (
    build,
    build_all,
    each_configuration_and_lengths,
    is_quick,
    random_lists,
)


@a_configuration_of_each_method
def test_checkpoint(configuration, session, rng, tmp_path):
    """A checkpoint restores a layer under the same scope and under another."""
    lists = random_lists(rng)
    with tf.variable_scope("video"):
        graph = build(configuration)
    randomize(session, rng)
    # The averages move, as in a training step.
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), graph.feed(lists))
    expected = session.run([graph.y] + tf.global_variables(), graph.feed(lists))
    path = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"))

    def renamed(session):
        scope = "audio/pooling/"
        variables = {variable.op.name.replace(scope, "video/"): variable for variable in tf.global_variables()}
        tf.train.Saver(variables).restore(session, path)

    def assigned(session):
        tf.train.init_from_checkpoint(path, {"video/": "audio/pooling/"})
        session.run(tf.global_variables_initializer())

    def same_names(session):
        tf.train.Saver().restore(session, path)

    for scope, restore in [("video", same_names), ("audio/pooling", renamed), ("audio/pooling", assigned)]:
        with tf.Graph().as_default(), tf.Session() as other:
            with tf.variable_scope(scope):
                graph = build(configuration)
            restore(other)
            came = other.run([graph.y] + tf.global_variables(), graph.feed(lists))
        for result, value in zip(came, expected):
            np.testing.assert_array_equal(result, value)


@each_configuration_and_lengths(CONFIGURATIONS)
def test_frozen_graph(configuration, has_lengths, session, rng):
    """A frozen graph has constants in place of variables."""
    graph = build(configuration, has_lengths)
    randomize(session, rng)
    lists = random_lists(rng)
    feed = {tensor.name: value for tensor, value in graph.feed(lists).items()}
    expected = session.run(graph.y, feed)
    frozen = tf.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), ["y"])
    with tf.Graph().as_default(), tf.Session() as other:
        tf.import_graph_def(frozen, name="")
        assert not tf.global_variables()
        assert relative_error(other.run("y:0", feed), expected) <= 1e-6


READER_OF_META_GRAPHS = """
import sys, numpy as np, tensorflow.compat.v1 as tf
import loupe

path = sys.argv[1]
tf.disable_eager_execution()
with tf.Graph().as_default() as graph, tf.Session() as session:
    tf.train.import_meta_graph(path + ".meta").restore(session, path)
    with np.load(path + ".npz") as inputs:
        feed = {name + ":0": inputs[name] for name in inputs.files}
    outputs = {op.name: op.outputs[0] for op in graph.get_operations() if "/y_" in op.name}
    sources = [graph.get_tensor_by_name(scope + "/x:0") for scope in ("full", "lengths")] + tf.trainable_variables()
    gradients = tf.gradients([tf.square(y) for y in outputs.values()], sources)
    outputs["gradients"] = tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0)
    came = session.run(outputs, feed)
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), feed)
    came.update(session.run({variable.op.name: variable for variable in tf.global_variables()}))
    np.savez(path + "-came.npz", **came)
"""


# The later methods are left to the long run.
each_age_of_methods = pytest.mark.parametrize(
    "is_of_2017", [True, pytest.param(False, marks=pytest.mark.long)], ids=["2017", "later"]
)


def build_with_and_without_lengths(is_of_2017, is_training):
    """One graph of the quick configurations of 2017, or of all later ones, because a process takes seconds to start.

    Returns the graphs, and what to feed.
    """
    graphs, feed = [], {}
    for scope, has_lengths in (("full", False), ("lengths", True)):
        with tf.variable_scope(scope):
            chosen = [
                c
                for c in CONFIGURATIONS
                if c.is_training == is_training
                and (is_quick(c, has_lengths) if is_of_2017 else c.method not in METHODS_OF_2017)
            ]
            built = build_all(chosen, has_lengths)
        graphs += built.values()
        feed.update(graphs[-1].feed(random_lists(np.random.RandomState(2))))
    return graphs, feed


@each_age_of_methods
def test_meta_graph_in_another_process(is_of_2017, session, rng, tmp_path):
    """In the other process, the layers can be run, differentiated and trained."""
    path = str(tmp_path / "model")
    graphs, feed = build_with_and_without_lengths(is_of_2017, True)
    randomize(session, rng)
    # Before the gradients below are built, so that the file does not have them.
    tf.train.Saver().save(session, path)
    np.savez(path + ".npz", **{tensor.op.name: value for tensor, value in feed.items()})
    outputs = {graph.y.op.name: graph.y for graph in graphs}
    sources = [graphs[0].x, graphs[-1].x] + tf.trainable_variables()
    gradients = tf.gradients([tf.square(y) for y in outputs.values()], sources)
    outputs["gradients"] = tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0)
    expected = session.run(outputs, feed)
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), feed)
    expected.update(session.run({variable.op.name: variable for variable in tf.global_variables()}))
    programs.run(READER_OF_META_GRAPHS, path)
    with np.load(path + "-came.npz") as came:
        assert sorted(came.files) == sorted(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(came[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


SERVER = """
import sys, numpy as np, tensorflow.compat.v1 as tf, tensorflow.compat.v2 as tf2

tf.enable_v2_behavior()
assert tf.executing_eagerly()
path = sys.argv[1]
serve = tf2.saved_model.load(path).signatures["serving_default"]
with np.load(path + ".npz") as file:
    inputs = dict(file)
for batch in (1, 3, len(inputs["full_x"])):
    outputs = serve(**{name: tf.constant(value[:batch]) for name, value in inputs.items()})
    np.savez(path + "-{}.npz".format(batch), **{name: value.numpy() for name, value in outputs.items()})
"""


@each_age_of_methods
def test_saved_model_served_in_eager_mode(is_of_2017, session, rng, tmp_path):
    """A session exports it; tf.saved_model.load in TensorFlow 2's eager mode serves batches of any size."""
    path = str(tmp_path / "model")
    graphs, feed = build_with_and_without_lengths(is_of_2017, False)
    randomize(session, rng)
    outputs = {graph.y.op.name.replace("/", "_"): graph.y for graph in graphs}
    inputs = {tensor.op.name.replace("/", "_"): tensor for tensor in feed}
    tf.saved_model.simple_save(session, path, inputs, outputs)
    values = {name: np.asarray(feed[tensor], tensor.dtype.as_numpy_dtype) for name, tensor in inputs.items()}
    np.savez(path + ".npz", **values)
    expected = session.run(outputs, feed)
    programs.run(SERVER, path)
    for batch in (1, 3, BATCH):
        with np.load(path + "-{}.npz".format(batch)) as came:
            assert sorted(came.files) == sorted(expected)
            assert all(relative_error(came[name], y[:batch]) <= 1e-6 for name, y in expected.items())
