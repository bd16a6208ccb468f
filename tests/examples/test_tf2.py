"""examples/tf2.py: the numbers of a session, for Keras and for tf.Module; saving, masks, checkpoints, strategies."""

import os
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

if tf.__version__.startswith("1."):
    with pytest.raises(ImportError, match="tf2: expected TensorFlow 2.12 or later, got 1.15"):
        import tf2  # noqa: F401
    pytest.skip("TensorFlow 1.15 has neither Keras 3 nor what the example needs", allow_module_level=True)

import epcnet
import loupe
import methods
import pointnetvlad
from kmeans_start import assign, kmeans_start
from support import child, golden
from support.comparison import by_name, names, randomize, relative_error
from support.configurations import BATCH, CLUSTERS, CONFIGURATIONS, FEATURES, OUTPUTS, SAMPLES, TRAINING, Configuration
from support.pooling_graph import LENGTHS, build, random_lists
from tf2 import IS_KERAS_2, PoolingLayer, PoolingModule, keras
from threadpoolctl import threadpool_limits

v1 = tf.compat.v1
RATE, STEPS = 0.05, 10


each_kind = pytest.mark.parametrize("kind", [PoolingModule, PoolingLayer])


@pytest.fixture(autouse=True)
def graph(request):
    """None: these tests run eagerly."""
    if request.config.getoption("--v1-behavior"):
        pytest.skip("Keras 3 does not run under v1 behavior")
    tf.random.set_seed(1)


def arguments(configuration=TRAINING, **changes):
    """The arguments of the two classes for a `Configuration`."""
    values = dict(configuration._asdict(), feature_size=FEATURES, max_samples=SAMPLES, cluster_size=CLUSTERS)
    values.update(output_dim=OUTPUTS, **configuration.row.own)
    values.pop("is_training")
    return dict(values, **changes)


def some(default, configurations=CONFIGURATIONS):
    """Parametrizes by configuration and has_lengths; pairs that are not in `default` are marked as long."""
    return pytest.mark.parametrize(
        "configuration, has_lengths",
        [
            pytest.param(
                configuration,
                has_lengths,
                id="{}-{}".format(configuration, "lengths" if has_lengths else "full"),
                marks=[] if (str(configuration), has_lengths) in default else [pytest.mark.long],
            )
            for configuration in configurations
            for has_lengths in (False, True)
        ],
    )


def set_values(variables, values):
    assert sorted(variables) == sorted(values)
    for name, variable in variables.items():
        variable.assign(values[name])


def value_of(variable):
    return tf.convert_to_tensor(variable).numpy()


def check(came, expected):
    """Compares two dicts of arrays to 1e-5 of the largest entry of all: some gradients are sums that cancel."""
    assert sorted(came) == sorted(expected)
    scale = max(np.abs(value).max() for value in expected.values())
    for name, value in expected.items():
        assert np.abs(came[name] - value).max() <= 1e-5 * scale, name


def in_a_session(configuration, has_lengths, lists, rng):
    """Random values of the variables, and with them the output, the gradients of its sum of squares, and the moving
    averages after a step: dicts by name."""
    with tf.Graph().as_default(), v1.Session() as session:
        pooling = build(configuration, has_lengths)
        values = randomize(session, rng)
        variables = v1.trainable_variables()
        gradients = v1.gradients(tf.square(pooling.y), [pooling.x] + variables)
        feed = pooling.feed(lists)
        y, gradients = session.run([pooling.y, gradients], feed)
        session.run(v1.get_collection(v1.GraphKeys.UPDATE_OPS), feed)
        moved = session.run({name: v for name, v in by_name(v1.global_variables()).items() if "moving" in name})
        return values, y, dict(zip(["x"] + names(variables), gradients)), moved


@some({("NetVLAD_bn_gated_train", True), ("NetFV_bias_plain_infer", False)})
@each_kind
def test_equals_a_session(kind, configuration, has_lengths, rng):
    """Outputs, gradients and moving averages, in eager mode and in a tf.function."""
    lists = random_lists(rng)
    values, y, gradients, moved = in_a_session(configuration, has_lengths, lists, rng)
    pooling = kind(**arguments(configuration))
    variables = pooling.variables_by_name
    trainable = [name for name in variables if variables[name].trainable]
    assert set(trainable) == set(gradients) - {"x"}
    assert len(pooling.trainable_variables) == len(trainable) and len(pooling.variables) == len(values)
    inputs = [tf.constant(lists)] + ([tf.constant(LENGTHS)] if has_lengths else [])

    def step(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs[0])
            y = pooling(*inputs, training=configuration.is_training)
            loss = tf.reduce_sum(tf.square(y))
        # The owner's variables, because those of Keras 3 have a type of their own.
        return y, tape.gradient(loss, [inputs[0]] + [variables[name] for name in trainable])

    for run in (step, tf.function(step)):
        set_values(variables, values)
        came, came_gradients = run(*inputs)
        assert relative_error(came, y) <= 1e-5
        check({name: value.numpy() for name, value in zip(["x"] + trainable, came_gradients)}, gradients)
        if moved:
            check({name: value_of(variables[name]) for name in moved}, moved)
    before = {name: value_of(variable) for name, variable in variables.items()}
    tf.function(pooling)(*inputs)
    pooling(*inputs)
    for name, value in before.items():
        np.testing.assert_array_equal(value_of(variables[name]), value)


def model_of(layer, has_lengths=False):
    x = keras.Input([SAMPLES, FEATURES])
    inputs = [x, keras.Input([], dtype="int32")] if has_lengths else [x]
    return keras.Model(inputs, layer(x, num_samples=inputs[1]) if has_lengths else layer(x))


def data(rng, has_lengths=False):
    lists, target = random_lists(rng, BATCH * STEPS), rng.uniform(-0.5, 0.5, [BATCH * STEPS, OUTPUTS])
    lengths = np.tile(np.int32(LENGTHS), STEPS)
    return ([lists, lengths] if has_lengths else [lists]), target.astype(np.float32)


@pytest.mark.long
@some(
    {("NetVLAD_bn_gated_train", True), ("NetFV_bias_gated_train", False)},
    [configuration for configuration in CONFIGURATIONS if configuration.is_training],
)
def test_ten_steps_of_fit_are_ten_of_a_session(configuration, has_lengths, rng):
    inputs, target = data(rng, has_lengths)
    with tf.Graph().as_default(), v1.Session() as session:
        pooling, goal = build(configuration, has_lengths), v1.placeholder(tf.float32, [None, OUTPUTS])
        values = randomize(session, rng)
        loss = tf.reduce_mean(tf.square(pooling.y - goal))
        with tf.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
            train = v1.train.GradientDescentOptimizer(RATE).minimize(loss)
        for first in range(0, len(target), BATCH):
            batch = slice(first, first + BATCH)
            feed = dict(zip(pooling.inputs(), [value[batch] for value in inputs]))
            session.run(train, {**feed, goal: target[batch]})
        expected = session.run(by_name(v1.global_variables()))

    layer = PoolingLayer(**arguments(configuration))
    model = model_of(layer, has_lengths)
    set_values(layer.variables_by_name, values)
    model.compile(keras.optimizers.SGD(RATE), "mse")
    model.fit(inputs, target, batch_size=BATCH, shuffle=False, verbose=0)
    came = {name: value_of(variable) for name, variable in layer.variables_by_name.items()}
    for name, value in expected.items():
        np.testing.assert_allclose(came[name], value, 1e-5, 1e-5, err_msg=name)
    model.evaluate(inputs, target, verbose=0)
    for name, variable in layer.variables_by_name.items():
        np.testing.assert_array_equal(value_of(variable), came[name], err_msg=name)


@pytest.mark.parametrize("jit_compile", [pytest.param(True, marks=pytest.mark.long), False], ids=["jit", "no jit"])
def test_life_of_a_model(jit_compile, rng, tmp_path):
    """fit, evaluate, predict, save, load, clone, export: the numbers stay the same."""
    has_lengths = (
        not jit_compile
    )  # XLA has no gradient of batch norm for a number of rows that is known only at run time.
    inputs, target = data(rng, has_lengths)
    layer = PoolingLayer(**arguments(decay=0.5))
    model = model_of(layer, has_lengths)
    model.compile(keras.optimizers.SGD(RATE), "mse", jit_compile=jit_compile)
    losses = model.fit(inputs, target, epochs=3, batch_size=BATCH, verbose=0).history["loss"]
    assert losses[2] < losses[0]
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(model(inputs).numpy(), expected, 1e-4, 1e-5)

    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_allclose(loaded(inputs), expected, 1e-5, 1e-6)
    assert loaded.optimizer.learning_rate == RATE
    weights = str(tmp_path / "of.weights.h5")
    model.save_weights(weights)
    clone = keras.models.clone_model(model)
    assert np.abs(clone(inputs) - expected).max() > 1e-3
    clone.load_weights(weights)
    np.testing.assert_allclose(clone(inputs), expected, 1e-5, 1e-6)
    copy = PoolingLayer.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config() and copy.get_config()["method"] == "NetVLAD"

    exported = str(tmp_path / "exported")
    (clone.save if IS_KERAS_2 else clone.export)(exported)
    served = tf.saved_model.load(exported)
    tensors = [tf.constant(value) for value in inputs]
    # Keras 2 saves a model of one input as a function of a tensor.
    came = served(tensors if has_lengths else tensors[0]) if IS_KERAS_2 else served.serve(tensors)
    np.testing.assert_allclose(came, expected, 1e-5, 1e-6)


def test_masks(rng):
    """A Keras mask, wherever the padding is, does what lengths do; on lists and on maps."""
    lists = random_lists(rng)
    layer = PoolingLayer(**arguments())
    expected = layer(lists, num_samples=np.int32(LENGTHS)).numpy()
    np.testing.assert_allclose(layer(lists, num_samples=np.int32(LENGTHS)[:, None]).numpy(), expected, 1e-6)
    is_real = np.arange(SAMPLES) < np.array(LENGTHS)[:, None]
    padded = np.where(is_real[:, :, None], lists, np.nan)
    np.testing.assert_allclose(layer(padded, mask=is_real).numpy(), expected, 1e-5, 1e-6)
    np.testing.assert_allclose(layer(padded[:, ::-1], mask=is_real[:, ::-1]).numpy(), expected, 1e-5, 1e-6)
    maps = padded.reshape(BATCH, 1, SAMPLES, FEATURES)
    np.testing.assert_allclose(layer(maps, mask=is_real[:, None]).numpy(), expected, 1e-5, 1e-6)
    masked = keras.Sequential([keras.Input([SAMPLES, FEATURES]), keras.layers.Masking(), layer])
    zeros = np.where(is_real[:, :, None], lists, 0)
    np.testing.assert_allclose(masked.predict(zeros[:, ::-1], verbose=0), expected, 1e-5, 1e-6)


def test_any_number_of_samples(rng):
    lists = random_lists(rng)
    layer, free = (PoolingLayer(**arguments(max_samples=size)) for size in (SAMPLES, None))
    set_values(free.variables_by_name, {name: value_of(v) for name, v in layer.variables_by_name.items()})
    model = keras.Sequential([keras.Input([None, FEATURES]), free])
    expected = layer(lists).numpy()
    np.testing.assert_allclose(model.predict(lists, verbose=0), expected, 1e-5, 1e-6)
    longer = np.concatenate([lists, lists], axis=1)
    lengths = np.full(BATCH, SAMPLES)
    np.testing.assert_allclose(free(longer, num_samples=lengths).numpy(), expected, 1e-5, 1e-6)
    np.testing.assert_allclose(free(lists[:, None]).numpy(), expected, 1e-5, 1e-6)
    assert PoolingModule(**arguments(max_samples=None))(longer).shape == (BATCH, OUTPUTS)


def test_training_as_a_tensor(rng):
    x, module = tf.constant(random_lists(rng)), PoolingModule(**arguments(decay=0.5))
    pool = tf.function(lambda x, training: module(x, training=training))
    moving = module.variables_by_name["cluster_bn/moving_variance"]
    np.testing.assert_allclose(pool(x, tf.constant(False)), module(x), 1e-5, 1e-6)
    assert (moving.numpy() == 1).all()
    expected = module(x, training=True)
    moved = moving.numpy()
    moving.assign(np.ones(CLUSTERS))
    np.testing.assert_allclose(pool(x, tf.constant(True)), expected, 1e-5, 1e-6)
    np.testing.assert_allclose(moving.numpy(), moved, 1e-5)
    assert (moved != 1).all()


def test_another_backend_is_refused(monkeypatch):
    if IS_KERAS_2:
        pytest.skip("Keras 2 has TensorFlow alone")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="expected the backend tensorflow, got jax"):
        PoolingLayer(**arguments())


def test_descriptor(rng):
    layer = PoolingLayer(**arguments(output_dim=None, gating=False))
    assert keras.Sequential([keras.Input([SAMPLES, FEATURES]), layer]).output_shape == (None, FEATURES * CLUSTERS)
    assert layer(random_lists(rng)).shape == (BATCH, FEATURES * CLUSTERS)


def test_layers_share_nothing_and_start_as_those_of_loupe(rng):
    one, two = (PoolingModule(**arguments(cluster_size=200)) for _ in range(2))
    assert not set(map(id, one.variables)) & set(map(id, two.variables))
    for name in ("cluster_weights", "hidden1_weights"):
        first, second = (module.variables_by_name[name].numpy() for module in (one, two))
        assert np.abs(first - second).max() > 0.1
        size = FEATURES if name == "cluster_weights" else 200
        assert first.std() == pytest.approx(1 / np.sqrt(size), rel=0.1)
    kept = list(map(id, one.variables))
    tf.function(one)(random_lists(rng))
    one(random_lists(rng), training=True)
    assert list(map(id, one.variables)) == kept


def test_a_layer_made_in_a_function_owns_its_variables(rng):
    made = []

    @tf.function
    def pool(x):
        if not made:
            made.append((PoolingModule(**arguments()), PoolingLayer(**arguments())))
        return [pooling(x) for pooling in made[0]]

    x = tf.constant(random_lists(rng))
    for came, pooling in zip(pool(x), made[0]):
        assert len(pooling.variables) == 12
        np.testing.assert_allclose(came, pooling(x), 1e-4, 1e-5)


class Squares(loupe.PoolingBaseModel):
    """Has variables with other initialisers, and an argument of its own."""

    def __init__(self, *args, power=2, **kwargs):
        super().__init__(*args, **kwargs)
        self.power = power

    def forward(self, reshaped_input, num_samples=None):
        samples = self.samples(reshaped_input, num_samples)
        offsets = v1.get_variable("offsets", initializer=np.full(FEATURES, 0.5, np.float32))
        scales = v1.get_variable("scales", [FEATURES], initializer=tf.keras.initializers.Ones())
        return self.output(tf.reduce_sum(samples.lists**self.power, axis=1) * scales + offsets)


class Samples(Squares):
    """Has the name of something else in loupe."""


class NetFV(Squares):
    """Has the name of a method of loupe."""


@pytest.mark.parametrize(
    "method, own",
    [
        (Squares, {"power": np.int64(3)}),
        ("Squares", {}),
        (Samples, {}),
        (NetFV, {"power": 1}),
        (pointnetvlad.NetVLAD, {}),
        (epcnet.G_VLAD, {"groups": 5}),
        (methods.NeXtVLAD, {"expansion": 3, "groups": np.int64(4)}),
        (methods.GhostVLAD, {"ghost_clusters": 2}),
    ],
    ids=str,
)
def test_a_method_of_ones_own_is_saved_and_cloned(method, own, rng, tmp_path):
    lists, expected_class = random_lists(rng), Squares if method == "Squares" else method
    layer = PoolingLayer(**arguments(method=method, **own))
    assert own.items() <= layer.get_config().items()
    assert layer.get_config()["method"] == f"{expected_class.__module__}.{expected_class.__name__}"
    model = keras.Sequential([keras.Input([SAMPLES, FEATURES]), layer])
    expected = model(lists)
    path = str(tmp_path / "model.keras")
    model.save(path)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for again in (keras.models.load_model(path), clone):
        assert again.layers[-1].get_config() == layer.get_config()
        np.testing.assert_allclose(again(lists), expected, 1e-5, 1e-6)


def test_initialisers_of_ones_own():
    for method in (Squares, "test_tf2.Squares"):
        for kind in (PoolingLayer, PoolingModule):
            variables = kind(**arguments(method=method)).variables_by_name
            np.testing.assert_array_equal(value_of(variables["offsets"]), np.full(FEATURES, 0.5))
            np.testing.assert_array_equal(value_of(variables["scales"]), np.ones(FEATURES))


def test_arguments_of_ones_own(rng):
    lists = random_lists(rng)
    for kind in (PoolingLayer, PoolingModule):
        pooling = kind(**arguments(method=Squares, power=3, output_dim=None, gating=False))
        np.testing.assert_allclose(pooling(lists), (lists**3).sum(axis=1) + 0.5, 1e-4, 1e-4)
        for method in ("NetVLAD", Squares):
            with pytest.raises(TypeError, match=f"{kind.__name__}: expected arguments .*groups"):
                kind(**arguments(method=method, groups=4))
    with pytest.raises(ValueError, match="groups: expected a divisor of D . K = 60, got 7"):
        PoolingModule(**arguments(method=epcnet.G_VLAD, groups=7))
    with pytest.raises(ValueError, match=r"groups: expected a divisor of expansion \* feature_size = 24, got 7"):
        PoolingLayer(**arguments(method=methods.NeXtVLAD, groups=7))


def test_a_method_that_would_be_loaded_as_another(monkeypatch, tmp_path):
    class Local(Squares):
        pass

    layer = PoolingLayer(**arguments(method=Local))
    with pytest.raises(ValueError, match="method: expected a class at the top level of a module.* got .*Local"):
        keras.Sequential([keras.Input([SAMPLES, FEATURES]), layer]).save(str(tmp_path / "model.keras"))
    layer = PoolingLayer(**arguments(method=Samples))
    config = layer.get_config()
    monkeypatch.setattr(sys.modules[__name__], "Samples", type("Samples", (Squares,), {"__module__": __name__}))
    with pytest.raises(ValueError, match="test_tf2.Samples, which is .* or was replaced by a later definition"):
        layer.get_config()
    # Keras turns the error into a TypeError.
    with pytest.raises(TypeError, match="method: expected .* got 'elsewhere.Samples'. First import the module"):
        PoolingLayer.from_config(dict(config, method="elsewhere.Samples"))
    with keras.utils.custom_object_scope({"Samples": Local}):
        assert PoolingLayer.from_config(dict(config, method="elsewhere.Samples"))._pooling.method is Local


@pytest.mark.parametrize("max_samples", [SAMPLES, None])
@each_kind
def test_ragged_lists(kind, max_samples, rng):
    """They are pooled as lists with lengths."""
    lists = random_lists(rng)
    ragged = tf.RaggedTensor.from_tensor(lists, lengths=LENGTHS)
    pooling = kind(**arguments(max_samples=max_samples))
    for training in (False, True):
        expected = pooling(lists, np.int32(LENGTHS), training=training)
        for run in (pooling, tf.function(pooling)):
            np.testing.assert_allclose(run(ragged, training=training), expected, 1e-4, 1e-5)
    assert np.isfinite(pooling(ragged[1:2])).all()  # This list is empty.
    with pytest.raises(ValueError, match="num_samples: expected None with a ragged x"):
        pooling(ragged, np.int32(LENGTHS))
    with pytest.raises(ValueError, match=r"x: expected ragged lists \[B, None, D\] of ragged_rank 1.* ragged_rank 2"):
        pooling(tf.RaggedTensor.from_tensor(lists, ragged_rank=2))
    if max_samples:
        with pytest.raises(ValueError, match=f"num_samples: expected lengths from 0 to max_samples = {SAMPLES}"):
            pooling(tf.concat([ragged, ragged], axis=1))


def test_a_model_of_ragged_lists(rng):
    ragged = tf.RaggedTensor.from_tensor(random_lists(rng), lengths=LENGTHS)
    layer = PoolingLayer(**arguments())
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    batches = tf.data.Dataset.from_tensor_slices((ragged, np.zeros([BATCH, 1], np.float32))).batch(2)
    model.fit(batches, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.predict(batches, verbose=0), model.layers[1](layer(ragged)), 1e-4, 1e-5)


@each_kind
def test_start_from_kmeans(kind, rng):
    with threadpool_limits(1):
        values = kmeans_start(random_lists(rng, 40).reshape(-1, FEATURES), CLUSTERS)
    pooling = kind(**arguments(method="NetFV"))
    before = {name: value_of(variable) for name, variable in pooling.variables_by_name.items()}
    assert assign(pooling, "", values) == sorted(values)
    for name, variable in pooling.variables_by_name.items():
        np.testing.assert_array_equal(value_of(variable), values.get(name, before[name]))
    with pytest.raises(ValueError, match="scope: expected a layer with the variable cluster_bn/gamma, got cluster_b"):
        assign(kind(**arguments(add_batch_norm=False)), "", values)


def test_frozen_layers_infer(rng):
    """They infer even in training, as Keras's own batch norm does."""
    lists = random_lists(rng)
    layer = PoolingLayer(**arguments())
    expected = layer(lists).numpy()
    layer.trainable = False
    assert layer.trainable_weights == []
    np.testing.assert_array_equal(layer(lists, training=True).numpy(), expected)


def test_float32_under_mixed_precision(rng):
    policy = keras.mixed_precision.global_policy() if hasattr(keras.mixed_precision, "global_policy") else "float32"
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = PoolingLayer(**arguments())
        model = keras.Sequential([keras.Input([SAMPLES, FEATURES]), keras.layers.Dense(FEATURES), layer])
        model.compile("sgd", "mse", run_eagerly=True)
        inputs, target = data(rng)
        model.fit(inputs[0], target, verbose=0)
        assert all(variable.dtype == "float32" for variable in layer.variables)
        assert np.isfinite(model.predict(inputs[0], verbose=0)).all()
    finally:
        keras.mixed_precision.set_global_policy(policy)


def test_subclassed_models(rng):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.pooling, self.dense = PoolingLayer(**arguments(decay=0.5)), keras.layers.Dense(OUTPUTS)

        def call(self, x, training=None):
            return self.dense(self.pooling(x, training=training))

    model = Model()
    inputs, target = data(rng)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(inputs[0], target, batch_size=BATCH, verbose=0)
    assert len(model.trainable_weights) == 8 + 2
    assert abs(value_of(model.pooling.variables_by_name["cluster_bn/moving_variance"]) - 1).min() > 0.1


def test_module_is_saved_and_exported(rng, tmp_path):
    x = tf.constant(random_lists(rng))
    module, other = (PoolingModule(**arguments()) for _ in range(2))
    expected = module(x)
    path = tf.train.Checkpoint(module=module).save(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(module=other).restore(path).assert_consumed()
    np.testing.assert_array_equal(other(x), expected)
    module.serve = tf.function(module, input_signature=[tf.TensorSpec([None, SAMPLES, FEATURES])])
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.serve(x), expected, 1e-5, 1e-6)


@each_kind
def test_checkpoints_of_tensorflow_1(kind, tmp_path):
    """A checkpoint of 2017, and one of a layer under a scope."""
    configuration = Configuration("NetFV", True, True, True)
    values = golden.load(configuration)
    pooling = kind(**arguments(configuration))
    pooling.load_tf1_checkpoint(golden.checkpoint("NetFV"))
    lists = values["x"].reshape(-1, SAMPLES, FEATURES)
    assert relative_error(pooling(lists, training=True), values["y"]) <= 2e-6

    with tf.Graph().as_default(), v1.Session() as session:
        with v1.variable_scope("tower/video"):
            build(configuration)
        session.run(v1.global_variables_initializer())
        path = v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
        expected = session.run(by_name(v1.global_variables()))
    for scope in ("tower/video", "tower/video/"):
        pooling.load_tf1_checkpoint(path, scope)
        for name, variable in pooling.variables_by_name.items():
            np.testing.assert_array_equal(value_of(variable), expected["tower/video/" + name])

    before = [value_of(variable) for variable in pooling.variables]
    with pytest.raises(ValueError, match="model.ckpt: cluster_weights: expected shape .*, got none; .*gating_weights"):
        pooling.load_tf1_checkpoint(path)
    with pytest.raises(ValueError, match="path: expected a checkpoint, got '.*none'"):
        pooling.load_tf1_checkpoint(str(tmp_path / "none"))
    other = kind(**arguments(configuration, output_dim=9))
    with pytest.raises(ValueError, match=r"tower/video/hidden1_weights: expected shape \[120, 9\], got \[120, 6\]"):
        other.load_tf1_checkpoint(path, "tower/video")
    for variable, value in zip(pooling.variables, before):
        np.testing.assert_array_equal(value_of(variable), value)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not allow these names")
def test_checkpoints_of_any_name(tmp_path, monkeypatch):
    """They are given by their own names, their files' names, or their directories, which may have been moved."""
    directory = tmp_path / "first"
    directory.mkdir()
    with tf.Graph().as_default(), v1.Session() as session:
        build(Configuration("SoftDBoW", True, False, True))
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(directory / "model [2].ckpt"), global_step=8)
        expected = session.run(by_name(v1.global_variables()))
    module = PoolingModule(**arguments(method="SoftDBoW", gating=False))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def check_loaded(path):
        for variable in module.variables:
            variable.assign(tf.zeros_like(variable))
        module.load_tf1_checkpoint(path)
        for name, variable in module.variables_by_name.items():
            np.testing.assert_array_equal(value_of(variable), expected[name], err_msg=str(path))

    for name in ("plain", "a [1]", "[!x]", "*", "q?", "{x,y}", "back\\slash", "モデル", "model.ckpt-8.index"):
        directory = directory.rename(tmp_path / name)
        for path in (name, name + os.sep, directory, os.path.join("~", name, "model [2].ckpt-8")):
            check_loaded(path)
    for ending in ("", ".index", ".meta", ".data-00000-of-00001"):
        check_loaded(directory / f"model [2].ckpt-8{ending}")
    (tmp_path / "link").symlink_to(directory)
    check_loaded("link")
    # A copy's `checkpoint` may name the original by its whole path.
    (directory / "checkpoint").write_text(f'model_checkpoint_path: "{tmp_path}/original/model [2].ckpt-8"')
    shutil.copytree(str(directory), str(tmp_path / "original"))
    for file in (tmp_path / "original").glob("*.data*"):
        file.write_bytes(file.read_bytes()[:50])
    check_loaded(directory)
    before = [value_of(variable) for variable in module.variables]
    with pytest.raises(ValueError, match="path: expected a checkpoint, got .*original"):
        module.load_tf1_checkpoint(tmp_path / "original")
    assert all((value_of(v) == value).all() for v, value in zip(module.variables, before))
    (directory / "checkpoint").unlink()
    with pytest.raises(ValueError, match=r"path: expected a checkpoint, got .*no usable .*: model \[2\].ckpt-8"):
        module.load_tf1_checkpoint(directory)


def test_bad_arguments(rng):
    for kind in (PoolingModule, PoolingLayer):
        with pytest.raises(ValueError, match="method: expected a subclass of .*NetFV, .*got 'NetBOW'"):
            kind(**arguments(method="NetBOW"))
        with pytest.raises(ValueError, match="cluster_size: expected a positive integer"):
            kind(**arguments(cluster_size=0))
        with pytest.raises(TypeError, match="feature_size: expected a positive integer, got '3'"):
            kind(**arguments(feature_size="3"))
        with pytest.raises(ValueError, match="decay: expected a number from 0 to below 1, got 1"):
            kind(**arguments(decay=1))
    with pytest.raises(ValueError, match=r"x: expected lists \[B, N, D\] or maps"):
        PoolingLayer(**arguments())(random_lists(rng).reshape(-1, FEATURES))
    with pytest.raises(ValueError, match="num_samples: expected shape"):
        PoolingLayer(**arguments())(random_lists(rng), np.ones((BATCH, 2), int))


@pytest.mark.parametrize(
    "shape, message",
    [
        ([SAMPLES, FEATURES + 1], "reshaped_input: expected rows"),
        ([SAMPLES + 1, FEATURES], "reshaped_input: expected as many samples in each list as max_samples"),
        ([SAMPLES, None], "reshaped_input: expected rows"),
        ([FEATURES], "x: expected lists"),
    ],
)
def test_inputs_of_a_model_are_checked_when_it_is_built(shape, message):
    with pytest.raises(ValueError, match=message):
        PoolingLayer(**arguments())(keras.Input(shape))


@pytest.mark.parametrize("in_function", [False, True], ids=["eager", "function"])
def test_layers_under_a_custom_getter(in_function, rng):
    """In eager code and in functions, a layer of loupe runs where a getter keeps its variables."""
    lists, kept = tf.constant(random_lists(rng)), {}
    layer = TRAINING.layer(is_training=False)

    def getter(getter, name, *args, **kwargs):
        if name not in kept:
            with tf.init_scope():
                kept[name] = tf.Variable(kwargs["initializer"](kwargs["shape"]), trainable=kwargs["trainable"])
        return kept[name]

    def pool(x):
        with v1.variable_scope("", custom_getter=getter):
            return layer.forward(x)

    first, second = (tf.function(pool, autograph=False) if in_function else pool)(lists), pool(lists)
    np.testing.assert_allclose(first, second, 1e-4, 1e-5)
    assert len(kept) == 12


@pytest.mark.parametrize("in_function", [False, True], ids=["eager", "function"])
def test_layers_in_a_store_of_tf1_style_variables(in_function, rng):
    if hasattr(v1.keras.utils, "track_tf1_style_variables"):
        legacy, utils = keras, v1.keras.utils
    else:
        legacy = pytest.importorskip("tf_keras")
        utils = pytest.importorskip("tf_keras.src.legacy_tf_layers.variable_scope_shim")

    class Layer(legacy.layers.Layer):
        @utils.track_tf1_style_variables
        def call(self, x):
            return TRAINING.layer(is_training=False).forward(x)

    layer, lists = Layer(), tf.constant(random_lists(rng))
    first, second = (tf.function(layer) if in_function else layer)(lists), layer(lists)
    np.testing.assert_allclose(first, second, 1e-4, 1e-5)
    assert len(layer.trainable_weights) == 8


MIRRORED = """
import numpy as np, sys
import tensorflow as tf
sys.path.insert(0, sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tf2 import PoolingLayer, PoolingModule, keras

arguments = dict(method="NetVLAD", feature_size=12, max_samples=7, cluster_size=5, output_dim=6, decay=0.5)
random = np.random.RandomState(1)
half = random.standard_normal([4, 7, 12]).astype("float32")
x, target = np.concatenate([half, half]), np.zeros([8, 6], "float32")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
results = []
for scope in (strategy.scope, tf.init_scope):
    keras.utils.set_random_seed(1)
    with scope():
        layer = PoolingLayer(**arguments)
        model = keras.Sequential([keras.Input([7, 12]), layer])
        model.compile(keras.optimizers.SGD(0.05), "mse")
    values = np.random.RandomState(2)
    for variable in layer.variables_by_name.values():
        variable.assign(values.uniform(0.5, 1, variable.shape))
    model.fit(x, target, batch_size=8, epochs=3, shuffle=False, verbose=0)
    results.append([np.array(variable) for variable in model.get_weights()])
# Both replicas have the same lists, so that their statistics equal the whole batch's, except for the unbiased variance,
# which counts half as many rows.
for name, one, two in zip(layer.variables_by_name, *results):
    np.testing.assert_allclose(one, two, 0.2 if one.ndim == 1 else 1e-3, 1e-3)
with strategy.scope():
    module = PoolingModule(**arguments)

@tf.function
def step():
    def replica():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(module(x, training=True) ** 2)
        return tape.gradient(loss, module.trainable_variables)
    return strategy.run(replica)

assert len(step()) == 8
assert np.ptp([np.abs(v.numpy() - 1).max() for v in strategy.experimental_local_results(
    module.variables_by_name["cluster_bn/moving_variance"])]) == 0
assert np.abs(module.variables_by_name["cluster_bn/moving_variance"].numpy() - 1).min() > 0.01
"""


@pytest.mark.long
def test_mirrored_strategy():
    child.run(MIRRORED, os.path.join(os.path.dirname(child.TESTS), "examples"))


@pytest.mark.long
def test_saved_models_keep_the_fast_gradient(rng, tmp_path):
    """They keep it in another process, which does not import loupe."""
    module = PoolingModule(**arguments(feature_size=64, cluster_size=32, output_dim=128))
    lists = rng.standard_normal([BATCH, SAMPLES, 64]).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, SAMPLES, 64])])
    def serve(x):
        return module(x)

    module.serve = serve
    operations = serve.get_concrete_function().graph.get_operations()
    assert any("_gradient_op_type" in op.node_def.attr and op.type == "IdentityN" for op in operations)
    tf.saved_model.save(module, str(tmp_path))
    x = tf.constant(lists)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(tf.square(module(x)))
    np.savez(str(tmp_path / "expected.npz"), x=lists, gradient=tape.gradient(loss, x).numpy())
    child.run(
        """
import sys, numpy as np, tensorflow as tf
expected = np.load(sys.argv[1] + "/expected.npz")
loaded = tf.saved_model.load(sys.argv[1])
x = tf.constant(expected["x"])
with tf.GradientTape() as tape:
    tape.watch(x)
    loss = tf.reduce_sum(tf.square(loaded.serve(x)))
np.testing.assert_allclose(tape.gradient(loss, x), expected["gradient"], 1e-3, 1e-5)
assert "loupe" not in sys.modules
""",
        tmp_path,
    )


def test_rows_need_max_samples():
    module = PoolingModule("NetVLAD", feature_size=6, max_samples=None, cluster_size=3, output_dim=2)
    with pytest.raises(ValueError, match=r"x: expected lists or maps where max_samples is None, got rows of shape"):
        module(np.ones([8, 6], np.float32))
