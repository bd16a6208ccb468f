"""examples/forks/loupe_keras.py: the numbers of LOUPE_Keras, the names and order of its weights, and its old files.

pytest prints the worst errors against the goldens at the end (see tests/conftest.py).
"""

import h5py
import loupe
import numpy as np
import pytest
import tensorflow as tf
from support import golden
from support.comparison import assign, by_name

B, N, D, K, O = 3, 10, 8, 4, 6  # noqa: E741 (the sizes of the goldens)
v1 = tf.compat.v1
METHODS = ["NetVLAD", "NetRVLAD", "SoftDBoW", "NetFV"]
WEIGHTS = {
    "NetVLAD": ["kernel_W1", "kernel_B1", "kernel_W2", "kernel_H1"],
    "NetRVLAD": ["kernel_W1", "kernel_B1", "kernel_H1"],
    "SoftDBoW": ["kernel_W1", "kernel_B1", "kernel_H1"],
    "NetFV": ["kernel_W1", "kernel_C1", "kernel_B1", "kernel_W2", "kernel_H1"],
    "ContextGating": ["kernel_W1", "kernel_B1"],
}
NAMES = {
    "cluster_weights": "kernel_W1",
    "covar_weights": "kernel_C1",
    "cluster_biases": "kernel_B1",
    "cluster_weights2": "kernel_W2",
    "hidden1_weights": "kernel_H1",
}
IS_TENSORFLOW_2 = not tf.__version__.startswith("1.")
if IS_TENSORFLOW_2:
    import loupe_keras
    from tf2 import keras

each_method = pytest.mark.parametrize("name", METHODS)
# NumPy 2's warning about Keras's own arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(autouse=True)
def graph():
    """None: the tests of the Keras layers run eagerly."""


@pytest.fixture
def eager(request):
    """Seeds a test of the Keras layers, or skips it where Keras cannot run."""
    if not IS_TENSORFLOW_2:
        pytest.skip("loupe_keras.py needs TensorFlow 2.12 or later")
    if request.config.getoption("--v1-behavior"):
        pytest.skip("Keras 3 does not run under v1 behavior")
    tf.random.set_seed(1)


def recorded(name):
    """The golden of a method, with its weights as dicts by name, in their order."""
    arrays = golden.load("copies/loupe_keras_" + name)
    arrays.update(
        {
            kind: {key.rpartition("/")[2]: value for key, value in golden.of_kind(arrays, kind).items()}
            for kind in ("var", "grad", "after")
        }
    )
    assert list(arrays["var"]) == WEIGHTS[name]
    return arrays


def check_all(check, name, arrays, y, gradients, losses, after):
    check(name, "outputs", {"y": y, "y_train": y}, {"y": arrays["y_infer"], "y_train": arrays["y_train"]}, 1e-5)
    check(name, "gradients", gradients, arrays["grad"], 5e-5)
    check(name, "losses of three steps", {"losses": losses[:3]}, {"losses": arrays["losses"][:3]}, 1e-5)
    # In NetFV's third step, a variance of 1e-5 multiplies rounding errors by a thousand: the recorded numbers are
    # themselves 9e-5 off those in float64.
    tolerance = 3e-3 if name.endswith("NetFV") else 1e-5
    check(name, "loss after three steps", {"loss": losses[3:]}, {"loss": arrays["losses"][3:]}, tolerance)
    check(name, "variables after three steps", after, arrays["after"], tolerance)


@each_method
def test_goldens_of_loupe(name, check):
    """loupe without batch norm and gates has the numbers of LOUPE_Keras, on every TensorFlow."""
    arrays = recorded(name)
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.constant(arrays["x"])
        y = getattr(loupe, name)(D, N, K, O, False, False, False).forward(x)
        loss = tf.reduce_mean(tf.square(y - arrays["target"]))
        variables = by_name(v1.trainable_variables())
        sources = dict({NAMES[key]: variable for key, variable in variables.items()}, x=x)
        gradients = dict(zip(sources, v1.gradients(loss, list(sources.values()))))
        with tf.control_dependencies([loss]):
            step = v1.train.GradientDescentOptimizer(0.1).minimize(loss)
        assign(session, {key: arrays["var"][NAMES[key]] for key in variables})
        came = session.run(y), session.run(gradients)
        losses = [session.run([loss, step])[0] for _ in range(3)] + [session.run(loss)]
        after = {NAMES[key]: value for key, value in session.run(variables).items()}
    check_all(check, f"loupe for loupe_keras_{name}", arrays, *came, np.array(losses), after)


@each_method
def test_goldens(name, eager, check):
    arrays = recorded(name)
    layer = getattr(loupe_keras, name)(feature_size=D, max_samples=N, cluster_size=K, output_dim=O)
    x = tf.constant(arrays["x"])
    layer(x)
    layer.set_weights(list(arrays["var"].values()))

    def loss_and_gradients():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(tf.square(layer(x, training=True) - arrays["target"]))
        return loss.numpy(), tape.gradient(loss, [x] + layer.trainable_weights)

    gradients = [gradient.numpy() for gradient in loss_and_gradients()[1]]
    y, losses = layer(x).numpy(), []
    for _ in range(3):
        loss, slopes = loss_and_gradients()
        losses.append(loss)
        for weight, slope in zip(layer.trainable_weights, slopes[1:]):
            weight.assign(weight - 0.1 * slope)
    losses.append(loss_and_gradients()[0])
    keys = ["x"] + WEIGHTS[name]
    after = dict(zip(WEIGHTS[name], layer.get_weights()))
    check_all(check, f"loupe_keras_{name}", arrays, y, dict(zip(keys, gradients)), np.array(losses), after)


def gated(name, sizes=(N, D, K, O)):
    """A model of a list: the method, then Context Gating."""
    samples, features, clusters, outputs = sizes
    x = keras.Input([samples, features])
    y = getattr(loupe_keras, name)(features, samples, clusters, outputs)(x)
    return keras.Model(x, loupe_keras.ContextGating()(y))


@each_method
def test_context_gating(name, eager, check):
    """Together, the layers are the gated method of 2017 without batch norm."""
    arrays = golden.load(f"{name}_bias_gated_infer")
    _, n, d, k, o = arrays["config"]
    model = gated(name, (n, d, k, o))
    model.set_weights(list(golden.of_kind(arrays, "var").values()))
    x = tf.constant(arrays["x"].reshape(-1, n, d))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
        weighted = tf.reduce_sum(y * arrays["cotangent"])
    gradients = [gradient.numpy() for gradient in tape.gradient(weighted, [x] + model.trainable_weights)]
    gradients[0] = gradients[0].reshape(-1, d)
    expected = golden.of_kind(arrays, "grad")
    keys = ["x"] + list(golden.of_kind(arrays, "var"))
    check(f"{name} with ContextGating", "outputs", {"y": y.numpy()}, {"y": arrays["y"]}, 1e-5)
    check(f"{name} with ContextGating", "gradients", dict(zip(keys, gradients)), expected, 5e-5)


def write_as_keras_2(path, layers, is_model=False):
    """Writes weights as save_weights of Keras 2 did or, if `is_model`, as its save did.

    Args:
      path: the path of the file.
      layers: for each layer of the model its name, and a dict of its weights by name.
    """
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if is_model else file
        group.attrs["layer_names"] = [layer.encode() for layer in layers]
        group.attrs["backend"] = b"tensorflow"
        group.attrs["keras_version"] = b"2.2.4"
        for layer, weights in layers.items():
            inner = group.create_group(layer)
            inner.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in weights]
            for name, value in weights.items():
                inner.create_dataset(f"{layer}/{name}:0", data=value)


@pytest.mark.parametrize("is_model", [False, True], ids=["weights", "model"])
@each_method
def test_a_file_of_keras_2(name, is_model, eager, rng, tmp_path):
    model = gated(name)
    shapes = [tuple(weight.shape) for weight in model.weights]
    values = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    split = len(WEIGHTS[name])
    pooled, gates = dict(zip(WEIGHTS[name], values)), dict(zip(WEIGHTS["ContextGating"], values[split:]))
    path = str(tmp_path / "old.h5")
    layers = {"input_1": {}, "net_pool_1": pooled, "context_gating_1": gates}
    write_as_keras_2(path, layers, is_model)
    model.load_weights(path)
    assert all((came == value).all() for came, value in zip(model.get_weights(), values))
    assert [weight.name.split("/")[-1].split(":")[0] for weight in model.weights] == list(pooled) + list(gates)
    # A file of another method has other weights.
    write_as_keras_2(path, dict(layers, net_pool_1=gates))
    with pytest.raises(ValueError):
        model.load_weights(path)


@pytest.mark.parametrize("name", ["NetVLAD", "NetFV"])
def test_saving(name, eager, rng, tmp_path):
    model = gated(name)
    x = rng.standard_normal([B, N, D]).astype(np.float32)
    model.save(str(tmp_path / "model.keras"))
    for other in (keras.models.load_model(str(tmp_path / "model.keras")), keras.models.clone_model(model)):
        assert [type(layer) for layer in other.layers] == [type(layer) for layer in model.layers]
        other.set_weights(model.get_weights())
        assert (other(x).numpy() == model(x).numpy()).all()
    model.save_weights(str(tmp_path / "model.weights.h5"))
    values = model.get_weights()
    model.set_weights([np.zeros_like(value) for value in values])
    model.load_weights(str(tmp_path / "model.weights.h5"))
    assert all((came == value).all() for came, value in zip(model.get_weights(), values))


def test_training(eager, rng):
    """`fit` trains every weight."""
    model = gated("NetFV")
    before = model.get_weights()
    model.compile("sgd", "mse")
    model.fit(rng.standard_normal([B, N, D]), rng.standard_normal([B, O]), verbose=0)
    assert all((came != value).any() for came, value in zip(model.get_weights(), before))


def test_initial_values(eager):
    """They are those of LOUPE_Keras, where covar_weights also start around 0."""
    layer = loupe_keras.NetFV(64, 2, 32, 16)
    layer.build()
    for weight, stddev in zip(layer.get_weights(), [1 / 8, 1 / 8, 1 / 8, 1 / 8, 32**-0.5]):
        assert abs(weight.mean()) <= 0.3 * stddev and abs(weight.std() / stddev - 1) <= 0.3
    gates = loupe_keras.ContextGating()
    gates.build((None, 64))
    assert all(abs(weight.std() * 8 - 1) <= 0.3 for weight in gates.get_weights())


def test_errors(eager):
    with pytest.raises(TypeError, match="cluster_size: expected a positive integer, got 4.0"):
        loupe_keras.NetVLAD(D, N, 4.0, O)
    with pytest.raises(ValueError, match=r"x: expected lists \[B, N, D\]"):
        loupe_keras.NetVLAD(D, N, K, O)(tf.zeros([B * N, D]))
    with pytest.raises(TypeError, match="PoolingLayer: expected arguments of its own"):
        loupe_keras.NetVLAD(D, N, K, O, gates=True)
