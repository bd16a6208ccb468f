"""Layers are plain objects: attributes, subclasses to any depth, copies and pickles."""

import inspect
import pickle

import loupe
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import randomize
from support.configurations import (
    BATCH,
    CLUSTERS,
    FEATURES,
    METHODS,
    METHODS_OF_2017,
    OUTPUTS,
    SAMPLES,
    TRAINING,
    batch_norm_or_biases,
    each_method,
)
from support.numpy_pooling import pool

SIZES = [FEATURES, SAMPLES, CLUSTERS, OUTPUTS]
ARGUMENTS = ["feature_size", "max_samples", "cluster_size", "output_dim", "gating", "add_batch_norm", "is_training"]
CLASSES = [loupe.PoolingBaseModel] + [method.layer for method in METHODS.values()]

each_class = pytest.mark.parametrize("cls", CLASSES)


def test_public_names():
    assert set(METHODS_OF_2017) < set(loupe.__all__)
    assert all(hasattr(loupe, name) for name in loupe.__all__)
    assert isinstance(loupe.__version__, str)


@each_class
def test_attributes(cls):
    values = [12, 7, 5, 6, False, False, False]
    for layer in (cls(*values), cls(**dict(zip(ARGUMENTS, values)))):
        assert [getattr(layer, name) for name in ARGUMENTS] == values
    layer = cls(12, 7, 5, 6)
    assert [getattr(layer, name) for name in ARGUMENTS] == values[:4] + [True, True, True]
    assert list(inspect.signature(cls).parameters)[: len(ARGUMENTS)] == ARGUMENTS


@each_method
def test_arguments_of_a_method_of_its_own(method):
    """They are keyword-only and have defaults, so that programs can exchange methods."""
    cls, own = METHODS[method].layer, METHODS[method].own
    parameters = list(inspect.signature(cls).parameters.values())[len(ARGUMENTS) :]
    assert [parameter.name for parameter in parameters] == list(own)
    assert all(p.kind == p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)
    layer = cls(12, 7, 5, 6, **own)
    assert {name: getattr(layer, name) for name in own} == own


@each_class
def test_attributes_of_tensors(cls):
    size, mode = tf.placeholder(tf.int32, []), tf.placeholder(tf.bool, [])
    layer = cls(12, size, 5, 6, is_training=mode)
    assert layer.max_samples is size
    assert layer.is_training is mode


def test_forward_of_the_base_class():
    with pytest.raises(NotImplementedError, match="forward: .*PoolingBaseModel"):
        loupe.PoolingBaseModel(12, 7, 5, 6).forward(tf.zeros([7, 12]))


@each_method
def test_context_gating_of_a_subclass(method, session, rng, lists):
    cls = METHODS[method].layer

    class Subclass(cls):
        def context_gating(self, input_layer):
            return 3 * input_layer

    outputs = []
    for layer, gating in ((Subclass, True), (cls, False)):
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            outputs.append(layer(*SIZES, gating=gating, **METHODS[method].own).forward(lists))
    assert not [variable for variable in tf.global_variables() if "gating" in variable.op.name]
    randomize(session, rng)
    gated, plain = session.run(outputs)
    np.testing.assert_array_equal(gated, 3 * plain)


def test_a_method_of_steps(session, rng, lists):
    """The documented steps are enough to write a method with lengths, projection and gates."""

    class Method(loupe.PoolingBaseModel):
        def forward(self, reshaped_input, num_samples=None):
            samples = self.samples(reshaped_input, num_samples)
            return self.output(tf.reduce_sum(samples.lists, axis=1) / tf.maximum(samples.lengths, 1))

    layer = Method(*SIZES, gating=False)
    lengths = [SAMPLES, 3, 0, 1]
    y = layer.forward(lists, lengths)
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        full = layer.forward(lists)
    weights = randomize(session, rng)["hidden1_weights"]
    expected = [samples[:length].sum(axis=0) / max(length, 1) @ weights for samples, length in zip(lists, lengths)]
    np.testing.assert_allclose(session.run(y), expected, 2e-5, 2e-6)
    np.testing.assert_allclose(session.run(full), lists.mean(axis=1) @ weights, 2e-5, 2e-6)


@batch_norm_or_biases
def test_context_gating_of_the_module(add_batch_norm, session, rng):
    x = tf.constant(rng.standard_normal([BATCH, 5]).astype(np.float32))
    layer = TRAINING.layer(add_batch_norm=add_batch_norm, is_training=False)
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        outputs = [layer.context_gating(x), loupe.context_gating(x, add_batch_norm, is_training=False)]
    randomize(session, rng)
    np.testing.assert_array_equal(*session.run(outputs))


@each_method
def test_subclasses_to_any_depth(method, session, rng, lists):
    configuration = TRAINING._replace(method=method)

    class First(METHODS[method].layer):
        def forward(self, reshaped_input):
            return 2 * super().forward(reshaped_input)

    class Second(First):
        """Adds nothing."""

    class Third(Second):
        def forward(self, reshaped_input):
            return 1 + super().forward(reshaped_input)

    outputs = []
    for cls in (First, Second, Third):
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            outputs.append(cls(*SIZES, **METHODS[method].own).forward(lists))
    values = randomize(session, rng)
    once, same, plus_one = session.run(outputs)
    np.testing.assert_allclose(once, 2 * pool(configuration, lists, values)[0], 2e-5, 5e-6)
    np.testing.assert_array_equal(same, once)
    np.testing.assert_array_equal(plus_one, 1 + once)


def test_gating_of_any_width():
    """Users gate layers of other widths than output_dim, and any number of them under scopes."""
    layer = TRAINING.layer()
    for width in (1, 3, OUTPUTS + 5):
        with tf.variable_scope(f"gate{width}"):
            assert layer.context_gating(tf.ones([BATCH, width])).shape.as_list() == [BATCH, width]
    assert len(tf.global_variables()) == 15


@each_class
def test_pickle(cls):
    layer = cls(12, 7, 5, None, gating=False, add_batch_norm=False, is_training=False)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        clone = pickle.loads(pickle.dumps(layer, protocol))
        assert type(clone) is type(layer)
        assert vars(clone) == vars(layer)
