"""The published recurrent models: layers of GRU or LSTM cells read the frames, and their last states are the result.

TensorFlow's own cells need Keras 2. The cells here have the same variables and arithmetic, for ``tf.nn.dynamic_rnn``.
B is the number of videos, N the number of frames, D the width of a layer's input, and H the number of its cells.
"""

import tensorflow.compat.v1 as tf


def last_states(frames, num_frames, architecture):
    """The states of all layers after each video's last frame, side by side. float32 [B, layers * states * H]

    The frames, float32 [B, N, D], are l2-normalised first. `num_frames`, an integer tensor [B], says how many leading
    frames of each video are read; None means all. The variables are in the scope RNN/rnn/multi_rnn_cell, as in 2017.
    """
    inputs, result = tf.nn.l2_normalize(frames, axis=2, epsilon=1e-12), []
    for layer in range(architecture.layers):
        with tf.variable_scope(f"RNN/rnn/multi_rnn_cell/cell_{layer}"):
            cell = CELLS[architecture.pooling](tf.dimension_value(inputs.shape[2]), architecture.cells)
        inputs, states = tf.nn.dynamic_rnn(cell, inputs, num_frames, dtype=tf.float32)
        result += tf.nest.flatten(states)
    return tf.concat(result, axis=1)


class GRU:
    """Cells with the gates r and u: ``[r, u] = sigmoid([x, h] W + b)``, ``c = tanh([x, r h] V + d)``, and the next
    state ``h' = u h + (1 - u) c``. The width of x is D, and the size is H.
    """

    def __init__(self, width, size):
        self.state_size = self.output_size = size
        self.W, self.b = _weights("gru_cell/gates", width + size, 2 * size, 1.0)
        self.V, self.d = _weights("gru_cell/candidate", width + size, size, 0.0)

    def zero_state(self, batch_size, dtype):
        return tf.zeros(tf.stack([batch_size, self.state_size]), dtype)

    def __call__(self, x, h, scope=None):
        gates = tf.sigmoid(tf.nn.bias_add(tf.matmul(tf.concat([x, h], axis=1), self.W), self.b))  # [B, 2 H]
        r, u = tf.split(gates, 2, axis=1)
        c = tf.tanh(tf.nn.bias_add(tf.matmul(tf.concat([x, r * h], axis=1), self.V), self.d))  # [B, H]
        h = u * h + (1 - u) * c
        return h, h


class BasicLSTM:
    """Cells with the states c and h: ``[i, j, f, o] = [x, h] W + b``, and the next states
    ``c' = c sigmoid(f + 1) + sigmoid(i) tanh(j)`` and ``h' = tanh(c') sigmoid(o)``.
    """

    def __init__(self, width, size):
        self.state_size, self.output_size = (size, size), size
        self.W, self.b = _weights("basic_lstm_cell", width + size, 4 * size, 0.0)

    def zero_state(self, batch_size, dtype):
        return tuple(tf.zeros(tf.stack([batch_size, size]), dtype) for size in self.state_size)

    def __call__(self, x, states, scope=None):
        c, h = states
        activations = tf.nn.bias_add(tf.matmul(tf.concat([x, h], axis=1), self.W), self.b)  # [B, 4 H]
        i, j, f, o = tf.split(activations, 4, axis=1)
        c = c * tf.sigmoid(f + 1) + tf.sigmoid(i) * tf.tanh(j)
        h = tf.tanh(c) * tf.sigmoid(o)
        return h, (c, h)


CELLS = {"gru": GRU, "lstm": BasicLSTM}


def _weights(scope, width, size, bias):
    with tf.variable_scope(scope):
        kernel = tf.get_variable("kernel", [width, size], initializer=tf.glorot_uniform_initializer())
        return kernel, tf.get_variable("bias", [size], initializer=tf.constant_initializer(bias))
