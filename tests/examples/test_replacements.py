"""The table "Change the program for good" of examples/forks/README.md: both sides of each row.

A test shows that the old or the wrong line fails or gives other numbers, and that the right line agrees. Where this
TensorFlow has no ``tf.layers``, `test_with_tf_keras` runs their tests in a process with tf_keras.
"""

import importlib
import os
import subprocess
import sys

import loupe
import numpy as np
import pointnetvlad
import pytest
import tensorflow.compat.v1 as tf
import tf_slim as slim
from support import programs
from support.comparison import names, relative_error
from tensorflow.python.framework import ops
from tf_slim import nets
from tf_slim.layers import optimizers

VERSION = tuple(int(part) for part in tf.__version__.split(".")[:2])
HAS_KERAS_2 = VERSION < (2, 16) or os.environ.get("TF_USE_LEGACY_KERAS") == "1"
needs_keras_2 = pytest.mark.skipif(
    not HAS_KERAS_2, reason="tf.layers needs TensorFlow before 2.16, or tf_keras and TF_USE_LEGACY_KERAS=1"
)
needs_keras_3 = pytest.mark.skipif(HAS_KERAS_2, reason="this TensorFlow has tf.layers")
needs_contrib = pytest.mark.skipif(VERSION >= (2, 0), reason="tf.contrib needs TensorFlow 1")
needs_tensorflow_2 = pytest.mark.skipif(VERSION < (2, 0), reason="TensorFlow 1 has these names")
# Keras 2 advises against tf.layers and LSTMCell.
pytestmark = pytest.mark.filterwarnings("ignore:.*(is deprecated|will be removed):UserWarning")

# The rows of tf.layers and tf.nn.rnn_cell.


@needs_keras_3
def test_layers_are_not_available():
    x = tf.zeros([2, 8, 8, 3])
    for call in (
        lambda: tf.layers.conv2d(x, 4, 3),
        lambda: tf.layers.batch_normalization(x),
        lambda: tf.nn.rnn_cell.LSTMCell(4),
    ):
        with pytest.raises(AttributeError, match="is not available with Keras 3"):
            call()


@needs_keras_2
def test_layers_have_the_names_of_tensorflow_1(session):
    """The same list on TensorFlow 1.15, on 2.15 and with tf_keras; with NetVLAD among the layers."""
    x = tf.layers.conv2d(tf.ones([2, 8, 8, 3]), 4, 3)
    x = tf.layers.max_pooling2d(tf.layers.batch_normalization(x, training=True), 2, 2)
    x = tf.layers.dropout(loupe.NetVLAD(4, 9, 5, 6).forward(x), rate=0.5, training=True)
    x = tf.layers.dense(x, 7)
    cells = [tf.nn.rnn_cell.LSTMCell(4), tf.nn.rnn_cell.GRUCell(4)]
    x, _ = tf.nn.dynamic_rnn(tf.nn.rnn_cell.MultiRNNCell(cells), tf.reshape(x, [2, 7, 1]), dtype=tf.float32)
    session.run(tf.global_variables_initializer())
    assert session.run(x).shape == (2, 7, 4)
    cell = "rnn/multi_rnn_cell/cell_"
    norm = ["gamma", "beta", "moving_mean", "moving_variance"]
    expected = ["conv2d/kernel", "conv2d/bias"] + ["batch_normalization/" + part for part in norm]
    expected += [f"{scope}_bn/{part}" for scope in ("cluster", "gating") for part in norm]
    expected += ["cluster_weights", "cluster_weights2", "hidden1_weights", "gating_weights"]
    expected += ["dense/kernel", "dense/bias", cell + "0/lstm_cell/kernel", cell + "0/lstm_cell/bias"]
    expected += [f"{cell}1/gru_cell/{part}/{kind}" for part in ("gates", "candidate") for kind in ("kernel", "bias")]
    assert sorted(names(tf.global_variables())) == sorted(expected)


@pytest.mark.long
@needs_keras_3
def test_with_tf_keras():
    """tf_keras brings tf.layers back, if TF_USE_LEGACY_KERAS is set before TensorFlow is imported."""
    pytest.importorskip("tf_keras")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-k",
        "have_the_names or convolutions or test_dense or test_batch_norm",
    ]
    environment = dict(os.environ, TF_USE_LEGACY_KERAS="1")
    child = subprocess.run(
        command + [__file__], env=environment, stdout=subprocess.PIPE, universal_newlines=True, timeout=600
    )
    assert child.returncode == 0 and "5 passed" in child.stdout and "skipped" not in child.stdout, child.stdout


def results(layer, values, updates=False):
    """The layer's output with these values of its trainable variables, and its moving averages, by their last names."""
    with tf.Graph().as_default(), tf.Session() as session:
        y = layer()
        session.run(tf.global_variables_initializer())
        variables = {variable.op.name.split("/")[-1]: variable for variable in tf.global_variables()}
        for name, variable in variables.items():
            if variable in tf.trainable_variables():
                variable.load(values[name], session)
        y = session.run(y)
        if updates:
            session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
        return y, session.run({name: v for name, v in variables.items() if name.startswith("moving")})


def kernel_and_bias(rng, shape):
    """Values by the names of tf.layers and of slim."""
    kernel, bias = (rng.standard_normal(size).astype(np.float32) for size in (shape, shape[-1:]))
    return {"kernel": kernel, "weights": kernel, "bias": bias, "biases": bias}


@needs_keras_2
def test_convolutions(rng):
    x = rng.standard_normal([2, 8, 8, 3]).astype(np.float32)
    values = kernel_and_bias(rng, [3, 3, 3, 4])
    expected, _ = results(lambda: tf.layers.conv2d(x, 4, 3), values)
    wrong, _ = results(lambda: slim.conv2d(x, 4, 3), values)
    right, _ = results(lambda: slim.conv2d(x, 4, 3, padding="VALID", activation_fn=None), values)
    assert expected.shape == (2, 6, 6, 4) and expected.min() < 0
    assert wrong.shape == (2, 8, 8, 4) and wrong.min() == 0
    assert relative_error(right, expected) <= 1e-6


@needs_keras_2
def test_dense(rng):
    x = rng.standard_normal([2, 3]).astype(np.float32)
    values = kernel_and_bias(rng, [3, 4])
    expected, _ = results(lambda: tf.layers.dense(x, 4), values)
    wrong, _ = results(lambda: slim.fully_connected(x, 4), values)
    right, _ = results(lambda: slim.fully_connected(x, 4, activation_fn=None), values)
    assert expected.min() < 0 == wrong.min()
    assert relative_error(right, expected) <= 1e-6


@needs_keras_2
@pytest.mark.parametrize("shape", [(6, 3), (2, 4, 4, 3)], ids=["rows", "maps"])
def test_batch_norm(shape, rng):
    x = (2 + rng.standard_normal(shape)).astype(np.float32)
    values = {name: rng.standard_normal(3).astype(np.float32) for name in ("gamma", "beta")}
    given = {"scale": True, "decay": 0.99}
    if len(shape) == 2:
        given["fused"] = False
    expected, moved = results(lambda: tf.layers.batch_normalization(x, training=True), values, True)
    wrong, wrongly_moved = results(lambda: slim.batch_norm(x), values, True)
    right, rightly_moved = results(lambda: slim.batch_norm(x, **given), values, True)
    assert relative_error(wrong, expected) >= 0.1
    assert relative_error(wrongly_moved["moving_mean"], moved["moving_mean"]) >= 0.5
    assert relative_error(right, expected) <= 1e-5
    assert all(relative_error(rightly_moved[name], moved[name]) <= 1e-6 for name in moved)


# TensorFlow 2's behaviour.

V1_BEHAVIOR = """
import sys
import loupe, tensorflow.compat.v1 as tf

if sys.argv[1] == "disable":
    tf.disable_v2_behavior()
with tf.Graph().as_default():
    try:
        print(tf.zeros([20, 8]).shape[0].value)
    except AttributeError as error:
        print(error)
    pooled = tf.cond(
        tf.placeholder_with_default(True, []),
        lambda: loupe.NetVLAD(8, 10, 4, 6).forward(tf.zeros([20, 8])),
        lambda: tf.zeros([2, 6]),
    )
    try:
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            pooled = tf.identity(pooled)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            print(session.run(pooled).shape)
    except ValueError as error:
        print("this graph" in str(error))
"""


@needs_tensorflow_2
def test_a_graph_has_the_behaviour_of_tensorflow_2():
    assert programs.run(V1_BEHAVIOR, "keep") == "'int' object has no attribute 'value'\nTrue\n"
    assert programs.run(V1_BEHAVIOR, "disable") == "20\n(2, 6)\n"


# tf-slim.


@needs_tensorflow_2
def test_names_that_tf_slim_lacks(session, monkeypatch):
    """Gradients of 4 and 2 are clipped to 1 in each of these forms."""
    tf.train.get_or_create_global_step()
    w = tf.get_variable("w", initializer=[4.0])
    v = tf.get_variable("v", initializer=[2.0])
    loss = tf.reduce_sum(w * w + v * v) / 2
    optimizer = tf.train.GradientDescentOptimizer(0.5)
    step = tf.train.get_global_step()
    forms = [
        lambda: slim.learning.create_train_op(loss, optimizer, clip_gradient_norm=1.0, summarize_gradients=True),
        lambda: optimizer.apply_gradients(
            slim.learning.clip_gradient_norms(optimizer.compute_gradients(loss), max_norm=1.0)
        ),
        lambda: optimizers.optimize_loss(loss, step, 0.5, "SGD", clip_gradients=clipped),
        lambda: slim.training.create_train_op(loss, optimizer, transform_grads_fn=clipped),
    ]

    def clipped(gradients):
        return [(tf.clip_by_norm(gradient, 1.0), variable) for gradient, variable in gradients]

    for form in forms[:3]:
        with pytest.raises(AttributeError, match="'(IndexedSlices|Tensor)'"):
            form()
    with_transform = forms[3]()
    monkeypatch.setattr(ops, "Tensor", tf.Tensor, raising=False)
    monkeypatch.setattr(ops, "IndexedSlices", tf.IndexedSlices, raising=False)
    for train in [form() for form in forms[:3]] + [with_transform]:
        session.run(tf.global_variables_initializer())
        session.run(train)
        assert session.run([w, v]) == [3.5, 1.5]


@needs_contrib
def test_one_slim_for_both(session):
    """contrib's arg_scope does not reach the batch norm of tf-slim, which the layers use, and nothing says so."""
    contrib = importlib.import_module("tensorflow.contrib.slim")
    moved = []
    for module in (contrib, slim):
        with tf.variable_scope(module.__name__.replace(".", "_")), module.arg_scope([module.batch_norm], decay=0.5):
            loupe.NetVLAD(8, 10, 4, 6).forward(tf.ones([20, 8]))
        moved.append(tf.global_variables(tf.get_variable_scope().name + ".*cluster_bn/moving_variance")[-1])
    session.run(tf.global_variables_initializer())
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
    by_contrib, by_slim = session.run(moved)
    assert np.allclose(by_contrib, 0.999) and np.allclose(by_slim, 0.5)


# tf.contrib.

CONTRIB = {
    "layers.l2_regularizer": slim.l2_regularizer,
    "layers.variance_scaling_initializer": slim.variance_scaling_initializer,
    "layers.xavier_initializer": slim.xavier_initializer,
    "layers.batch_norm": slim.batch_norm,
    "layers.fully_connected": slim.fully_connected,
    "framework.arg_scope": slim.arg_scope,
    "metrics.confusion_matrix": tf.math.confusion_matrix,
    "slim.nets": nets,
}


@needs_tensorflow_2
def test_contrib_is_gone():
    assert not hasattr(tf, "contrib")
    with pytest.raises(ImportError, match="tensorflow.contrib"):
        importlib.import_module("tensorflow.contrib.slim")


@needs_contrib
@pytest.mark.parametrize("name", sorted(CONTRIB))
def test_names_of_contrib(name, rng):
    """The replacement has the results and the variables that contrib's has."""
    if name == "slim.nets":
        old = importlib.import_module("tensorflow.contrib.slim.nets")
        assert {"alexnet", "inception", "resnet_v1", "vgg"} <= set(vars(old)) & set(vars(nets))
        return
    contrib = importlib.import_module("tensorflow.contrib")
    old = getattr(getattr(contrib, name.split(".")[0]), name.split(".")[1])
    x = rng.standard_normal([6, 3]).astype(np.float32)

    def result(function, layers):
        tf.set_random_seed(1)
        if name.endswith("initializer"):
            return function()([5, 4])
        if name.endswith("regularizer"):
            return function(0.1)(tf.constant(x))
        if name.endswith("confusion_matrix"):
            return function([0, 1, 1], [0, 1, 0])
        if name.endswith("arg_scope"):
            with function([layers.fully_connected], num_outputs=4):
                return layers.fully_connected(tf.constant(x))
        return function(tf.constant(x), *([4] if name.endswith("connected") else []))

    found = []
    for function, layers in [(old, contrib.layers), (CONTRIB[name], slim)]:
        with tf.Graph().as_default(), tf.Session() as session:
            y = result(function, layers)
            session.run(tf.global_variables_initializer())
            found.append((session.run(y), names(tf.global_variables())))
    assert np.allclose(found[0][0], found[1][0]) and found[0][1] == found[1][1]


def test_regularizers_and_initializers_of_other_names(session, rng):
    """TensorFlow's functions of the same names are not those of contrib, which slim has."""
    x = tf.constant(rng.standard_normal([6, 3]).astype(np.float32))
    wrong, right, statement = session.run(
        [tf.keras.regularizers.l2(0.1)(x), slim.l2_regularizer(0.1)(x), 0.1 * tf.nn.l2_loss(x)]
    )
    assert np.allclose(right, statement) and np.allclose(wrong, 2 * statement)
    shape = [100, 100]
    wrong, right = session.run([tf.variance_scaling_initializer()(shape), slim.variance_scaling_initializer()(shape)])
    assert np.allclose(wrong.var() * 100, 1, atol=0.1) and np.allclose(right.var() * 100, 2, atol=0.2)


# Estimators.


def model_fn(features, labels, mode, params):
    """A model as Estimators take it, without randomness."""
    w = tf.get_variable("w", initializer=[[1.0], [2.0]])
    loss = tf.reduce_mean(tf.square(tf.matmul(features, w) - labels))
    optimizer = tf.train.GradientDescentOptimizer(params["rate"])
    return loss, optimizer.minimize(loss, tf.train.get_or_create_global_step())


def test_a_session_for_an_estimator(tmp_path, rng):
    x, labels = (rng.standard_normal(shape).astype(np.float32) for shape in ([8, 2], [8, 1]))
    loss, train = model_fn(tf.constant(x), tf.constant(labels), "train", {"rate": 0.1})
    steps = tf.train.StopAtStepHook(last_step=3)
    with tf.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path / "session"), hooks=[steps]) as session:
        while not session.should_stop():
            session.run(train)
    w = tf.train.load_checkpoint(str(tmp_path / "session")).get_tensor("w")
    if VERSION >= (2, 16):
        assert not hasattr(tf, "estimator")
        expected = np.array([[1.0], [2.0]])
        for _ in range(3):
            expected = expected - 0.1 * 2 * x.T @ (x @ expected - labels) / 8
        assert relative_error(w, expected) <= 1e-6
        return

    def specified(features, labels, mode, params):
        loss, train = model_fn(features, labels, mode, params)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)

    estimator = tf.estimator.Estimator(specified, str(tmp_path / "estimator"), params={"rate": 0.1})
    estimator.train(lambda: tf.data.Dataset.from_tensors((x, labels)).repeat(), steps=3)
    assert relative_error(estimator.get_variable_value("w"), w) <= 1e-6


# Python, and the layers themselves.


@pytest.mark.parametrize("is_copied_first", [True, False])
def test_edit_before_you_copy(is_copied_first, tmp_path, monkeypatch):
    """Replacing `import loupe` in all files changes a module that was copied before, which then imports itself."""
    with open(pointnetvlad.__file__, encoding="utf-8") as file:
        module = file.read()
    program = f"edited_{is_copied_first}"
    files = {"pointnetvlad": module, program: "import loupe as lp\n\nlayer = lp.NetVLAD(8, 10, 4, 6)\n"}
    for name, text in files.items():
        if name == program or is_copied_first:
            text = text.replace("import loupe as lp", "import pointnetvlad as lp")
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pointnetvlad")
    if is_copied_first:
        with pytest.raises(AttributeError, match="has no attribute 'NetVLAD'"):
            importlib.import_module(program)
    else:
        assert importlib.import_module(program).layer.forward(tf.zeros([20, 8])).shape == (2, 6)


def test_sizes_are_integers():
    with pytest.raises(TypeError, match="cluster_size: expected a positive integer, got 32.0"):
        loupe.NetVLAD(8, 10, 64 / 2, 6)
    assert loupe.NetVLAD(8, 10, 64 // 2, 6).cluster_size == 32


def test_super_of_self_class():
    class Old(loupe.NetVLAD):
        def context_gating(self, input_layer):
            return super(self.__class__, self).context_gating(input_layer)

    class New(loupe.NetVLAD):
        def context_gating(self, input_layer):
            return super().context_gating(input_layer)

    for base, is_right in [(Old, False), (New, True)]:
        layer = type("Derived", (base,), {})(8, 10, 4, 6)
        if is_right:
            assert layer.context_gating(tf.zeros([2, 6])).shape == (2, 6)
        else:
            with pytest.raises(RecursionError):
                layer.context_gating(tf.zeros([2, 6]))
