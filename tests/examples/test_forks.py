"""The modules of examples/forks have the variables and the numbers of the changed copies of the toolbox that they
replace, and keep the promises of the layers.

pytest prints the worst errors against the goldens at the end (see tests/conftest.py).
"""

import collections
import inspect
import os
import re
import sysconfig
import textwrap

from support import golden
import cvmnet
import dh3d
import epcnet
import ficlnet
import loupe
import numpy as np
import pcan
import pointnetvlad
import pytest
import soccernet_multimodal
import tensorflow.compat.v1 as tf
from support.comparison import assign, by_name, randomize, relative_error
from support.kernels import gpu_kernels, has_gpu_kernel
from support.numpy_pooling import flat_unit, softmax, unit

B, N, D, K, O = 3, 10, 8, 4, 6  # noqa: E741 (the sizes of the goldens; a map of theirs is [B, 2, 5, D])


class Fork(collections.namedtuple("Fork", "layer arguments forward_arguments")):
    """A layer, its constructor's arguments after the sizes, and those of forward after the samples."""

    @property
    def has_weights(self):
        return issubclass(self.layer, pcan.NetVLAD)

    def build(self, x, num_samples=None, weights=None, is_training=True, max_samples=N):
        layer = self.layer(D, max_samples, K, O, is_training=is_training, **self.arguments)
        arguments = dict(self.forward_arguments, num_samples=num_samples)
        return layer.forward(x, weights, **arguments) if self.has_weights else layer.forward(x, **arguments)


FORKS = {
    "pointnetvlad": Fork(pointnetvlad.NetVLAD, {}, {}),
    "ficlnet": Fork(ficlnet.NetVLAD, {}, {}),
    "epcnet_gvlad": Fork(epcnet.G_VLAD, {}, {}),
    "cvmnet_bare": Fork(cvmnet.NetVLAD, {"add_batch_norm": False}, {}),
    "cvmnet_reduced": Fork(cvmnet.NetVLAD, {"add_batch_norm": False}, {"do_dim_reduction": True}),
    "soccernet_multimodal_netvlad": Fork(soccernet_multimodal.NetVLAD, {"suffix_tensor_name": "_video"}, {}),
    "soccernet_multimodal_netrvlad": Fork(soccernet_multimodal.NetRVLAD, {"suffix_tensor_name": "_video"}, {}),
    "pcan": Fork(pcan.NetVLAD, {}, {}),
    "dh3d": Fork(dh3d.NetVLAD, {}, {}),
}
each_fork = pytest.mark.parametrize("name", sorted(FORKS))

COPIES = {
    "ficl_netvlad": FORKS["ficlnet"],
    "pcan": FORKS["pcan"],
    "pcan_nogates": Fork(pcan.NetVLAD, {"gating": False}, {}),
    "dh3d_l2samples": FORKS["dh3d"],
    "cvm_bn": Fork(cvmnet.NetVLAD, {}, {"do_dim_reduction": True}),
}
FORKS_DIRECTORY = os.path.dirname(pcan.__file__)


@pytest.mark.parametrize(
    "name", ["cvmnet_bare", "cvmnet_reduced", "epcnet_gvlad", "pointnetvlad", "soccernet_multimodal_netrvlad"]
)
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_goldens(name, mode, session, check):
    recorded = golden.load("forks/" + name)
    x = tf.placeholder(tf.float32, (None,) + recorded["x"].shape[1:])
    y = FORKS[name].build(x, is_training=mode == "train")
    assign(session, golden.of_kind(recorded, "var"))
    sources = dict(by_name(tf.trainable_variables()), x=x)
    gradients = dict(zip(sources, tf.gradients(y * recorded["cotangent"], list(sources.values()))))
    outputs, gradients = session.run([y, gradients], {x: recorded["x"]})
    check(name, "outputs", {"y": outputs}, {"y": recorded["y_" + mode]}, 1e-5)
    check(name, "gradients", gradients, golden.of_kind(recorded, "grad_" + mode), 5e-5)
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), {x: recorded["x"]})
    expected = golden.of_kind(recorded, "var")
    if mode == "train":
        expected.update(golden.of_kind(recorded, "after_update"))
    check(name, "moving averages", session.run(by_name(tf.global_variables())), expected, 1e-6)


class Run:
    """A layer in both modes from a golden's start, and what three steps of training made of it."""

    def __init__(self, fork, recorded, session):
        x = tf.constant(recorded["x"])
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            y_train = fork.build(x, weights=recorded.get("w"), is_training=True)
            updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
            y_infer = fork.build(x, weights=recorded.get("w"), is_training=False)
        loss = tf.reduce_mean(tf.square(y_train - recorded["target"]))
        sources = dict(by_name(tf.trainable_variables()), x=x)
        gradients = dict(zip(sources, tf.gradients(loss, list(sources.values()))))
        with tf.control_dependencies(updates + [loss]):
            step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        assign(session, golden.of_kind(recorded, "var"))
        self.outputs = session.run({"y_infer": y_infer, "y_train": y_train})
        self.gradients = session.run(gradients)
        losses = [session.run([loss, step])[0] for _ in range(3)]
        self.losses = np.array(losses + [session.run(loss)])
        self.after = session.run(by_name(tf.global_variables()))

    def moving_averages(self):
        return moving_averages(self.after)


def moving_averages(values):
    return {name: value for name, value in values.items() if "/moving_" in name}


@pytest.mark.parametrize("name", sorted(COPIES))
def test_goldens_of_three_steps(name, session, check):
    recorded = golden.load("copies/" + name)
    run = Run(COPIES[name], recorded, session)
    check(name, "outputs", run.outputs, {key: recorded[key] for key in run.outputs}, 1e-5)
    check(name, "gradients", run.gradients, golden.of_kind(recorded, "grad"), 5e-5)
    check(name, "losses", {"losses": run.losses}, {"losses": recorded["losses"]}, 1e-5)
    after = golden.of_kind(recorded, "after")
    check(name, "variables after three steps", run.after, after, 1e-5)
    check(name, "moving averages", run.moving_averages(), moving_averages(after), 1e-6)


def test_the_wrong_module_differs(graph):
    """PointNetVLAD's module loads FICL-Net's checkpoints, and PCAN's loads DH3D's, but their numbers differ."""
    recorded = golden.load("copies/ficl_netvlad")
    with tf.Session(graph=graph) as session:
        run = Run(FORKS["pointnetvlad"], recorded, session)
    assert relative_error(run.outputs["y_infer"], recorded["y_infer"]) <= 1e-5
    after = golden.of_kind(recorded, "after")
    assert max(relative_error(run.after[name], after[name]) for name in run.moving_averages()) >= 1e-2
    recorded = golden.load("copies/dh3d_l2samples")
    with tf.Graph().as_default(), tf.Session() as session:
        run = Run(FORKS["pcan"], recorded, session)
    assert relative_error(run.outputs["y_infer"], recorded["y_infer"]) >= 0.1


# The statement of the formulas in NumPy, the reference for lengths and for the weights of pcan.


def numpy_pool(name, lists, values, lengths, weights, is_training):
    """The output for lists [B, N, D] and their lengths, and the moving averages after one step, a dict by name."""
    values = {key.replace("_video", ""): np.asarray(value, np.float64) for key, value in values.items()}
    has_second_norm = name in ("pointnetvlad", "ficlnet", "epcnet_gvlad", "pcan", "dh3d")
    averages = {}

    def normed(x, scope, fused=True, decay=0.999):
        if scope + "_bn/beta" in values:
            scope += "_bn"
        elif scope + "_biases" in values:
            return x + values[scope + "_biases"]
        beta, gamma, mean, variance = (
            values[f"{scope}/{part}"] for part in ("beta", "gamma", "moving_mean", "moving_variance")
        )
        if is_training:
            factor = len(x) / (len(x) - 1) if fused else 1
            averages[scope + "/moving_mean"] = decay * mean + (1 - decay) * x.mean(axis=0)
            averages[scope + "/moving_variance"] = decay * variance + (1 - decay) * factor * x.var(axis=0)
            mean, variance = x.mean(axis=0), x.var(axis=0)
        return gamma * (x - mean) / np.sqrt(variance + 0.001) + beta

    is_real = np.arange(lists.shape[1]) < np.reshape(lengths, [-1, 1])
    x = np.where(is_real[:, :, None], lists, 0).astype(np.float64)
    if name.startswith(("cvmnet", "dh3d")):
        x = unit(x, axis=2)
    a = np.zeros(x.shape[:2] + (K,))
    a[is_real] = softmax(normed(x[is_real] @ values["cluster_weights"], "cluster", fused=not has_second_norm))
    if weights is not None:
        a[is_real] *= weights[is_real]
    sums = np.einsum("bnk,bnd->bdk", a, x)
    if "cluster_weights2" in values:
        sums = sums - a.sum(axis=1)[:, None] * values["cluster_weights2"]
    y = flat_unit(unit(sums, axis=1))
    if "hidden1_weights" in values:
        rows = y.reshape(-1, len(values["hidden1_weights"])) @ values["hidden1_weights"]
        if has_second_norm:
            rows = normed(rows, "bn", fused=False, decay=0.99) if name == "ficlnet" else normed(rows, "bn")
        y = rows.reshape(len(lists), -1, O).sum(axis=1)
    if "gating_weights" in values:
        y = y / (1 + np.exp(-normed(y @ values["gating_weights"], "gating")))
    return y, averages


@each_fork
@pytest.mark.parametrize("mode", [pytest.param("infer", marks=pytest.mark.long), "train"])
def test_lengths(name, mode, session, rng):
    """Compares with NumPy, with NaN as the padding of samples and weights."""
    lengths = [N, 3, 0]
    is_padding = (np.arange(N) >= np.reshape(lengths, [-1, 1]))[:, :, None]
    filled = {
        "x": np.where(is_padding, np.nan, rng.standard_normal([B, N, D])).astype(np.float32),
        "weights": np.where(is_padding, np.nan, rng.standard_normal([B, N, 1])).astype(np.float32),
    }
    x = tf.placeholder(tf.float32, [None, N, D])
    weights = tf.placeholder(tf.float32, [None, N, 1]) if FORKS[name].has_weights else None
    num_samples = tf.placeholder(tf.int32, [None])
    y = FORKS[name].build(x, num_samples, weights, is_training=mode == "train")
    sources = [x] + tf.trainable_variables() + ([] if weights is None else [weights])
    gradients = tf.gradients(y**2, sources)
    values = randomize(session, rng)
    feed = {x: filled["x"], num_samples: lengths}
    if weights is not None:
        feed[weights] = filled["weights"]
    outputs, gradients, _ = session.run([y, gradients, tf.get_collection(tf.GraphKeys.UPDATE_OPS)], feed)
    given = None if weights is None else filled["weights"]
    expected, averages = numpy_pool(name, filled["x"], values, lengths, given, mode == "train")
    assert relative_error(outputs, expected) <= 2e-5
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert not gradients[0][np.broadcast_to(is_padding, [B, N, D])].any()
    moved = {key.replace("_video", ""): v for key, v in session.run(by_name(tf.global_variables())).items()}
    assert bool(averages) == (mode == "train" and not name.startswith("cvmnet"))
    assert all(relative_error(moved[key], value) <= 1e-6 for key, value in averages.items())


def test_maps_of_unknown_size(session, rng):
    """One graph of cvmnet pools maps of all sizes."""
    x = tf.placeholder(tf.float32, [None, None, None, D])
    y = FORKS["cvmnet_reduced"].build(x, max_samples=tf.shape(x)[1] * tf.shape(x)[2])
    values = randomize(session, rng)
    assert y.shape.as_list() == [None, O]
    for height, width in [(2, 5), (1, 1), (3, 4)]:
        maps = rng.standard_normal([B, height, width, D]).astype(np.float32)
        expected, _ = numpy_pool("cvmnet", maps.reshape(B, -1, D), values, [height * width] * B, None, True)
        assert relative_error(session.run(y, {x: maps}), expected) <= 2e-5


@pytest.mark.parametrize("shape", [(B * N, 1), (B, N, 1)], ids=str)
def test_forms_of_weights(shape, session, rng):
    """pcan takes weights of several shapes. Weights of 1 have no effect."""
    x = rng.standard_normal([B * N, D]).astype(np.float32)
    with tf.variable_scope("scope", reuse=tf.AUTO_REUSE):
        weighted = pcan.NetVLAD(D, N, K, O).forward(x, np.ones(shape, np.float32))
        plain = pointnetvlad.NetVLAD(D, N, K, O).forward(x)
    randomize(session, rng)
    weighted, plain = session.run([weighted, plain])
    assert relative_error(weighted, plain) <= 1e-5


def test_suffixes_share_a_scope(session):
    """Two modalities in one scope, with gates of the user's own, reused and partitioned."""
    x, partitioner = tf.zeros([B * N, D]), tf.fixed_size_partitioner(2)
    arguments = (D, N, K, O, False, True, False)
    with tf.variable_scope("scope", reuse=tf.AUTO_REUSE, partitioner=partitioner):
        for suffix in ("_video", "_audio", "_video"):
            layer = soccernet_multimodal.NetVLAD(*arguments, suffix)
            layer.context_gating(layer.forward(x))
    variables = ["cluster_weights", "cluster_bn/beta", "cluster_bn/gamma", "cluster_weights2", "hidden1_weights"]
    variables += ["gating_weights", "gating_bn/beta", "gating_bn/gamma"]
    parts = [name.replace("/", "{0}/") if "/" in name else name + "{0}" for name in variables]
    expected = {f"scope/{part.format(s)}/part_{i}" for part in parts for s in ("_video", "_audio") for i in (0, 1)}
    # The only slice of the first axis of cluster_weights2 is not split further.
    expected = {name for name in expected if not name.endswith(("2_video/part_1", "2_audio/part_1"))}
    assert set(by_name(tf.trainable_variables())) == expected
    session.run(tf.global_variables_initializer())

    with tf.variable_scope("other"):
        soccernet_multimodal.NetRVLAD(*arguments, "_video").forward(x)
        with pytest.raises(ValueError, match="^Variable other/cluster_weights_video already exists"):
            soccernet_multimodal.NetRVLAD(*arguments, "_video").forward(x)


@pytest.mark.parametrize(
    "layer, arguments",
    [
        (pointnetvlad.NetVLAD, []),
        (ficlnet.NetVLAD, []),
        (epcnet.NetVLAD, []),
        (epcnet.G_VLAD, ["groups"]),
        (cvmnet.NetVLAD, []),
        (soccernet_multimodal.NetVLAD, ["suffix_tensor_name"]),
        (soccernet_multimodal.NetRVLAD, ["suffix_tensor_name"]),
        (pcan.NetVLAD, []),
        (dh3d.NetVLAD, []),
    ],
)
def test_signatures(layer, arguments):
    sizes, flags = ["feature_size", "max_samples", "cluster_size", "output_dim"], ["gating", "add_batch_norm"]
    flags += ["is_training"]
    expected = sizes + arguments + flags if "groups" in arguments else sizes + flags + arguments
    assert list(inspect.signature(layer).parameters) == expected
    weighted = ["reshaped_input", "sample_weights"]
    forward = {cvmnet.NetVLAD: ["input", "do_dim_reduction"], pcan.NetVLAD: weighted, dh3d.NetVLAD: weighted}
    forward = forward.get(layer, ["reshaped_input"])
    assert list(inspect.signature(layer.forward).parameters) == ["self"] + forward + ["num_samples"]


def test_errors():
    x = tf.zeros([B * N, D])
    for groups, error in [(0, ValueError), (True, TypeError), (2.0, TypeError)]:
        with pytest.raises(error, match=f"groups: expected a positive integer, got {groups}"):
            epcnet.G_VLAD(D, N, K, O, groups)
    with pytest.raises(ValueError, match="groups: expected a divisor of D [*] K = 32, got 3"):
        epcnet.G_VLAD(D, N, K, O, 3)
    with pytest.raises(TypeError, match="suffix_tensor_name: expected a str, got 1"):
        soccernet_multimodal.NetVLAD(D, N, K, O, True, True, True, 1)
    with pytest.raises(TypeError, match="do_dim_reduction: expected a bool, got"):
        cvmnet.NetVLAD(D, N, K, O).forward(x, np.full([B], N))
    with pytest.raises(ValueError, match=r"^sample_weights: .* got shape \(30, 2\)"):
        pcan.NetVLAD(D, N, K, O).forward(x, np.zeros([B * N, 2], np.float32))
    with pytest.raises(TypeError, match="^sample_weights: expected float32"):
        pcan.NetVLAD(D, N, K, O).forward(x, np.zeros([B * N, 1], np.int32))


@pytest.mark.parametrize("num_samples", [True, False, 0.5])
def test_loupe_refuses_a_call_for_cvmnet(num_samples):
    with pytest.raises(TypeError, match="num_samples: expected integers, got (bool|float32)"):
        loupe.NetVLAD(D, N, K, O).forward(tf.zeros([B * N, D]), num_samples)


@each_fork
def test_every_op_has_a_gpu_kernel(name, graph):
    if not gpu_kernels("MatMul"):
        pytest.skip("this wheel of TensorFlow has no kernels for GPUs")
    x, weights = tf.placeholder(tf.float32, [None, N, D]), tf.placeholder(tf.float32, [None, N, 1])
    y = FORKS[name].build(x, tf.placeholder(tf.int32, [None]), weights)
    tf.gradients(y, [x] + tf.trainable_variables())
    asked = [node for node in graph.as_graph_def().node if not node.device.endswith("CPU:0")]
    missing = {node.name: node.op for node in asked if node.op != "Placeholder" and not has_gpu_kernel(node)}
    assert not missing


@each_fork
@pytest.mark.parametrize("has_lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("form", ["tflite", "onnx"])
@pytest.mark.long
def test_exports(name, has_lengths, form, session, rng, monkeypatch):
    if form == "tflite" and tf.__version__.startswith("1."):
        if has_lengths:
            pytest.skip("the TFLite of TensorFlow 1.15 has no built-in ops for lengths")
        # It starts its converter as a program, which may not be on the PATH.
        scripts = sysconfig.get_path("scripts")
        monkeypatch.setenv("PATH", scripts + os.pathsep + os.environ.get("PATH", ""))
    x = tf.placeholder(tf.float32, [B, N, D], name="x")
    inputs = [x]
    if has_lengths:
        inputs.append(tf.placeholder(tf.int32, [B], name="num_samples"))
    if FORKS[name].has_weights:
        inputs.append(tf.placeholder(tf.float32, [B, N, 1], name="weights"))
    given = dict(zip(["num_samples"] if has_lengths else [], inputs[1:]))
    y = FORKS[name].build(x, weights=inputs[-1], is_training=False, **given)
    y = tf.identity(y, name="y")
    randomize(session, rng)
    numbers = {"num_samples": np.array([N, 3, 0], np.int32)}
    feed = {t: numbers.get(t.op.name, rng.standard_normal(t.shape.as_list()).astype(np.float32)) for t in inputs}
    came = {"tflite": run_tflite, "onnx": run_onnx}[form](session, inputs, y, feed)
    assert relative_error(came, session.run(y, feed)) <= 1e-5


def run_tflite(session, inputs, y, feed):
    converter = tf.lite.TFLiteConverter.from_session(session, inputs, [y])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    places = {detail["name"].split(":")[0]: detail["index"] for detail in interpreter.get_input_details()}
    for tensor, value in feed.items():
        interpreter.set_tensor(places[tensor.op.name], value)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def run_onnx(session, inputs, y, feed):
    tf2onnx, onnxruntime = pytest.importorskip("tf2onnx"), pytest.importorskip("onnxruntime")
    frozen = tf.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), ["y"])
    model, _ = tf2onnx.convert.from_graph_def(frozen, input_names=[x.name for x in inputs], output_names=["y:0"])
    served = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return served.run(None, {tensor.name: value for tensor, value in feed.items()})[0]


def read_page():
    with open(os.path.join(FORKS_DIRECTORY, "README.md"), encoding="utf-8") as file:
        return file.read()


def files_to_copy(module):
    """The files that a module of the forks needs, itself included, found by its imports."""
    files, path = {module + ".py"}, os.path.join(FORKS_DIRECTORY, module + ".py")
    if not os.path.exists(path):  # loupe.py and tf2.py
        return files if module in ("loupe", "tf2") else set()
    with open(path, encoding="utf-8") as file:
        imports = re.findall(r"^(?:import|from) (\w+)", file.read(), re.MULTILINE)
    return files.union(*[files_to_copy(name) for name in imports])


def test_readme_tells_which_files_to_copy():
    rows = re.findall(r"^\|[^|]*\| `(\w+)` \|([^|]*)\|", read_page(), re.MULTILINE)
    copied = {module: set(re.findall(r"`(\w+[.]py)`", cell)) for module, cell in rows}
    modules = [name[:-3] for name in os.listdir(FORKS_DIRECTORY) if name.endswith(".py")]
    assert copied == dict({module: files_to_copy(module) for module in modules}, loupe={"loupe.py"})


@pytest.mark.parametrize("module, name", [(pcan, "pcan"), (dh3d, "dh3d_l2samples")], ids=["pcan", "dh3d"])
def test_readme_replaces_inline_code(module, name, session):
    """The lines of the page, in a function with the program's names, give the program's numbers."""
    lines = re.search(rf"`import {module.__name__} as lp`.*?```python\n(.*?)```", read_page(), re.DOTALL).group(1)
    recorded = golden.load("copies/" + name)
    names = {"feature_size": D, "max_samples": N, "num_point": N, "cluster_size": K, "output_dim": O}
    names.update(gating=True, add_batch_norm=True, is_training=False, lp=module, tf=tf)
    names.update(reshaped_input=tf.constant(recorded["x"]), weights=tf.constant(recorded["w"]))
    names.update(features=tf.reshape(recorded["x"], [B, N, D]), att=tf.reshape(recorded["w"], [B, N]))
    exec("def pool():\n" + textwrap.indent(lines, "    "), names)
    y = names["pool"]()
    assign(session, golden.of_kind(recorded, "var"))
    assert relative_error(session.run(y[0] if name == "pcan" else y), recorded["y_infer"]) <= 1e-5
