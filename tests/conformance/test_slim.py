"""After `import loupe`, each form of slim.batch_norm that works on TensorFlow 1.15 gives the numbers of that version.

goldens/slim_batch_norm.npz has them: the inputs of rank R as ``x:R``, the variables by name, and each of the `OUTCOMES`
as ``OUTCOME:R``, by fused, updates_collections and mode.
"""

import collections
import itertools
import os

from support import golden
import loupe
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_slim as slim
from support.comparison import assign, by_name, relative_error
from tf_slim.layers import layers, utils

RANKS = (2, 3, 4)
FUSED = (None, True, False)
UPDATES_COLLECTIONS = ("default", None, ["mine"])
MODES = ("True", "False", "placeholder fed True", "placeholder fed False")  # The third and the fourth are one form.

# The output y, the gradients of the sum of its cubes, and the moving averages after one step; then how many updates the
# form added to UPDATE_OPS and to the collection "mine".
OUTCOMES = ["y", "gradient of x", "gradient of gamma", "gradient of beta", "moving_mean", "moving_variance"]
OUTCOMES += ["updates", "updates in a list"]


class Form(collections.namedtuple("Form", "rank fused updates_collections mode data_format")):
    def __str__(self):
        return "-".join(str(value) for value in self)

    def index(self):
        """The form's index in the goldens."""
        return (
            FUSED.index(self.fused),
            UPDATES_COLLECTIONS.index(self.updates_collections),
            MODES.index(self.mode),
        )

    def build(self, batch_norm, inputs):
        """The input, the output and the argument is_training."""
        x = tf.constant(inputs[f"x:{self.rank}"])
        channels_last = tuple(range(self.rank))
        order = channels_last[:1] + channels_last[-1:] + channels_last[1:-1]  # NCHW from NHWC
        is_first = self.data_format == "NCHW"
        is_training = tf.placeholder(tf.bool, []) if "placeholder" in self.mode else self.mode == "True"
        arguments = {} if self.updates_collections == "default" else {"updates_collections": self.updates_collections}
        arguments.update(scale=True, is_training=is_training, fused=self.fused, data_format=self.data_format)
        y = batch_norm(tf.transpose(x, order) if is_first else x, **arguments)
        return x, tf.transpose(y, np.argsort(order)) if is_first else y, is_training

    def run(self, batch_norm, inputs):
        """The outcomes, a dict."""
        with tf.Graph().as_default(), tf.Session() as session:
            x, y, is_training = self.build(batch_norm, inputs)
            variables = by_name(tf.global_variables())
            assert sorted(variables) == sorted(by_name(tf.model_variables()))
            updates = [tf.get_collection(name) for name in (tf.GraphKeys.UPDATE_OPS, "mine")]
            gradients = tf.gradients(y**3, [x, variables["BatchNorm/gamma"], variables["BatchNorm/beta"]])
            assign(session, {name: inputs[name.split("/")[1]] for name in variables})
            feed = {is_training: self.mode.endswith("True")} if tf.is_tensor(is_training) else {}
            numbers = session.run([y] + gradients + [updates], feed)[:-1]
            numbers += session.run([variables["BatchNorm/moving_mean"], variables["BatchNorm/moving_variance"]])
        return dict(zip(OUTCOMES, numbers + [len(added) for added in updates]))


FORMS = [Form(*form, data_format="NHWC") for form in itertools.product(RANKS, FUSED, UPDATES_COLLECTIONS, MODES)]
# The fused kernel takes NCHW on a GPU only.
FORMS += [form._replace(data_format="NCHW") for form in FORMS if form.fused is False or form.rank == 3]


def is_typical(form):
    """Whether the default run has the form, mostly because new TensorFlows cannot run it without the repair."""
    if form.updates_collections == "default" and form.data_format == "NHWC":
        return form.mode == "True" or (form.rank > 2 and form.mode == "placeholder fed True")
    return form.mode == "True" and form.fused is False and form.rank < 4


@pytest.fixture(scope="module")
def recorded():
    with np.load(os.path.join(golden.DIRECTORY, "slim_batch_norm.npz")) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    "form", [pytest.param(f, id=str(f), marks=[] if is_typical(f) else [pytest.mark.long]) for f in FORMS]
)
def test_every_form_has_the_numbers_of_tensorflow_1(form, recorded, record_property):
    outcomes = form.run(slim.batch_norm, recorded)
    expected = {name: recorded[f"{name}:{form.rank}"][form.index()] for name in OUTCOMES}
    errors = {name: relative_error(outcomes[name], expected[name]) for name in OUTCOMES[:6]}
    record_property("error of slim.batch_norm", float(max(errors.values())))
    assert all(error <= 5e-6 for error in errors.values()), errors
    assert [outcomes[name] for name in OUTCOMES[6:]] == [expected[name] for name in OUTCOMES[6:]]


@pytest.mark.parametrize("rank", [2, 4])
@pytest.mark.parametrize("updates_collections", UPDATES_COLLECTIONS, ids=str)
def test_channels_first_go_to_the_fused_kernel(rank, updates_collections, recorded, graph):
    Form(rank, None, updates_collections, "True", "NCHW").build(slim.batch_norm, recorded)
    (op,) = [op for op in graph.get_operations() if op.type == "FusedBatchNormV3"]
    assert op.get_attr("data_format") == b"NCHW"


@pytest.mark.parametrize("missing", [["control_flow_ops"], ["control_flow_ops", "ops"]], ids="-".join)
def test_a_tf_slim_without_the_modules_is_left_alone(missing, monkeypatch):
    """Later versions of tf-slim use TensorFlow's public names instead."""
    for name in missing:
        for module in (utils, layers):
            monkeypatch.delattr(module, name, raising=False)
    loupe._repair_tf_slim()  # as `import loupe` does
    assert not any(hasattr(utils, name) for name in missing)
