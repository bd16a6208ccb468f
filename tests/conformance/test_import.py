"""Importing loupe defines its names and repairs tf-slim where TensorFlow broke it, and does nothing else."""

from support import child, programs
import loupe  # noqa: F401 (it repairs tf-slim)
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import ops
from tensorflow.python.ops import control_flow_ops
from tf_slim.layers import layers, utils

IMPORT = """
import copy, logging, os, random, sys, tempfile, warnings
import absl.logging
import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim
from tensorflow.python.framework import ops
from tensorflow.python.ops import control_flow_ops

def settings():
    loggers = [logging.getLogger(name) for name in [None] + sorted(logging.root.manager.loggerDict)]
    found = {
        "eager": tf.executing_eagerly(),
        "resource variables": tf.resource_variables_enabled(),
        "control flow": tf.control_flow_v2_enabled(),
        "shapes": isinstance(tf.TensorShape([1])[0], int),
        "loggers": [(l.name, l.level, l.propagate, l.disabled, list(l.handlers), list(l.filters)) for l in loggers],
        "verbosity": (tf.logging.get_verbosity(), absl.logging.get_verbosity()),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "path": list(sys.path),
        "graph": tf.get_default_graph(),
        "operations": len(tf.get_default_graph().get_operations()),
        "random states": (random.getstate(), np.random.get_state()[1].tolist()),
        "hooks": (sys.excepthook, sys.displayhook),
    }
    return found

def contents():
    return {name: dict(vars(module)) for name, module in list(sys.modules.items()) if name.startswith("tensorflow")}

batch_norm = tf_slim.batch_norm
with tf_slim.arg_scope([batch_norm], decay=0.5, center=False) as arguments:
    pass
before, modules = settings(), contents()
with tempfile.TemporaryFile() as written:
    sys.stdout.flush(), sys.stderr.flush()
    streams = [os.dup(1), os.dup(2)]
    os.dup2(written.fileno(), 1), os.dup2(written.fileno(), 2)
    import loupe
    sys.stdout.flush(), sys.stderr.flush()
    os.dup2(streams[0], 1), os.dup2(streams[1], 2)
    written.seek(0)
    output = written.read()
assert output == b"", output
after = settings()
for name in before:
    assert before[name] == after[name], (name, before[name], after[name])
for name, module in modules.items():
    now = vars(sys.modules[name])
    if not name.startswith("tensorflow.python"):  # The public modules load their names on demand.
        now = {key: now[key] for key in module}
    changed = sorted(key for key in set(now) | set(module) if now.get(key) is not module.get(key))
    assert not changed, (name, changed)
for broken in (ops, control_flow_ops):
    assert broken.__name__ in modules

# A function and an arg_scope from before the import still work.
assert tf_slim.batch_norm is batch_norm
with tf.Graph().as_default() as graph, tf.Session() as session, tf_slim.arg_scope(arguments):
    batch_norm(tf.ones([2, 3, 4]), scope="bn")
    assert [v.op.name for v in tf.global_variables()] == ["bn/moving_mean", "bn/moving_variance"]
    session.run(tf.global_variables_initializer())
    session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
    assert session.run(tf.global_variables()[0]).tolist() == [0.5] * 4
"""

RELOAD = """
import importlib, pickle
import numpy as np
import tensorflow.compat.v1 as tf
from tf_slim.layers import utils
import loupe

with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
    first, repaired = loupe.NetVLAD, (utils.ops, utils.control_flow_ops)
    assert importlib.reload(loupe) is loupe
    assert loupe.NetVLAD is not first
    assert (utils.ops, utils.control_flow_ops) == repaired  # repaired once
    layer = pickle.loads(pickle.dumps(loupe.NetVLAD(3, 2, 4, 5, is_training=tf.placeholder(tf.bool, []) is None)))
    y = layer.forward(np.ones([4, 3], np.float32))
    session.run(tf.global_variables_initializer())
    assert session.run(y).shape == (2, 5)
"""


def test_import_changes_nothing_else():
    child.run(IMPORT)


def test_reload():
    programs.run(RELOAD)


@pytest.mark.parametrize(
    "module, names", [(ops, {"Tensor", "GraphKeys"}), (control_flow_ops, {"cond"})], ids=["ops", "control_flow_ops"]
)
def test_tf_slim_is_repaired_only_where_broken(module, names):
    used = getattr(utils, module.__name__.split(".")[-1])
    if all(hasattr(module, name) for name in names):
        assert used is module
    else:
        assert used is getattr(layers, module.__name__.split(".")[-1])
        assert {key for key in vars(used) if getattr(used, key) is not getattr(module, key, None)} == names
        assert set(vars(module)) <= set(vars(used))


def test_keys_of_collections_stay_equal():
    assert layers.ops.GraphKeys.UPDATE_OPS == tf.GraphKeys.UPDATE_OPS
    assert vars(tf.GraphKeys).keys() <= set(dir(layers.ops.GraphKeys))
