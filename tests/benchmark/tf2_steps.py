"""Steps of training in TensorFlow 2, with the classes of examples/tf2.py."""

import os
import sys

EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "examples")
STEPS = 5  # in each call of fit, so that its other work counts less


def steps(method, sizes, x, target, rate):
    """Functions that take a step of gradient descent with `PoolingModule` and a tape, and with `PoolingLayer` and fit.

    Args:
      method: the name of a method.
      sizes: D, N, K and O.
      x, target: arrays [B, N, D] and [B, O].
      rate: the learning rate.
    """
    import tensorflow as tf

    if EXAMPLES not in sys.path:
        sys.path.append(EXAMPLES)
    from tf2 import PoolingLayer, PoolingModule, keras

    module = PoolingModule(method, *sizes)
    inputs = tf.constant(x), tf.constant(target)

    @tf.function
    def step(x, target):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(module(x, training=True) - target))
        for variable, gradient in zip(module.trainable_variables, tape.gradient(loss, module.trainable_variables)):
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)

    model = keras.Sequential([keras.Input(x.shape[1:]), PoolingLayer(method, *sizes)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    batches = tf.data.Dataset.from_tensors(inputs).repeat()
    options = {"steps_per_epoch": STEPS, "shuffle": False, "verbose": 0}
    model.fit(batches, **options)
    return {"tape": lambda: step(*inputs), "fit": lambda: model.fit(batches, **options)}
