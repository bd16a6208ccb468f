"""Assigning values to variables, and comparing results."""

import numpy as np
import tensorflow.compat.v1 as tf


def names(variables):
    return [variable.op.name for variable in variables]


def by_name(variables):
    """The variables as a dict by name."""
    return {variable.op.name: variable for variable in variables}


def assign(session, values, variables=None):
    """Assigns the values, a dict by name, to the variables, by default to all. Both have to have the same names."""
    variables = by_name(tf.global_variables() if variables is None else variables)
    assert sorted(variables) == sorted(values)
    initializers = {name: variable.initializer for name, variable in variables.items()}
    session.run(list(initializers.values()), {initializers[name].inputs[1]: values[name] for name in values})


def random_values(rng):
    """Random values for all variables of the graph, a dict by name. Each variable then changes the output."""
    values = {}
    for variable in tf.global_variables():
        name, shape = variable.op.name, variable.shape.as_list()
        if name.endswith("moving_variance"):
            values[name] = rng.uniform(0.5, 1.5, shape)
        else:
            values[name] = 0.3 * rng.standard_normal(shape) + name.endswith(("gamma", "covar_weights"))
    return {name: value.astype(np.float32) for name, value in values.items()}


def randomize(session, rng):
    """Assigns random values to all variables of the graph, and returns them, a dict by name."""
    values = random_values(rng)
    assign(session, values)
    return values


def relative_error(came, expected):
    """The largest difference, relative to the largest expected entry."""
    came, expected = np.asarray(came, np.float64), np.asarray(expected, np.float64)
    assert came.shape == expected.shape
    return np.abs(came - expected).max() / np.abs(expected).max()


def assert_equals_statement(statement, inputs, came, rng):
    """Asserts that an output is the statement's, up to float32's rounding errors.

    Args:
      statement: a function of `inputs` and the `noise` of `numpy_pooling.pool` that returns the output in float64, and
        the moving averages.
      inputs: the samples and the values of the variables, a dict by name.
      came: the output to compare.
      rng: for `blurred`.
    """
    expected = statement(inputs)[0]
    blur = np.abs(statement(blurred(inputs, rng), rng)[0] - expected).max()
    assert came.shape == expected.shape
    # Each of two normalisations magnifies what underflows by up to 1e6.
    underflow = 1e12 * np.finfo(np.float32).tiny
    assert np.abs(came - expected).max() <= 2e-6 * np.abs(expected).max() + 3 * blur + underflow


def blurred(inputs, rng):
    """The inputs with random relative errors of 1e-6, like float32's. No float32 result can be closer than this."""
    return {name: value * (1 + 1e-6 * rng.standard_normal(value.shape)) for name, value in inputs.items()}
