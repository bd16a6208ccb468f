"""Variables, collections and summaries are those of the 2017 toolbox: checkpoints and programs rely on them."""

from support import golden
import tensorflow.compat.v1 as tf
from support.comparison import names
from support.configurations import FEATURES, each_configuration_of_2017


def build(configuration):
    return configuration.layer().forward(tf.placeholder(tf.float32, [None, FEATURES]))


@each_configuration_of_2017
def test_variables_and_output(configuration):
    y = build(configuration)
    variables = [
        {"name": variable.op.name, "shape": variable.shape.as_list(), "dtype": variable.dtype.base_dtype.name}
        for variable in tf.global_variables()
    ]
    contract = golden.contract(configuration)
    assert y.shape.as_list() == contract["output_shape"]
    assert y.dtype == tf.float32
    assert variables == contract["variables"]
    assert names(tf.trainable_variables()) == contract["trainable_variables"]
    assert names(tf.model_variables()) == contract["model_variables"]


@each_configuration_of_2017
def test_collections(configuration):
    build(configuration)
    contract = golden.contract(configuration)
    keys = tf.GraphKeys
    expected = {keys.GLOBAL_VARIABLES: len(contract["variables"])}
    expected[keys.TRAINABLE_VARIABLES] = len(contract["trainable_variables"])
    expected[keys.MODEL_VARIABLES] = len(contract["model_variables"])
    expected[keys.UPDATE_OPS] = contract["update_ops"]
    expected[keys.SUMMARIES] = contract["summaries"]
    graph = tf.get_default_graph()
    sizes = {key: len(graph.get_collection(key)) for key in graph.get_all_collection_keys()}
    private = {key for key in sizes if not isinstance(key, str) or key.startswith("__")}  # TensorFlow's own
    assert {key: sizes[key] for key in sizes if key not in private} == {k: n for k, n in expected.items() if n}


@each_configuration_of_2017
def test_summary(configuration, session):
    build(configuration)
    merged = tf.summary.merge_all()
    session.run(tf.global_variables_initializer())
    # The name of the biases themselves is taken.
    tags = [] if merged is None else [value.tag for value in tf.Summary.FromString(session.run(merged)).value]
    assert tags == ["cluster_biases_1"] * golden.contract(configuration)["summaries"]
