"""The inference form of each layer runs in TFLite, with its built-in ops alone, and in ONNX."""

import os
import sysconfig

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import randomize, relative_error
from support.configurations import BATCH, CONFIGURATIONS
from support.pooling_graph import build, each_configuration_and_lengths, random_lists

IS_TF1 = tf.__version__.startswith("1.")


@each_configuration_and_lengths([c for c in CONFIGURATIONS if not c.is_training])
def test_tflite(configuration, has_lengths, session, rng, monkeypatch):
    if not hasattr(getattr(tf, "lite", None), "TFLiteConverter"):
        pytest.skip("this TensorFlow has no converter to TFLite")
    if IS_TF1 and has_lengths:
        pytest.skip("the TFLite of TensorFlow 1.15 has no built-in ops for lengths")
    # TensorFlow 1.15 starts its converter as a program, and it may not be in the path.
    scripts = sysconfig.get_path("scripts")
    monkeypatch.setenv("PATH", scripts + os.pathsep + os.environ.get("PATH", ""))
    # The converter of TensorFlow 1.15 needs to know the batch.
    graph = build(configuration, has_lengths, batch=BATCH)
    randomize(session, rng)
    feed = graph.feed(random_lists(rng))
    expected = session.run(graph.y, feed)
    converter = tf.lite.TFLiteConverter.from_session(session, graph.inputs(), [graph.y])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    inputs = {detail["name"].split(":")[0]: detail["index"] for detail in interpreter.get_input_details()}
    for tensor, value in feed.items():
        interpreter.set_tensor(inputs[tensor.op.name], np.asarray(value, tensor.dtype.as_numpy_dtype))
    interpreter.invoke()
    came = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert relative_error(came, expected) <= 1e-5


@each_configuration_and_lengths([c for c in CONFIGURATIONS if not c.is_training])
def test_onnx(configuration, has_lengths, session, rng):
    tf2onnx, onnxruntime = pytest.importorskip("tf2onnx"), pytest.importorskip("onnxruntime")
    graph = build(configuration, has_lengths)
    randomize(session, rng)
    frozen = tf.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), ["y"])
    names = [tensor.name for tensor in graph.inputs()]
    model, _ = tf2onnx.convert.from_graph_def(frozen, input_names=names, output_names=["y:0"])
    served = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (BATCH, 1):
        feed = graph.feed(random_lists(rng, batch))
        inputs = {tensor.name: np.asarray(value, tensor.dtype.as_numpy_dtype) for tensor, value in feed.items()}
        (came,) = served.run(None, inputs)
        assert relative_error(came, session.run(graph.y, feed)) <= 1e-5
