"""slim.batch_norm, after `import loupe`, in each of the forms that work on TensorFlow 1.15, with that version's numbers.

goldens/slim_batch_norm.npz has them, for inputs of rank R::

    x:R, gamma, beta, moving_mean, moving_variance   what goes in
    ROLE:R                                           what comes out, by fused, updates_collections and mode

and `run` tells what the roles are.
"""

import itertools
import os

from support import golden
import loupe  # noqa: F401 (it mends tf-slim)
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_slim as slim
from support.comparison import assign, by_name, relative_error

RANKS = (2, 3, 4)
FUSED = (None, True, False)
UPDATES_COLLECTIONS = ("default", None, ["mine"])
MODES = ("True", "False", "placeholder fed True", "placeholder fed False")
OUTCOMES = ["y", "gradient of x", "gradient of gamma", "gradient of beta", "moving_mean", "moving_variance", "updates"]
FORMS = list(itertools.product(RANKS, FUSED, UPDATES_COLLECTIONS, MODES))


@pytest.fixture(scope="module")
def recorded():
    with np.load(os.path.join(golden.DIRECTORY, "slim_batch_norm.npz")) as arrays:
        return dict(arrays)


def run(batch_norm, inputs, rank, fused, updates_collections, mode, data_format="NHWC", around=None):
    """What a form of batch norm gives: its outcomes by role.

    They are the output y, the gradients of the sum of its cubes, the moving averages after one step and the number of
    ops in the collection of updates.
    """
    x = inputs[f"x:{rank}"]
    channels_last = tuple(range(rank))
    to_format = (0, rank - 1) + channels_last[1:-1] if data_format == "NCHW" else channels_last
    is_training = tf.placeholder(tf.bool, []) if "placeholder" in mode else mode == "True"
    given = {} if updates_collections == "default" else {"updates_collections": updates_collections}
    with tf.Session() as session:
        x = tf.constant(x)
        y = batch_norm(
            tf.transpose(x, to_format),
            scale=True,
            is_training=is_training,
            fused=fused,
            data_format=data_format,
            scope="bn",
            **given,
        )
        y = tf.transpose(y, np.argsort(to_format))
        variables = by_name(tf.global_variables())
        assert sorted(variables) == ["bn/beta", "bn/gamma", "bn/moving_mean", "bn/moving_variance"]
        assert set(tf.global_variables()) == set(tf.model_variables())
        gradients = tf.gradients(y**3, [x, variables["bn/gamma"], variables["bn/beta"]])
        assign(session, {name: inputs[name[3:]] for name in variables})
        default, mine = tf.get_collection(tf.GraphKeys.UPDATE_OPS), tf.get_collection("mine")
        assert not (default and mine)
        feed = {is_training: mode.endswith("True")} if tf.is_tensor(is_training) else {}
        outcomes = session.run([y] + gradients + [default + mine], feed)[:-1]
        outcomes += session.run([variables["bn/moving_mean"], variables["bn/moving_variance"]])
    return dict(zip(OUTCOMES, outcomes + [len(default) * 100 + len(mine)]))


def check(outcomes, recorded, rank, fused, updates_collections, mode):
    index = FUSED.index(fused), UPDATES_COLLECTIONS.index(updates_collections), MODES.index(mode)
    expected = {role: recorded[f"{role}:{rank}"][index] for role in OUTCOMES}
    assert outcomes.pop("updates") == expected.pop("updates")
    errors = {role: relative_error(outcomes[role], expected[role]) for role in expected}
    assert all(error <= 5e-6 for error in errors.values()), errors


@pytest.mark.parametrize("rank, fused, updates_collections, mode", FORMS, ids=str)
def test_every_form_has_the_numbers_of_tensorflow_1(rank, fused, updates_collections, mode, recorded):
    form = rank, fused, updates_collections, mode
    check(run(slim.batch_norm, recorded, *form), recorded, *form)
