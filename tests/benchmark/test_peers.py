"""The peers of the benchmark compute what loupe computes, and are timed where they are installed."""

import importlib.util
import json

from benchmark import peers, report, steps
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support import child
from support.comparison import assign, random_values, relative_error
from support.configurations import METHODS_OF_2017

# A process of its own, because the peers need eager mode, and PyTorch may fail in the process of TensorFlow.
# It writes the output and the gradients of each task, for the same samples, values and gradient of the output.
KERAS = """
import keras, sys, numpy as np, tensorflow as tf
from benchmark.keras_layer import Pooling

given, computed = dict(np.load(sys.argv[1])), {}
for method, mode in [task.split() for task in sys.argv[3:]]:
    x, d_output, clusters = given["x"], given["d_output"], given[method + "/cluster_weights"].shape[1]
    layer = Pooling(method, clusters, d_output.shape[1])
    layer.build(x.shape)
    names = {variable.path: variable.path.split("/", 1)[1] for variable in layer.variables}
    for variable in layer.variables:
        variable.assign(given[method + "/" + names[variable.path]])
    with tf.GradientTape() as tape:
        y = layer(x, training=mode == "training")
    computed[f"{method}/{mode}/output"] = y
    for variable, gradient in zip(
        layer.trainable_variables, tape.gradient(y, layer.trainable_variables, tf.constant(d_output))
    ):
        computed[f"{method}/{mode}/{names[variable.path]}"] = gradient
np.savez(sys.argv[2], **computed)
"""
PYTORCH = """
import sys, numpy as np, torch
from benchmark.torch_layer import Pooling

parts = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
given, computed = dict(np.load(sys.argv[1])), {}
for method, mode in [task.split() for task in sys.argv[3:]]:
    x, d_output, clusters = given["x"], given["d_output"], given[method + "/cluster_weights"].shape[1]
    layer = Pooling(method, x.shape[2], clusters, d_output.shape[1]).train(mode == "training")
    names = {}
    for key in layer.state_dict():
        module, _, part = key.rpartition(".")
        if part != "num_batches_tracked":
            names[key] = module + "/" + parts[part] if module else part
    values = {key: torch.from_numpy(given[method + "/" + name]) for key, name in names.items()}
    layer.load_state_dict(values, strict=False)
    y = layer(torch.from_numpy(x))
    computed[f"{method}/{mode}/output"] = y.detach()
    keys, parameters = zip(*layer.named_parameters())
    for key, gradient in zip(keys, torch.autograd.grad(y, parameters, torch.from_numpy(d_output))):
        computed[f"{method}/{mode}/{names[key]}"] = gradient
np.savez(sys.argv[2], **computed)
"""
TASKS = [(method, mode) for method in METHODS_OF_2017 for mode in ("inference", "training")]


@pytest.mark.long
@pytest.mark.parametrize("peer, program", [("PyTorch", PYTORCH), ("Keras", KERAS)], ids=["PyTorch", "Keras"])
def test_outputs_and_gradients_are_those_of_loupe(peer, program, tmp_path, rng):
    if peer in peers.missing():
        pytest.skip(peers.missing()[peer])
    given, expected = _of_loupe(rng)
    np.savez(str(tmp_path / "given.npz"), **given)
    child.run(program, tmp_path / "given.npz", tmp_path / "computed.npz", *map(" ".join, TASKS))
    computed = dict(np.load(str(tmp_path / "computed.npz")))
    assert sorted(computed) == sorted(expected)
    for name, value in expected.items():
        assert relative_error(computed[name], value) <= 1e-4, name


def _of_loupe(rng):
    """Two dicts by name: the samples, the values of the variables and the gradient of the output, which the peers are
    given, and the results that they should compute."""
    batch, samples, features, _, outputs = steps.SIZES["small"]
    x = rng.standard_normal((batch, samples, features)).astype("float32")
    given = {"x": x, "d_output": rng.standard_normal((batch, outputs)).astype("float32")}
    expected = {}
    for method, mode in TASKS:
        with tf.Graph().as_default(), tf.Session() as session:
            y = steps.layer(steps.Task(method, "small", mode), tf.constant(x))
            names = [variable.op.name for variable in tf.global_variables()]
            if mode == TASKS[0][1]:  # Both modes have the same values.
                given.update((f"{method}/{name}", value) for name, value in random_values(rng).items())
            assign(session, {name: given[f"{method}/{name}"] for name in names})
            variables = tf.trainable_variables()
            fetches = {v.op.name: g for v, g in zip(variables, tf.gradients(y, variables, given["d_output"]))}
            fetches["output"] = y
            expected.update((f"{method}/{mode}/{name}", value) for name, value in session.run(fetches).items())
    return given, expected


@pytest.mark.long
def test_the_report_has_the_peers_that_are_installed(tmp_path, capsys):
    file = tmp_path / "speed.json"
    arguments = ["--methods", "SoftDBoW", "--sizes", "small", "--modes", "training-input", "--repeats", "2"]
    report.main("", [*arguments, "--no-memory", "--no-time", "--peers", "--json", str(file)])
    (row,) = json.loads(file.read_text())["rows"]
    installed = [name for name in peers.PEERS if name not in peers.missing()]
    assert list(row["times"]) == ["loupe", *installed]
    assert all(row[name + " / loupe"] > 0 for name in installed)
    output = capsys.readouterr().out
    for name, reason in peers.missing().items():
        assert f"--peers: without {name}, because {reason}\n" in output


def test_a_missing_peer_has_a_reason(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tf, "__version__", "2.15.1")
    missing = peers.missing()
    assert list(missing) == list(peers.PEERS)
    assert missing["PyTorch"] == "torch is not installed"
    assert "Keras 3 needs TensorFlow 2.16 or later" in missing["Keras"]


@pytest.mark.long
def test_a_process_that_fails_ends_the_benchmark():
    with pytest.raises(SystemExit, match="loupe .*NoMethod.*: the process ended with 1"):
        peers.times(steps.Task("NoMethod", "small", "inference"), repeats=1)
