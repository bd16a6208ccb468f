"""Any call, with any arguments, gives a right answer or raises one of the errors that `forward` documents.

It tries 15 cases by default, and 2,000 with ``pytest -m long``.
"""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.comparison import assert_equals_statement, randomize
from support.configurations import METHODS, Configuration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.numpy_pooling import pool

SIZES = ("feature_size", "max_samples", "cluster_size", "output_dim")
FLAGS = ("gating", "add_batch_norm", "is_training")
ERRORS = (TypeError, ValueError, tf.errors.InvalidArgumentError)

# Faults, each with the argument that the message has to name.
FAULTS = dict(
    {name: name for name in SIZES + FLAGS},
    type_of_input="reshaped_input",
    rank_of_input="reshaped_input",
    unknown_rank_of_input="reshaped_input",
    features_of_input="reshaped_input",
    unknown_features_of_input="reshaped_input",
    samples_of_input="reshaped_input",
    type_of_lengths="num_samples",
    too_long="num_samples",
    negative="num_samples",
    number_of_lengths="num_samples",
    rank_of_lengths="num_samples",
)


@st.composite
def cases(draw):
    """The arguments of a call, a dict. In half of the cases, "faults" is the set of what is wrong with them."""
    faults = set(draw(st.lists(st.sampled_from(sorted(FAULTS)), max_size=2))) if draw(st.booleans()) else set()
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    form = draw(st.sampled_from(["rows", "lists", "maps"]))
    batch, features, samples = draw(st.integers(1, 4)), draw(st.integers(1, 5)), height * width
    if form == "rows" and samples == 1:
        faults.discard("samples_of_input")  # Any number of rows is a multiple of 1.
    has_lengths = draw(st.booleans()) or any(FAULTS[fault] == "num_samples" for fault in faults)
    return {
        "faults": faults,
        "method": draw(st.sampled_from(sorted(METHODS))),
        "sizes": {
            "feature_size": features,
            "max_samples": samples,
            "cluster_size": draw(st.integers(1, 4)),
            "output_dim": draw(st.none() | st.integers(1, 4)),
        },
        "flags": {name: draw(st.booleans()) for name in FLAGS},
        "bad_size": draw(st.sampled_from([0, -1, 2.0, True, "3", [3]])),
        "bad_flag": draw(st.sampled_from([None, 2, "no", 0.5, []])),
        "bad_type": draw(st.sampled_from([np.float16, np.float64, np.int32, np.complex64, np.bool_])),
        "bad_type_of_lengths": draw(st.sampled_from([np.float32, np.bool_])),
        "type_of_lengths": draw(st.sampled_from([np.uint8, np.int32, np.int64])),
        "shape": {"rows": [batch * samples], "lists": [batch, samples], "maps": [batch, height, width]}[form],
        "lengths": draw(st.lists(st.integers(0, samples), min_size=batch, max_size=batch)) if has_lengths else None,
        "padding": draw(st.sampled_from([0.0, np.inf, np.nan])),
        "known": draw(st.lists(st.booleans(), min_size=5, max_size=5)),
        "how": {
            name: draw(st.sampled_from(["value", "constant", "placeholder"]))
            for name in ("max_samples", "is_training", "reshaped_input", "num_samples")
        },
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def given_as(how, value, known, feed):
    """The value itself, a constant, or a placeholder that knows these dimensions and is fed with it."""
    if how == "value":
        return value
    if how == "constant":
        return tf.constant(value)
    value = np.asarray(value)
    shape = None if known is None else [size if k else None for size, k in zip(value.shape, known)]
    placeholder = tf.placeholder(value.dtype, shape)
    feed[placeholder] = value
    return placeholder


def call(case, session):
    """Makes the call, and returns its output with all that `assert_equals_statement` needs."""
    faults, rng, feed = case["faults"], np.random.RandomState(case["seed"]), {}
    how, lengths = case["how"], case["lengths"]
    sizes = dict(case["sizes"])
    x = rng.standard_normal(case["shape"] + [sizes["feature_size"]]).astype(np.float32)
    lists = x.reshape(-1, sizes["max_samples"], sizes["feature_size"])
    if lengths is not None:
        lists[np.arange(sizes["max_samples"]) >= np.reshape(lengths, [-1, 1])] = case["padding"]

    arguments = dict(sizes, **case["flags"])
    arguments["max_samples"] = given_as(how["max_samples"], np.int32(sizes["max_samples"]), [], feed)
    arguments["is_training"] = given_as(how["is_training"], arguments["is_training"], [], feed)
    arguments.update(dict.fromkeys(faults.intersection(SIZES), case["bad_size"]))
    arguments.update(dict.fromkeys(faults.intersection(FLAGS), case["bad_flag"]))

    known = case["known"][: x.ndim - 1] + [True]
    if "type_of_input" in faults:
        x = np.nan_to_num(x).astype(case["bad_type"])
    if "samples_of_input" in faults:
        x = np.concatenate([x, x[:, -1:]], axis=1) if x.ndim > 2 else np.concatenate([x, x[:1]])
    if "features_of_input" in faults:
        x = np.concatenate([x, x[..., :1]], axis=-1)
    if "rank_of_input" in faults:
        x, known = x.ravel(), known[:1]
    if "unknown_features_of_input" in faults:
        known[-1] = False
    if "unknown_rank_of_input" in faults:
        known = None
    is_unknown = faults.intersection(["unknown_rank_of_input", "unknown_features_of_input"])
    x = given_as("placeholder" if is_unknown else how["reshaped_input"], x, known, feed)

    num_samples = lengths
    if lengths is not None:
        num_samples = np.array(lengths, case["type_of_lengths"])
        if faults.intersection(["too_long", "negative"]):
            num_samples = num_samples.astype(np.int64)
            num_samples[-1] = sizes["max_samples"] + 1 if "too_long" in faults else -1
        if "type_of_lengths" in faults:
            num_samples = num_samples.astype(case["bad_type_of_lengths"])
        if "number_of_lengths" in faults:
            num_samples = np.append(num_samples, num_samples[:1])
        if "rank_of_lengths" in faults:
            num_samples = num_samples[:, np.newaxis]
        num_samples = given_as(how["num_samples"], num_samples, case["known"][4:] * 2, feed)

    configuration = Configuration(case["method"], **case["flags"])
    y = configuration.layer(**arguments).forward(x, num_samples)
    # After a run, the cond of slim's batch norm with a tensor is_training can no longer be differentiated.
    gradients = tf.gradients(y, tf.trainable_variables())
    values = randomize(session, rng)
    y, gradients = session.run([y, gradients], feed)
    assert all(np.isfinite(gradient).all() for gradient in gradients)

    def statement(inputs, noise=None):
        inputs = dict(inputs)
        return pool(configuration, inputs.pop("x"), inputs, sizes["output_dim"] is not None, lengths, noise)

    return y, statement, dict(values, x=np.where(np.isfinite(lists), lists, 0)), rng


def assert_answered_or_refused(case):
    named = {FAULTS[fault] for fault in case["faults"]}
    if "samples_of_input" in case["faults"] and case["lengths"] is not None:
        named.add("num_samples")  # More rows may be more lists, which the lengths then do not fit.
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        if named:
            with pytest.raises(ERRORS) as raised:
                call(case, session)
            message = str(raised.value)
            assert any(name + ": expected" in message for name in named), message
            assert ", got" in message
        else:
            y, statement, inputs, rng = call(case, session)
            assert_equals_statement(statement, inputs, y, rng)


fuzzing = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))


@settings(fuzzing, max_examples=15)
@given(cases())
def test_any_call(case):
    assert_answered_or_refused(case)


@pytest.mark.long
@settings(fuzzing, max_examples=2000)
@given(cases())
def test_any_call_at_length(case):
    assert_answered_or_refused(case)
