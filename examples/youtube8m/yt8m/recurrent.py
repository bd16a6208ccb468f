"""The published recurrent models: layers of GRU or LSTM cells read the frames, and their last states are the video.

TensorFlow's own cells are gone with Keras 3. These have their variables and arithmetic, in one loop of TensorFlow's a
layer. Their gradient is written out, because TensorFlow's own adds up the gradient of the weights frame by frame, which
takes as long as all the rest of it: here the loop gathers what reaches the activations, and one product does the rest.

In the comments B is the number of videos, N that of frames, D the width of what a layer reads, H that of its cells.
"""

import tensorflow.compat.v1 as tf


def last_states(frames, num_frames, settings, is_training):
    """The states of all layers after each video's last frame, side by side. float32 [B, layers * states * H]

    The variables are below the scope RNN/rnn/multi_rnn_cell, as in 2017.

    Args:
      frames: float32 [B, N, D], not normalised; each is l2-normalised first.
      num_frames: how many leading frames of each video are read, an integer tensor [B]; or None, if all are.
      settings: has `pooling`, a key of `CELLS`, `cells` and `layers` as attributes.
      is_training: whether the result will be differentiated: then more is kept for it, and gradients are fast.
    """
    inputs = tf.transpose(tf.nn.l2_normalize(frames, axis=2, epsilon=1e-12), [1, 0, 2])  # [N, B, D]
    if num_frames is None:
        num_frames = tf.fill([tf.shape(inputs)[1]], tf.shape(inputs)[0])
    inputs = inputs[: tf.reduce_max(num_frames)]
    places = tf.stack([tf.cast(num_frames, tf.int32), tf.range(tf.shape(inputs)[1])], axis=1)  # [B, 2]
    result = []
    for layer in range(settings.layers):
        with tf.variable_scope(f"RNN/rnn/multi_rnn_cell/cell_{layer}"):
            cell = CELLS[settings.pooling](tf.dimension_value(inputs.shape[2]), settings.cells)
        states = _states(cell, inputs, is_training)
        result += [tf.gather_nd(state, places) for state in states]
        inputs = states[-1][1:]
    return tf.concat(result, axis=1)


class GRU:
    """Cells with the gates r and u: ``[r, u] = sigmoid([x, h] W + b)``, ``c = tanh([x, r h] V + d)``, and the next
    state ``h' = u h + (1 - u) c``.

    Args:
      width: D, the width of the inputs x.
      size: H, how many cells there are.
    """

    num_states = 1  # h

    def __init__(self, width, size):
        self.width, self.size = width, size
        self.weights = [
            *_kernel_and_bias("gru_cell/gates", width + size, 2 * size, initial_bias=1.0),
            *_kernel_and_bias("gru_cell/candidate", width + size, size),
        ]

    def step(self, weights, x, h):
        """The next states, a list of [B, H], and the activations r, u, c [B, 3 H], from x [B, D] and the states."""
        gates, gate_biases, candidate, candidate_biases = weights
        ru = tf.sigmoid(_linear(x, h, gates, gate_biases))
        r, u = tf.split(ru, 2, axis=1)
        c = tf.tanh(_linear(x, r * h, candidate, candidate_biases))
        return [u * (h - c) + c], tf.concat([ru, c], axis=1)

    def step_gradient(self, transposed, activations, before, after, gradients):
        """From the gradients of the states after a frame those of the states before it, a list of [B, H], and of the
        activations before their nonlinearities [B, 3 H]; `transposed` are the kernels' lower rows, the states'."""
        (h,), (dh,) = before, gradients
        gates, candidate = transposed
        r, u, c = tf.split(activations, 3, axis=1)
        dc = dh * (1 - u) * (1 - c * c)
        drh = tf.matmul(dc, candidate)
        dru = tf.concat([drh * h * r * (1 - r), dh * (h - c) * u * (1 - u)], axis=1)
        return [dh * u + drh * r + tf.matmul(dru, gates)], tf.concat([dru, dc], axis=1)

    def recurrent_inputs(self, h, activations):
        """What of the states each kernel is multiplied with, for all frames at once, a list of [N, B, H]."""
        return [h, h * activations[:, :, : self.size]]


class BasicLSTM:
    """Cells with the state c and the output h: ``[i, j, f, o] = [x, h] W + b``, the next states
    ``c' = c sigmoid(f + 1) + sigmoid(i) tanh(j)`` and ``h' = tanh(c') sigmoid(o)``.

    Arguments and methods are those of `GRU`.
    """

    num_states = 2  # c, h

    def __init__(self, width, size):
        self.width, self.size = width, size
        self.weights = _kernel_and_bias("basic_lstm_cell", width + size, 4 * size)

    def step(self, weights, x, c, h):
        i, j, f, o = tf.split(_linear(x, h, *weights), 4, axis=1)
        i, j, f, o = tf.sigmoid(i), tf.tanh(j), tf.sigmoid(f + 1.0), tf.sigmoid(o)
        c = c * f + i * j
        return [c, tf.tanh(c) * o], tf.concat([i, j, f, o], axis=1)

    def step_gradient(self, transposed, activations, before, after, gradients):
        i, j, f, o = tf.split(activations, 4, axis=1)
        tanh_c = tf.tanh(after[0])
        dc, dh = gradients
        dc += dh * o * (1 - tanh_c * tanh_c)
        parts = [dc * j * i * (1 - i), dc * i * (1 - j * j), dc * before[0] * f * (1 - f), dh * tanh_c * o * (1 - o)]
        gradient = tf.concat(parts, axis=1)
        return [dc * f, tf.matmul(gradient, transposed[0])], gradient

    def recurrent_inputs(self, c, h, activations):
        return [h]


CELLS = {"gru": GRU, "lstm": BasicLSTM}


def _kernel_and_bias(scope, width, size, initial_bias=0.0):
    with tf.variable_scope(scope):
        kernel = tf.get_variable("kernel", [width, size], initializer=tf.glorot_uniform_initializer())
        bias = tf.get_variable("bias", [size], initializer=tf.constant_initializer(initial_bias))
    return [tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)]


def _linear(x, h, kernel, bias):
    return tf.nn.bias_add(tf.matmul(tf.concat([x, h], axis=1), kernel), bias)


def _states(cell, inputs, is_training):
    """The states of a layer before the first frame of inputs [N, B, D] and after each, a list of [N + 1, B, H]."""
    if not is_training:
        return _run(cell, inputs, cell.weights, keeps_activations=False)

    @tf.custom_gradient
    def run(inputs, *weights):
        *states, activations = _run(cell, inputs, weights, keeps_activations=True)

        def gradient(*state_gradients):
            return _gradient(cell, inputs, weights, states, activations, state_gradients)

        return states, gradient

    return run(inputs, *cell.weights)


def _run(cell, inputs, weights, keeps_activations):
    """The states as `_states` has them; and, if asked, the activations [N, B, M], M as many as there are in a frame."""
    num_frames, num_videos = tf.unstack(tf.shape(inputs)[:2])
    zeros = tf.zeros([num_videos, cell.size])
    arrays = [tf.TensorArray(tf.float32, num_frames + 1).write(0, zeros) for _ in range(cell.num_states)]
    if keeps_activations:
        arrays.append(tf.TensorArray(tf.float32, num_frames))

    def body(frame, states, arrays):
        states, activations = cell.step(weights, inputs[frame], *states)
        written = [array.write(frame + 1, state) for array, state in zip(arrays, states)]
        if keeps_activations:
            written.append(arrays[-1].write(frame, activations))
        return frame + 1, states, written

    initial = tf.constant(0), [zeros] * cell.num_states, arrays
    *_, arrays = tf.while_loop(lambda frame, *_: frame < num_frames, body, initial, back_prop=not keeps_activations)
    return [_stacked(array, cell.size) for array in arrays[: cell.num_states]] + [
        _stacked(array, sum(tf.dimension_value(kernel.shape[1]) for kernel in weights[::2]))
        for array in arrays[cell.num_states :]
    ]


def _gradient(cell, inputs, weights, states, activations, state_gradients):
    """The gradients of the inputs and of the weights, a list, from those of the states."""
    kernels = weights[::2]
    num_frames, num_videos = tf.unstack(tf.shape(inputs)[:2])
    # Once, because products with a transposed operand take longer.
    transposed = [tf.transpose(kernel[cell.width :]) for kernel in kernels]

    def body(frame, gradients, array):
        gradients = [gradient + given[frame + 1] for gradient, given in zip(gradients, state_gradients)]
        before, after = [state[frame] for state in states], [state[frame + 1] for state in states]
        gradients, gathered = cell.step_gradient(transposed, activations[frame], before, after, gradients)
        return frame - 1, gradients, array.write(frame, gathered)

    zeros = tf.zeros([num_videos, cell.size])
    initial = num_frames - 1, [zeros] * cell.num_states, tf.TensorArray(tf.float32, num_frames)
    *_, array = tf.while_loop(lambda frame, *_: frame >= 0, body, initial, back_prop=False)
    widths = [tf.dimension_value(kernel.shape[1]) for kernel in kernels]
    gradients = tf.split(_rows(_stacked(array, sum(widths))), widths, axis=1)  # [N * B, width] of each kernel
    of_weights = []
    for gradient, state in zip(gradients, cell.recurrent_inputs(*[state[:-1] for state in states], activations)):
        parts = [tf.matmul(_rows(factor), gradient, transpose_a=True) for factor in (inputs, state)]
        of_weights += [tf.concat(parts, axis=0), tf.reduce_sum(gradient, axis=0)]
    of_inputs = [
        tf.matmul(gradient, kernel[: cell.width], transpose_b=True) for gradient, kernel in zip(gradients, kernels)
    ]
    return [tf.reshape(tf.add_n(of_inputs), tf.shape(inputs))] + of_weights


def _stacked(array, width):
    stacked = array.stack()
    stacked.set_shape([None, None, width])
    return stacked


def _rows(x):
    return tf.reshape(x, [-1, tf.dimension_value(x.shape[2])])
