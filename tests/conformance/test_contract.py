"""Variables, collections and summaries are those of the 2017 toolbox: checkpoints and programs rely on them."""

import tensorflow.compat.v1 as tf
from support import golden
from support.comparison import names
from support.configurations import FEATURES, each_configuration_of_2017


@each_configuration_of_2017
def test_contract(configuration, graph, session):
    y = configuration.layer().forward(tf.placeholder(tf.float32, [None, FEATURES]))
    contract = golden.contract(configuration)
    assert y.shape.as_list() == contract["output_shape"]
    assert y.dtype == tf.float32
    assert names(tf.trainable_variables()) == contract["trainable_variables"]
    assert names(tf.model_variables()) == contract["model_variables"]
    assert [
        {"name": variable.op.name, "shape": variable.shape.as_list(), "dtype": variable.dtype.base_dtype.name}
        for variable in tf.global_variables()
    ] == contract["variables"]

    keys = tf.GraphKeys
    expected = {keys.GLOBAL_VARIABLES: len(contract["variables"])}
    expected[keys.TRAINABLE_VARIABLES] = len(contract["trainable_variables"])
    expected[keys.MODEL_VARIABLES] = len(contract["model_variables"])
    expected[keys.UPDATE_OPS] = contract["update_ops"]
    expected[keys.SUMMARIES] = contract["summaries"]
    # Collections of TensorFlow's own have keys that are not strings, or start with underscores.
    public = [key for key in graph.get_all_collection_keys() if isinstance(key, str) and not key.startswith("__")]
    sizes = {key: len(graph.get_collection(key)) for key in public}
    assert {key: size for key, size in sizes.items() if size} == {key: size for key, size in expected.items() if size}

    if contract["summaries"]:
        session.run(tf.global_variables_initializer())
        (value,) = tf.Summary.FromString(session.run(tf.summary.merge_all())).value
        assert value.tag == "cluster_biases_1"  # The biases have the name cluster_biases.
