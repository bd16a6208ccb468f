"""The reference of the benchmark has the variables and the numbers of loupe, so that their times can be compared."""

from benchmark import reference_graph
import tensorflow.compat.v1 as tf
from support.comparison import assign, random_values, relative_error
from support.configurations import (
    BATCH,
    CLUSTERS,
    FEATURES,
    OF_2017,
    OUTPUTS,
    QUARTER,
    SAMPLES,
    parametrize,
)

each_configuration = parametrize(OF_2017, QUARTER)


def _loupe(configuration, x):
    return configuration.layer().forward(x)


def _reference(configuration, x):
    settings = configuration._asdict()
    return reference_graph.forward(settings.pop("method"), x, SAMPLES, CLUSTERS, OUTPUTS, **settings)


def _variables(build, configuration):
    """Names and shapes of the variables in order of creation, all and the trainable ones."""
    with tf.Graph().as_default():
        build(configuration, tf.placeholder(tf.float32, [None, FEATURES]))
        return [
            [(variable.op.name, variable.shape.as_list()) for variable in variables]
            for variables in (tf.global_variables(), tf.trainable_variables())
        ]


@each_configuration
def test_same_variables(configuration):
    assert _variables(_reference, configuration) == _variables(_loupe, configuration)


def _run(build, configuration, x, cotangent, values):
    """The outputs, the gradients, and the moving averages after an update."""
    with tf.Graph().as_default(), tf.Session() as session:
        samples = tf.constant(x)
        y = build(configuration, samples)
        assign(session, values)
        sources = {variable.op.name: variable for variable in tf.trainable_variables()}
        sources["x"] = samples
        gradients = dict(zip(sources, tf.gradients(y, list(sources.values()), cotangent)))
        came = session.run([y, gradients])
        session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
        return came + [session.run({v.op.name: v for v in tf.global_variables()})]


@each_configuration
def test_same_numbers(configuration, rng):
    with tf.Graph().as_default():
        _loupe(configuration, tf.placeholder(tf.float32, [None, FEATURES]))
        values = random_values(rng)
    x = rng.standard_normal((BATCH * SAMPLES, FEATURES)).astype("float32")
    cotangent = rng.standard_normal((BATCH, OUTPUTS)).astype("float32")
    y, gradients, updated = _run(_loupe, configuration, x, cotangent, values)
    expected_y, expected_gradients, expected_updated = _run(_reference, configuration, x, cotangent, values)
    assert relative_error(y, expected_y) <= 2e-6
    assert sorted(gradients) == sorted(expected_gradients)
    for name, expected in expected_gradients.items():
        assert relative_error(gradients[name], expected) <= 1e-5, name
    for name, expected in expected_updated.items():
        assert relative_error(updated[name], expected) <= 4e-7, name
