"""The recurrent models against float64 NumPy: states, gradients, lengths."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import by_name, randomize, relative_error
from yt8m import recurrent
from yt8m.settings import Architecture

VIDEOS, FRAMES, WIDTH, CELLS = 4, 6, 5, 3
LENGTHS = {"all": None, "different": np.array([FRAMES, 1, 4, 1], np.int32), "short": np.array([1, 3, 2, 3], np.int32)}
NUM_STATES = {"gru": 1, "lstm": 2}
each_cell = pytest.mark.parametrize("name", sorted(recurrent.CELLS))
each_length = pytest.mark.parametrize("lengths", ["all", "different", pytest.param("short", marks=pytest.mark.long)])


def architecture(name, cells=CELLS, layers=2):
    return Architecture(pooling=name, cells=cells, layers=layers)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def statement(name, frames, lengths, values):
    """The last states [B, S] of two layers, one video and one frame after the other."""
    result = []
    for video, frame_vectors in enumerate(frames):
        count = len(frame_vectors) if lengths is None else lengths[video]
        inputs = [vector / np.sqrt(max(vector @ vector, 1e-12)) for vector in frame_vectors[:count]]
        last = []
        for layer in range(2):
            scope = f"RNN/rnn/multi_rnn_cell/cell_{layer}/"
            inputs, state = {"gru": gru, "lstm": lstm}[name](inputs, scope, values)
            last.append(state)
        result.append(np.concatenate(last))
    return np.array(result)


def gru(inputs, scope, values):
    gates, gate_biases, candidate, candidate_biases = (
        values[f"{scope}gru_cell/{part}/{kind}"] for part in ("gates", "candidate") for kind in ("kernel", "bias")
    )
    h, outputs = np.zeros(CELLS), []
    for x in inputs:
        r, u = np.split(sigmoid(np.concatenate([x, h]) @ gates + gate_biases), 2)
        c = np.tanh(np.concatenate([x, r * h]) @ candidate + candidate_biases)
        h = u * h + (1 - u) * c
        outputs.append(h)
    return outputs, h


def lstm(inputs, scope, values):
    c, h, outputs = np.zeros(CELLS), np.zeros(CELLS), []
    for x in inputs:
        activation = np.concatenate([x, h]) @ values[scope + "basic_lstm_cell/kernel"]
        i, j, f, o = np.split(activation + values[scope + "basic_lstm_cell/bias"], 4)
        c = c * sigmoid(f + 1) + sigmoid(i) * np.tanh(j)
        h = np.tanh(c) * sigmoid(o)
        outputs.append(h)
    return outputs, np.concatenate([c, h])


@each_cell
@each_length
def test_states_and_gradients(name, lengths, session, rng):
    frames = rng.standard_normal((VIDEOS, FRAMES, WIDTH)).astype(np.float32)
    lengths = LENGTHS[lengths]
    x = tf.constant(frames)
    cotangent = rng.standard_normal((VIDEOS, 2 * CELLS * NUM_STATES[name]))
    states = recurrent.last_states(x, lengths, architecture(name))
    sources = dict(by_name(tf.trainable_variables()), x=x)
    gradients = tf.gradients(tf.reduce_sum(states * cotangent.astype(np.float32)), list(sources.values()))
    values = {key: value.astype(np.float64) for key, value in randomize(session, rng).items()}
    values["x"] = frames.astype(np.float64)
    directions = {key: rng.standard_normal((3,) + value.shape) for key, value in values.items()}
    numeric = {key: [] for key in values}
    for key, value in values.items():
        for direction in directions[key]:
            plus, minus = (
                (statement(name, moved["x"], lengths, moved) * cotangent).sum()
                for moved in (dict(values, **{key: value + step * direction}) for step in (1e-5, -1e-5))
            )
            numeric[key].append((plus - minus) / 2e-5)
    states, gradients = session.run([states, gradients])
    assert relative_error(states, statement(name, values["x"], lengths, values)) < 2e-6
    for key, gradient in zip(sources, gradients):
        slopes = [(gradient * direction).sum() for direction in directions[key]]
        np.testing.assert_allclose(slopes, numeric[key], rtol=0, atol=1e-5 * np.linalg.norm(gradient), err_msg=key)


@each_cell
def test_initial_values_are_those_of_2017(name, session):
    recurrent.last_states(tf.zeros([1, 1, 100]), None, architecture(name, 200, 1))
    session.run(tf.global_variables_initializer())
    for variable in tf.global_variables():
        value = session.run(variable)
        if variable.op.name.endswith("bias"):
            assert (value == (1 if "gates" in variable.op.name else 0)).all()
        else:
            limit = (6 / sum(value.shape)) ** 0.5
            np.testing.assert_allclose([value.min(), value.max()], [-limit, limit], rtol=1e-3)


@each_cell
def test_sizes_that_are_known_only_at_run_time(name, session, rng):
    frames = rng.standard_normal((2, 3, WIDTH)).astype(np.float32)
    x, lengths = tf.placeholder(tf.float32, [None, None, WIDTH]), tf.placeholder(tf.int64, [None])
    states = recurrent.last_states(x, lengths, architecture(name))
    gradient = tf.gradients(states, x)[0]
    session.run(tf.global_variables_initializer())
    came, slope = session.run([states, gradient], {x: frames, lengths: [1, 3]})
    assert came.shape == (2, 2 * CELLS * NUM_STATES[name]) and slope.shape == frames.shape
    assert not slope[0, 1:].any() and slope[1].any()
