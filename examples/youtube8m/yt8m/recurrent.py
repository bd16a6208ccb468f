"""The published recurrent models: layers of GRU or LSTM cells read the frames, and their last states are the video.

TensorFlow's own cells are gone with Keras 3. These have their variables and arithmetic, in one loop of TensorFlow's for
each layer. The gradient of the loop is written out, because TensorFlow's own adds up the gradient of the weights frame
by frame, a quarter of a step's time. Here a loop gathers the gradients of the activations, and one product does the
rest.

In the comments B is the number of videos, N that of frames, D the width of what a layer reads, H that of its cells.
"""

import loupe
import tensorflow.compat.v1 as tf


def last_states(frames, num_frames, architecture, is_training):
    """The states of all layers after each video's last frame, side by side. float32 [B, layers * states * H]

    The variables are below the scope RNN/rnn/multi_rnn_cell, as in 2017.

    Args:
      frames: float32 [B, N, D], not normalised; each is l2-normalised first.
      num_frames: how many leading frames of each video are read, an integer tensor [B]; or None, if all are.
      architecture: a `settings.Architecture` whose `pooling` is a key of `CELLS`.
      is_training: whether more is kept, for the sake of fast gradients.
    """
    inputs = tf.transpose(tf.nn.l2_normalize(frames, axis=2, epsilon=1e-12), [1, 0, 2])  # [N, B, D]
    if num_frames is None:
        num_frames = tf.fill([tf.shape(inputs)[1]], tf.shape(inputs)[0])
    inputs = inputs[: tf.reduce_max(num_frames)]
    places = tf.stack([tf.cast(num_frames, tf.int32), tf.range(tf.shape(inputs)[1])], axis=1)  # [B, 2]
    result = []
    for layer in range(architecture.layers):
        with tf.variable_scope(f"RNN/rnn/multi_rnn_cell/cell_{layer}"):
            states = _layer(CELLS[architecture.pooling](architecture.cells), inputs, is_training)
        result += [tf.gather_nd(state, places) for state in states]
        inputs = states[-1][1:]
    return tf.concat(result, axis=1)


class GRU:
    """Cells with the gates r and u: ``[r, u] = sigmoid([x, h] W + b)``, ``c = tanh([x, r h] V + d)``, and the next
    state ``h' = u h + (1 - u) c``.

    Args:
      size: H, how many cells there are.

    Attributes:
      num_states: how many states there are, of which the last is what the next layer reads.
      kernels: of each kernel with its biases the scope, how many activations it gives, and the biases' initial value.
    """

    num_states = 1  # h

    def __init__(self, size):
        self.size = size
        self.kernels = [("gru_cell/gates", 2 * size, 1.0), ("gru_cell/candidate", size, 0.0)]

    def step(self, kernels, projected, h):
        """A frame's states, a list of [B, H], and activations r, u, c [B, 3 H].

        Args:
          kernels: the rows of each kernel by which the states are multiplied.
          projected: [B, 3 H], the frame multiplied by the other rows of the kernels, with their biases.
          h: the states before the frame.
        """
        gates, candidate = tf.split(projected, [2 * self.size, self.size], axis=1)
        ru = tf.sigmoid(gates + tf.matmul(h, kernels[0]))
        r, u = tf.split(ru, 2, axis=1)
        c = tf.tanh(candidate + tf.matmul(r * h, kernels[1]))
        return [u * (h - c) + c], tf.concat([ru, c], axis=1)

    def step_gradient(self, transposed, activations, before, after, gradients):
        """The gradients of the states before a frame, a list of [B, H], and of its projection [B, 3 H].

        Args:
          transposed: the `kernels` of `step`, transposed.
          activations: those that `step` gave.
          before, after, gradients: the states before the frame, after it, and the gradients of the latter.
        """
        (h,), (dh,) = before, gradients
        r, u, c = tf.split(activations, 3, axis=1)
        dc = dh * (1 - u) * (1 - c * c)
        drh = tf.matmul(dc, transposed[1])
        dru = tf.concat([drh * h * r * (1 - r), dh * (h - c) * u * (1 - u)], axis=1)
        return [dh * u + drh * r + tf.matmul(dru, transposed[0])], tf.concat([dru, dc], axis=1)

    def factors(self, activations, h):
        """What `step` multiplies each kernel by, for all frames at once, a list of [N, B, H]."""
        return [h, h * activations[:, :, : self.size]]


class BasicLSTM:
    """Cells with the states c and h: ``[i, j, f, o] = [x, h] W + b``, and the next states
    ``c' = c sigmoid(f + 1) + sigmoid(i) tanh(j)`` and ``h' = tanh(c') sigmoid(o)``.

    Arguments, attributes and methods are those of `GRU`.
    """

    num_states = 2  # c, h

    def __init__(self, size):
        self.size = size
        self.kernels = [("basic_lstm_cell", 4 * size, 0.0)]

    def step(self, kernels, projected, c, h):
        i, j, f, o = tf.split(projected + tf.matmul(h, kernels[0]), 4, axis=1)
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

    def factors(self, activations, c, h):
        return [h]


CELLS = {"gru": GRU, "lstm": BasicLSTM}


def _layer(cell, inputs, is_training):
    """The states before the first frame of the inputs [N, B, D] and after each, a list of [N + 1, B, H]."""
    width = tf.dimension_value(inputs.shape[2])
    upper, lower, biases = [], [], []
    for scope, size, initial in cell.kernels:
        with tf.variable_scope(scope):
            kernel = tf.get_variable("kernel", [width + cell.size, size], initializer=tf.glorot_uniform_initializer())
            biases.append(tf.get_variable("bias", [size], initializer=tf.constant_initializer(initial)))
        for rows, part in zip([upper, lower], tf.split(kernel, [width, cell.size])):
            rows.append(part)
    upper, biases = tf.concat(upper, axis=1), tf.concat(biases, axis=0)  # [D, M], [M]

    def projected(frames):  # [R, D] -> [R, M]
        return tf.nn.bias_add(loupe.project(frames, upper), biases)

    if not is_training:
        # One by one, because the projections of all frames would be several times as large as the frames.
        return _run(cell, tf.shape(inputs), lambda frame: projected(inputs[frame]), lower)[: cell.num_states]
    projections = tf.reshape(
        projected(tf.reshape(inputs, [-1, width])), tf.stack([*tf.unstack(tf.shape(inputs))[:2], -1])
    )

    @tf.custom_gradient
    def run(projections, *kernels):
        *states, activations = _run(cell, tf.shape(inputs), lambda frame: projections[frame], kernels, is_training=True)
        return states, lambda *gradients: _gradients(cell, kernels, states, activations, gradients)

    return run(projections, *lower)


def _run(cell, shape, projection, kernels, is_training=False):
    """The states as `_layer` has them, and in training the activations [N, B, M].

    Args:
      shape: N, B and another, a tensor.
      projection: of the number of a frame its `projected`, as `GRU.step` has it.
      kernels: as `GRU.step` has them.
    """
    num_frames, num_videos, _ = tf.unstack(shape)
    zeros = tf.zeros(tf.stack([num_videos, cell.size]))
    arrays = [tf.TensorArray(tf.float32, num_frames + 1).write(0, zeros) for _ in range(cell.num_states)]
    arrays += [tf.TensorArray(tf.float32, num_frames)] if is_training else []

    def body(frame, states, arrays):
        states, activations = cell.step(kernels, projection(frame), *states)
        written = [array.write(frame + 1, state) for array, state in zip(arrays, states)]
        return frame + 1, states, written + [array.write(frame, activations) for array in arrays[cell.num_states :]]

    initial = tf.constant(0), [zeros] * cell.num_states, arrays
    _, _, arrays = tf.while_loop(lambda frame, *_: frame < num_frames, body, initial, back_prop=not is_training)
    widths = [cell.size] * cell.num_states + [_num_activations(cell)]
    return [_stacked(array, width) for array, width in zip(arrays, widths)]


def _gradients(cell, kernels, states, activations, gradients):
    """The gradients of the projections and of the kernels, a list, from those of the states, as `_layer` has them."""
    num_frames = tf.shape(activations)[0]
    before = [state[:-1] for state in states]
    # Once, because products with a transposed operand take longer.
    transposed = [tf.transpose(kernel) for kernel in kernels]

    def body(frame, reaching, array):
        reaching = [one + other[frame + 1] for one, other in zip(reaching, gradients)]
        reaching, gathered = cell.step_gradient(
            transposed,
            activations[frame],
            [state[frame] for state in states],
            [state[frame + 1] for state in states],
            reaching,
        )
        return frame - 1, reaching, array.write(frame, gathered)

    initial = num_frames - 1, [tf.zeros_like(state[0]) for state in states], tf.TensorArray(tf.float32, num_frames)
    _, _, array = tf.while_loop(lambda frame, *_: frame >= 0, body, initial, back_prop=False)
    of_projections = _stacked(array, _num_activations(cell))  # [N, B, M]
    of_kernels, start = [], 0
    for factor, (_, size, _) in zip(cell.factors(activations, *before), cell.kernels):
        part = of_projections[:, :, start : start + size]
        of_kernels.append(tf.matmul(_rows(factor), _rows(part), transpose_a=True))
        start += size
    return [of_projections, *of_kernels]


def _num_activations(cell):
    """M, how many activations a frame has."""
    return sum(size for _, size, _ in cell.kernels)


def _stacked(array, width):
    stacked = array.stack()
    stacked.set_shape([None, None, width])
    return stacked


def _rows(x):
    return tf.reshape(x, [-1, tf.dimension_value(x.shape[2])])
