"""First and second derivatives equal the finite differences of the float64 statement of the formulas."""

import numpy as np
import tensorflow.compat.v1 as tf
from support.comparison import randomize
from support.configurations import BATCH, CONFIGURATIONS, EIGHTH, OUTPUTS, SAMPLES
from support.numpy_pooling import pool
from support.pooling_graph import build, each_configuration_and_lengths, random_lists

# Few, because each entry of each input needs two evaluations.
SIZES = {"cluster_size": 3}


class Problem:
    """The sum of the outputs of a configuration, weighted at random: in TensorFlow, and in float64 NumPy."""

    def __init__(self, configuration, has_lengths, session, rng):
        self.configuration = configuration
        # No empty list: the norm has no derivative where the descriptor is zero.
        self.lengths = (SAMPLES, 2, 3, 4) if has_lengths else None
        graph = build(configuration, has_lengths, **SIZES)
        lists = random_lists(rng)
        self.cotangent = rng.standard_normal([BATCH, OUTPUTS]).astype(np.float32)
        values = randomize(session, rng)
        self.feed = graph.feed(lists, self.lengths)
        self.sources = {variable.op.name: variable for variable in tf.trainable_variables()}
        self.sources["x"] = graph.x
        self.loss = tf.reduce_sum(graph.y * self.cotangent)
        self.inputs = {name: value.astype(np.float64) for name, value in dict(values, x=lists).items()}

    def statement(self, inputs):
        values = dict(inputs)
        y, _ = pool(self.configuration, values.pop("x"), values, num_samples=self.lengths)
        return (y * self.cotangent).sum()

    def moved(self, directions, step):
        return self.statement({name: v + step * directions.get(name, 0) for name, v in self.inputs.items()})


@each_configuration_and_lengths(CONFIGURATIONS, quick=EIGHTH)
def test_derivatives(configuration, has_lengths, session, rng):
    problem = Problem(configuration, has_lengths, session, rng)
    gradients = tf.gradients(problem.loss, list(problem.sources.values()))
    assert_gradients(problem, gradients, session)
    assert_second_derivatives(problem, gradients, session, rng)


def assert_gradients(problem, gradients, session):
    """Compares each entry of each input's gradient with central differences."""
    came = dict(zip(problem.sources, session.run(gradients, problem.feed)))
    expected, step = {}, 1e-5
    for name, value in problem.inputs.items():
        if name not in came:
            continue
        expected[name] = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            direction = np.zeros_like(value)
            direction[place] = 1
            ahead, behind = (problem.moved({name: direction}, sign * step) for sign in (1, -1))
            expected[name][place] = (ahead - behind) / (2 * step)
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    for name, gradient in expected.items():
        # A gradient of mere rounding errors, such as that of a bias before a batch norm, is compared with the largest.
        scale = max(np.abs(gradient).max(), 1e-2 * largest)
        assert np.abs(came[name] - gradient).max() <= 1.2e-4 * scale, name


def assert_second_derivatives(problem, gradients, session, rng):
    """d^2/dt^2 of the sum at input + t * direction, for random directions of all inputs together."""
    sources = list(problem.sources.values())
    placeholders = [tf.placeholder(tf.float32, source.shape) for source in sources]
    slope = tf.add_n([tf.reduce_sum(g * direction) for g, direction in zip(gradients, placeholders)])
    second = [
        tf.constant(0.0) if g is None else tf.reduce_sum(g * direction)
        for g, direction in zip(tf.gradients(slope, sources), placeholders)
    ]
    step = 1e-3
    for _ in range(3):
        directions = {name: rng.standard_normal(problem.inputs[name].shape) for name in problem.sources}
        directions = {name: 0.1 * direction.astype(np.float32) for name, direction in directions.items()}
        feed = dict(problem.feed)
        feed.update(zip(placeholders, directions.values()))
        terms = session.run(second, feed)
        at = {i: problem.moved(directions, i * step) for i in (-2, -1, 0, 1, 2)}
        # Five points, because their error falls with the fourth power of the step.
        expected = (-at[-2] + 16 * at[-1] - 30 * at[0] + 16 * at[1] - at[2]) / (12 * step**2)
        assert abs(sum(terms) - expected) <= 1e-4 * max(np.abs(terms).sum(), abs(expected)), (sum(terms), expected)
