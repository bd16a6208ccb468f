import tensorflow as tf


def normal(stddev):
    return tf.random_normal_initializer(stddev=stddev)
