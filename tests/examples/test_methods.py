"""The methods of examples/methods.py give the numbers of their authors' programs, and refuse bad arguments."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from methods import GhostVLAD, NeXtVLAD
from support import golden
from support.comparison import assign, by_name, relative_error


def load(name):
    with np.load(os.path.join(golden.DIRECTORY, "methods", f"{name}.npz")) as arrays:
        return dict(arrays)


@pytest.fixture
def assert_recorded(record_property):
    def assert_recorded(quantity, came, expected, tolerance):
        error = float(relative_error(came, expected))
        record_property("error of " + quantity, float(error))
        assert error <= tolerance, quantity

    return assert_recorded


@pytest.mark.parametrize("mode", ["infer", "train", "infer_lengths"])
def test_nextvlad(mode, session, assert_recorded):
    recorded = load("nextvlad_a")
    B, N, D, K, G, L = recorded["sizes"][:6]
    x, lengths = tf.constant(recorded["x"]), recorded["num_samples"] if "lengths" in mode else None
    layer = NeXtVLAD(D, N, K, None, gating=False, is_training=mode == "train", expansion=L, groups=G)
    y = layer.forward(x, lengths)
    values = golden.of_kind(recorded, "var")
    assign(session, values)
    sources = dict(by_name(tf.trainable_variables()), x=x)
    gradients = dict(zip(sources, tf.gradients(y * recorded["cotangent"], list(sources.values()))))
    y, gradients = session.run([y, gradients])
    assert_recorded("NeXtVLAD", y, recorded[f"y_{mode}"], 1e-5)
    assert sorted(gradients) == sorted(golden.of_kind(recorded, f"grad_{mode}"))
    for name, gradient in gradients.items():
        expected = recorded[f"grad_{mode}:{name}"]
        if name == "x" and lengths is not None:
            # Here, padding has no gradient at all.
            is_real = np.arange(N) < lengths[:, None]
            assert (gradient[~is_real] == 0).all()
            gradient, expected = gradient[is_real], expected[is_real]
        assert_recorded("NeXtVLAD's gradients", gradient, expected, 1e-4)
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
    averages = dict(values, **golden.of_kind(recorded, f"after_update_{mode}"))
    for name, value in session.run(by_name(tf.global_variables())).items():
        assert_recorded("NeXtVLAD's moving averages", value, averages[name], 4e-7)


def test_ghostvlad(session, assert_recorded):
    """Compares with the authors' layer for speakers, which has another order and leaves out the last normalisation."""
    recorded = load("ghostvlad_a")
    B, H, W, D, K, G = recorded["sizes"]

    def descriptors(values):
        return values.reshape(B, K, D).transpose(0, 2, 1).reshape(B, -1)

    x = tf.constant(recorded["x"])
    arguments = {"gating": False, "add_batch_norm": False, "ghost_clusters": G}
    y = GhostVLAD(D, H * W, K, None, **arguments).forward(x)
    centres = recorded["centres"][:K].T[np.newaxis]
    values = {"cluster_weights": recorded["weights"], "cluster_biases": recorded["biases"], "cluster_weights2": centres}
    assign(session, values)
    sources = dict(by_name(tf.trainable_variables()), x=x)
    # Here, the sum of the squares of the K normalised clusters is 1.
    cotangent = descriptors(recorded["cotangent"]) * np.float32(np.sqrt(K))
    gradients = dict(zip(sources, tf.gradients(y * cotangent, list(sources.values()))))
    y, gradients = session.run([y, gradients])
    assert_recorded("GhostVLAD", y, descriptors(recorded["y"]) / np.sqrt(K), 1e-5)
    assert not recorded["grad_centres"][K:].any()
    expected = {
        "x": recorded["grad_x"],
        "cluster_weights": recorded["grad_weights"],
        "cluster_biases": recorded["grad_biases"],
        "cluster_weights2": recorded["grad_centres"][:K].T[np.newaxis],
    }
    assert sorted(gradients) == sorted(expected)
    for name, gradient in gradients.items():
        assert_recorded("GhostVLAD's gradients", gradient, expected[name], 1e-4)


@pytest.mark.parametrize("cls, name", [(NeXtVLAD, "expansion"), (NeXtVLAD, "groups"), (GhostVLAD, "ghost_clusters")])
def test_own_sizes_that_are_not_positive_integers(cls, name):
    for value, error in [(0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError), ("2", TypeError)]:
        with pytest.raises(error, match=f"^{name}: expected a positive integer, got {value!r}$"):
            cls(8, 10, 4, 6, **{name: value})


def test_groups_that_do_not_divide():
    with pytest.raises(ValueError, match=r"^groups: expected a divisor of expansion \* feature_size = 24, got 5$"):
        NeXtVLAD(12, 10, 4, 6, groups=5)
    assert NeXtVLAD(12, 10, 4, 6, expansion=np.int64(3), groups=np.int64(9)).groups == 9


def test_empty_lists_of_nextvlad_do_not_enter_the_statistics(session, rng):
    """The descriptors of the other lists and the moving averages are those of a batch without the empty lists."""
    lists = rng.standard_normal([4, 5, 8]).astype(np.float32)
    x, lengths = tf.placeholder(tf.float32, [None, 5, 8]), tf.placeholder(tf.int64, [None])
    y = NeXtVLAD(8, 5, 3, None, gating=False).forward(x, lengths)
    session.run(tf.global_variables_initializer())
    values = session.run(by_name(tf.global_variables()))
    outcomes = []
    for kept in ([0, 1, 2, 3], [0, 2, 3]):
        assign(session, values)
        feed = {x: lists[kept], lengths: np.array([5, 0, 2, 3])[kept]}
        came = session.run(y, feed)
        session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS), feed)
        outcomes.append((came, session.run(by_name(tf.global_variables()))))
    (with_empty, averages), (without, expected) = outcomes
    assert (with_empty[1] == 0).all()
    assert relative_error(with_empty[[0, 2, 3]], without) <= 1e-5
    assert all((averages[name] != values[name]).any() for name in averages if "moving" in name)
    assert all(np.abs(averages[name] - expected[name]).max() <= 1e-7 for name in averages)
