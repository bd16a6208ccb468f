"""Graphs converted to TFLite and to ONNX give the numbers of TensorFlow."""

import os
import sysconfig

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import randomize, relative_error
from support.configurations import BATCH
from support.pooling_graph import build_all, random_lists


def assert_same_in_tflite(configurations, has_lengths, session, rng, monkeypatch):
    """Converts all configurations at once, with the built-in ops of TFLite alone."""
    if not hasattr(getattr(tf, "lite", None), "TFLiteConverter"):
        pytest.skip("this TensorFlow has no converter to TFLite")
    if tf.__version__.startswith("1.") and has_lengths:
        pytest.skip("the TFLite of TensorFlow 1.15 has no built-in ops for lengths")
    # TensorFlow 1.15 starts its converter as a program, which may not be on the PATH.
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", ""))
    # The converter of TensorFlow 1.15 has to know the size of the batch.
    graphs, inputs, feed = _built(configurations, has_lengths, rng, batch=BATCH)
    randomize(session, rng)
    outputs = [graph.y for graph in graphs.values()]
    converter = tf.lite.TFLiteConverter.from_session(session, inputs, outputs)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    places = {detail["name"].split(":")[0]: detail["index"] for detail in interpreter.get_input_details()}
    for tensor, value in feed.items():
        interpreter.set_tensor(places[tensor.op.name], np.asarray(value, tensor.dtype.as_numpy_dtype))
    interpreter.invoke()
    came = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    _assert_close(graphs, came, session.run(outputs, feed))


def assert_same_in_onnx(configurations, has_lengths, session, rng):
    """Converts all configurations at once, for batches of any size."""
    tf2onnx, onnxruntime = pytest.importorskip("tf2onnx"), pytest.importorskip("onnxruntime")
    graphs, inputs, _ = _built(configurations, has_lengths, rng)
    randomize(session, rng)
    outputs = [graph.y for graph in graphs.values()]
    names = [y.op.name for y in outputs]
    frozen = tf.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), names)
    model, _ = tf2onnx.convert.from_graph_def(
        frozen, input_names=[tensor.name for tensor in inputs], output_names=[y.name for y in outputs]
    )
    served = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (BATCH, 1):
        feed = next(iter(graphs.values())).feed(random_lists(rng, batch))
        given = {tensor.name: np.asarray(value, tensor.dtype.as_numpy_dtype) for tensor, value in feed.items()}
        _assert_close(graphs, served.run([y.name for y in outputs], given), session.run(outputs, feed))


def _built(configurations, has_lengths, rng, batch=None):
    graphs = build_all(configurations, has_lengths, batch)
    any_graph = next(iter(graphs.values()))
    return graphs, any_graph.inputs(), any_graph.feed(random_lists(rng))


def _assert_close(graphs, came, expected):
    errors = {name: relative_error(*pair) for name, pair in zip(graphs, zip(came, expected))}
    assert len(came) == len(errors) and all(error <= 1e-5 for error in errors.values()), errors
