"""examples/kmeans_start.py: the assignment of the NetVLAD paper, classical VLAD, deviations for NetFV, errors."""

import kmeans_start
import loupe
import numpy as np
import pytest
import soccernet_multimodal
import tensorflow.compat.v1 as tf
from kmeans_start import assign
from methods import GhostVLAD
from sklearn.preprocessing import normalize
from support import numpy_pooling
from support.configurations import batch_norm_or_biases

pytestmark = pytest.mark.usefixtures("one_thread")
LISTS, SAMPLES, FEATURES, CLUSTERS = 30, 20, 24, 6


@pytest.fixture
def x(rng):
    """Lists of descriptors of length 1 without negative entries, like those of photographs."""
    parts = np.abs(rng.standard_normal((CLUSTERS, FEATURES)))
    rows = parts[rng.randint(CLUSTERS, size=LISTS * SAMPLES)] + 0.3 * rng.standard_normal((LISTS * SAMPLES, FEATURES))
    return normalize(np.abs(rows)).astype(np.float32).reshape(LISTS, SAMPLES, FEATURES)


def start(x, add_batch_norm=False, **arguments):
    return kmeans_start.kmeans_start(x.reshape(-1, FEATURES), CLUSTERS, add_batch_norm, **arguments)


def closed_form(x, values, alpha):
    """softmax(-alpha |x - c|^2), in float64. [B, N, K]"""
    distances = np.square(x.astype(np.float64)[..., np.newaxis] - values["cluster_weights2"][0]).sum(axis=-2)
    return numpy_pooling.softmax(-alpha * distances.reshape(-1, CLUSTERS)).reshape(len(x), -1, CLUSTERS)


def log_ratio(x, values):
    """The logarithm of the ratio of the two largest assignments for alpha = 1, averaged over the samples."""
    centers = values["cluster_weights2"][0].astype(np.float64)
    distances = np.square(x.astype(np.float64)[..., np.newaxis] - centers).sum(axis=-2)
    nearest = np.sort(distances, axis=-1)
    return np.mean(nearest[..., 1] - nearest[..., 0])


def layer(method, add_batch_norm, **arguments):
    arguments.setdefault("is_training", False)
    return getattr(loupe, method)(FEATURES, SAMPLES, CLUSTERS, None, False, add_batch_norm, **arguments)


def started(session, method, add_batch_norm, x, values):
    """The layer's descriptors from these values. [B, P]"""
    with tf.variable_scope("pooling"):
        pooled = layer(method, add_batch_norm).forward(x)
    session.run(tf.global_variables_initializer())
    assign(session, "pooling", values)
    return session.run(pooled)


@batch_norm_or_biases
def test_assignment_is_the_closed_form(add_batch_norm, x, session):
    values = start(x, add_batch_norm)
    alpha = np.log(100) / log_ratio(x, values)
    with tf.variable_scope("pooling"):
        pooling = layer("NetVLAD", add_batch_norm)
        assignment = pooling.soft_assignment(pooling.samples(x))
    session.run(tf.global_variables_initializer())
    assign(session, "pooling", values)
    np.testing.assert_allclose(session.run(assignment), closed_form(x, values, alpha), rtol=0, atol=1e-5)


@batch_norm_or_biases
def test_ghosts_start_near_the_mean_of_the_centres(add_batch_norm, x, session):
    """Among the other clusters the assignment is the closed form. A sample at the mean goes to the ghosts."""
    values = start(x, add_batch_norm, ghost_clusters=2)
    mean = values["cluster_weights2"].mean(axis=2)
    lists = np.concatenate([x, np.broadcast_to(mean, x[:1].shape)])
    arguments = {"gating": False, "add_batch_norm": add_batch_norm, "is_training": False, "ghost_clusters": 2}
    pooling = GhostVLAD(FEATURES, SAMPLES, CLUSTERS, None, **arguments)
    pooling.forward(lists)
    with tf.variable_scope("", reuse=True):
        assignment = pooling.soft_assignment(pooling.samples(lists), tf.get_variable("cluster_weights"))
    session.run(tf.global_variables_initializer())
    assign(session, "", values)
    a, of_the_mean = np.split(session.run(assignment), [len(x)])
    a = a[:, :, :CLUSTERS] / a[:, :, :CLUSTERS].sum(axis=2, keepdims=True)
    expected = closed_form(x, values, np.log(100) / log_ratio(x, values))
    np.testing.assert_allclose(a, expected, rtol=0, atol=1e-5)
    assert (of_the_mean[:, :, CLUSTERS:].sum(axis=2) > 0.5).all()


def test_assignment_in_training_mode_is_the_closed_form_on_all_samples(x, session):
    """If the batch has the samples of k-means, its statistics equal the moving averages."""
    values = start(x, True, alpha=20)
    pooling = layer("NetVLAD", True, is_training=True)
    assignment = pooling.soft_assignment(pooling.samples(x))
    session.run(tf.global_variables_initializer())
    assign(session, "", values)
    np.testing.assert_allclose(session.run(assignment), closed_form(x, values, 20), rtol=0, atol=1e-5)


def test_centers_are_those_of_kmeans(x):
    """Each is about the mean of the samples nearest to it; mini batches do not find it exactly."""
    values = start(x)
    centers, rows = values["cluster_weights2"][0].T, x.reshape(-1, FEATURES)
    nearest = np.square(rows[:, np.newaxis] - centers).sum(axis=2).argmin(axis=1)
    for k in range(CLUSTERS):
        np.testing.assert_allclose(centers[k], rows[nearest == k].mean(axis=0), atol=0.03)


@batch_norm_or_biases
def test_large_alpha_is_classical_vlad(add_batch_norm, x, session):
    values = start(x, add_batch_norm, alpha=1e5)
    centers = values["cluster_weights2"][0].T.astype(np.float64)
    expected = np.zeros((LISTS, FEATURES, CLUSTERS))
    for b, n in np.ndindex(LISTS, SAMPLES):
        residuals = x[b, n] - centers
        nearest = np.square(residuals).sum(axis=1).argmin()
        expected[b, :, nearest] += residuals[nearest]
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-6)
    expected = normalize(expected.reshape(LISTS, -1))
    np.testing.assert_allclose(started(session, "NetVLAD", add_batch_norm, x, values), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", loupe.__all__[1:5])
def test_each_method_has_its_formula(method, x, session):
    values = start(x, True)
    alpha = np.log(100) / log_ratio(x, values)
    expected = numpy_pooling.DESCRIPTORS[method](x.astype(np.float64), closed_form(x, values, alpha), values)
    np.testing.assert_allclose(started(session, method, True, x, values), expected, rtol=0, atol=1e-4)


def test_deviations_are_those_of_the_clusters(x):
    values = start(x)
    rows = x.reshape(-1, FEATURES).astype(np.float64)
    nearest = closed_form(x, values, 1).reshape(-1, CLUSTERS).argmax(axis=1)
    for k in range(CLUSTERS):
        expected = np.maximum(rows[nearest == k].std(axis=0), 0.1 * rows.std(axis=0))
        np.testing.assert_allclose(np.square(values["covar_weights"][:, k]), expected, rtol=1e-5)


def test_deviations_of_samples_that_do_not_differ_are_above_zero(rng):
    samples = np.concatenate([rng.standard_normal((20, 3)), np.ones((20, 1))], axis=1)
    covariances = kmeans_start.kmeans_start(samples, 20)["covar_weights"]
    assert np.isfinite(covariances).all() and covariances.min() > 0


def test_one_cluster(x):
    values = kmeans_start.kmeans_start(x.reshape(-1, FEATURES), 1)
    assert all(np.isfinite(value).all() for value in values.values())


def test_same_values_with_one_seed(x):
    first, again, other = start(x, seed=3), start(x, seed=3), start(x, seed=4)
    assert all((first[name] == again[name]).all() for name in first)
    assert (first["cluster_weights2"] != other["cluster_weights2"]).any()


def test_assign_changes_the_layer_of_that_scope_alone(x, session):
    values = start(x, True)
    with tf.variable_scope("other"):
        layer("NetFV", True).forward(x)
    with tf.variable_scope("pooling") as scope:
        layer("NetRVLAD", True).forward(x)
    session.run(tf.global_variables_initializer())
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    before = session.run(variables)
    session.graph.finalize()
    names = assign(session, scope, values)
    assert names == sorted("pooling/" + name for name in values if name not in ("cluster_weights2", "covar_weights"))
    for name, value in session.run(variables).items():
        expected = values[name[len("pooling/") :]] if name in names else before[name]
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("scope", ["pooling", "pooling/", ""])
def test_assign_finds_the_parts_of_partitioned_variables(scope, x, session):
    values = start(x, True)
    with tf.variable_scope(scope.rstrip("/"), partitioner=tf.fixed_size_partitioner(3)):
        pooled = layer("NetVLAD", True).forward(x)
    tf.train.AdamOptimizer().minimize(tf.reduce_sum(pooled))  # Its variables are named after those of the layer.
    session.run(tf.global_variables_initializer())
    names = assign(session, scope, values)
    prefix = "pooling/" if scope else ""
    for name, count in [("cluster_weights", 3), ("cluster_weights2", 1), ("cluster_bn/gamma", 3)]:
        parts = [variable for variable in tf.trainable_variables() if variable.op.name.startswith(f"{prefix}{name}/")]
        assert len(parts) == count and {part.op.name for part in parts} <= set(names)
        axis = np.argmax(np.array(values[name].shape) != parts[0].shape.as_list())
        np.testing.assert_array_equal(np.concatenate(session.run(parts), axis), values[name])


def test_assign_finds_the_suffix_of_the_names(x, session):
    """The layers of forks/soccernet_multimodal.py have such suffixes."""
    values = start(x, True)
    for suffix in ("_2", "_audio"):
        soccernet_multimodal.NetVLAD(FEATURES, SAMPLES, CLUSTERS, None, False, suffix_tensor_name=suffix).forward(x)
        session.run(tf.global_variables_initializer())
        if suffix == "_2":
            assert {"cluster_bn_2/beta", "cluster_weights2_2"} < set(assign(session, "", values))
    with pytest.raises(ValueError, match="suffix: expected one of _2, _audio"):
        assign(session, "", values)
    assert "cluster_weights_audio" in assign(session, "", values, suffix="_audio")


def test_assign_finds_a_name_that_tensorflow_has_changed(x, session):
    tf.zeros([], name="cluster_weights")
    layer("NetVLAD", True).forward(x)
    session.run(tf.global_variables_initializer())
    assert {"cluster_weights_1", "cluster_weights2", "cluster_bn/beta"} < set(assign(session, "", start(x, True)))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"samples": np.zeros((5, 3))}, ValueError, "samples: expected at least cluster_size = 8, got 5"),
        ({"samples": np.zeros((50, 3))}, ValueError, "samples: expected at least cluster_size = 8 different ones"),
        ({"samples": np.full((50, 3), np.nan)}, ValueError, "samples: expected finite numbers, got NaN"),
        ({"samples": np.full((50, 3), np.inf)}, ValueError, "samples: expected finite numbers"),
        ({"samples": np.zeros((5, 10, 3))}, ValueError, r"samples: expected shape \[T, D\].* got \(5, 10, 3\)"),
        ({"samples": np.zeros((50, 0))}, ValueError, r"samples: expected shape \[T, D\].* got \(50, 0\)"),
        ({"samples": ["a", "b"]}, TypeError, "samples: expected an array of real numbers, got "),
        ({"samples": np.zeros((50, 3), complex)}, TypeError, "samples: expected an array of real numbers"),
        ({"samples": [[1, 2], [3]]}, TypeError, r"samples: expected an array"),
        ({"samples": np.ma.masked_array(np.zeros((50, 3)), True)}, TypeError, "samples: .* got a masked array"),
        ({"add_batch_norm": "no"}, TypeError, "add_batch_norm: expected a bool, got 'no'"),
        ({"seed": -1}, ValueError, "seed: expected an integer from 0 to 4294967295, got -1"),
        ({"seed": 1.5}, TypeError, "seed: expected an integer from 0 to 4294967295, got 1.5"),
        ({"cluster_size": 0}, ValueError, "cluster_size: expected a positive integer, got 0"),
        ({"cluster_size": 2.0}, TypeError, "cluster_size: expected a positive integer, got 2.0"),
        ({"cluster_size": True}, TypeError, "cluster_size: expected a positive integer, got True"),
        ({"ghost_clusters": -1}, ValueError, "ghost_clusters: expected an integer from 0, got -1"),
        ({"ghost_clusters": None}, TypeError, "ghost_clusters: expected an integer from 0, got None"),
        ({"alpha": 0}, ValueError, "alpha: expected a number above 0, got 0"),
        ({"alpha": "2"}, TypeError, "alpha: expected a number above 0, got '2'"),
        ({"alpha": 1e300}, ValueError, "alpha, samples: expected numbers whose products fit in float32"),
        ({"alpha": float("nan")}, ValueError, "alpha: expected a number above 0, got nan"),
    ],
)
def test_bad_arguments(change, error, message, rng):
    arguments = dict({"samples": rng.standard_normal((50, 3)), "cluster_size": 8}, **change)
    with pytest.raises(error, match=message):
        kmeans_start.kmeans_start(**arguments)


def test_other_objects_than_layers_are_refused(x, session):
    with pytest.raises(TypeError, match="session: expected a tf.compat.v1.Session, or a PoolingLayer"):
        assign(tf.Graph(), "pooling", start(x))
    for scope in (None, 1):
        with pytest.raises(TypeError, match=f"scope: expected a variable scope or its name, got {scope}"):
            assign(session, scope, start(x))


def test_values_that_do_not_fit_the_layer(x, session):
    with tf.variable_scope("pooling"):
        layer("NetVLAD", False).forward(x)
    session.run(tf.global_variables_initializer())
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    before = session.run(variables)
    rows = x.reshape(-1, FEATURES)
    for scope, values, message in [
        ("pooling", start(x, True), "scope: .*pooling/cluster_bn/gamma.* got .*pooling/cluster_biases"),
        ("elsewhere", start(x), "scope: .*elsewhere/cluster_weights, got pooling/cluster_biases, pooling/cl"),
        (
            "pooling",
            kmeans_start.kmeans_start(rows, 4, False),
            r"pooling/cluster_weights: expected .*\(24, 6\), got \(24, 4\)",
        ),
        (
            "pooling",
            kmeans_start.kmeans_start(rows[:, :20], CLUSTERS, False),
            r"pooling/cluster_weights: expected .*\(24, 6\), got \(20, 6\)",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            assign(session, scope, values)
    after = session.run(variables)
    assert all((after[name] == before[name]).all() for name in before)
