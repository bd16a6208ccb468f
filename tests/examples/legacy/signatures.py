"""Writes the arguments and defaults of tf.contrib's names as JSON: signatures.py OUTPUT [NAMES]."""

import functools
import inspect
import json
import sys
import types

import tensorflow as tf

PACKAGES = """data distributions eager feature_column framework layers losses losses.python.metric_learning lookup
metrics nn rnn signal slim slim.python.slim.evaluation slim.python.slim.learning slim.python.slim.model_analyzer
slim.python.slim.nets.alexnet slim.python.slim.nets.inception slim.python.slim.nets.overfeat
slim.python.slim.nets.resnet_utils slim.python.slim.nets.resnet_v1 slim.python.slim.nets.resnet_v2
slim.python.slim.nets.vgg slim.python.slim.queues slim.python.slim.summaries stateless summary training util
tensorboard.plugins.projector""".split()


def shown(default):
    """A text for a default, the same with every Python and TensorFlow."""
    if isinstance(default, (types.FunctionType, functools.partial)) or inspect.isclass(default):
        return "the function %s" % getattr(default, "__name__", default)
    if isinstance(default, (list, tuple)):
        return "[%s]" % ", ".join(shown(value) for value in default)
    return repr(default) if type(default).__module__ == "builtins" else str(getattr(default, "name", type(default)))


def signature(value):
    if isinstance(value, functools.partial):
        return signature(value.func) + ["%s=%s" % (key, shown(value.keywords[key])) for key in sorted(value.keywords)]
    if not callable(value):
        return None
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    empty = inspect.Parameter.empty
    texts = ["" if p.default is empty else "=%s" % shown(p.default) for p in parameters]
    return [stars.get(p.kind, "") + p.name + text for p, text in zip(parameters, texts)]


def module(package):
    return __import__("tensorflow.contrib." + package, fromlist=["__name__"])


if __name__ == "__main__":
    names = (
        json.load(open(sys.argv[2]))
        if sys.argv[2:]
        else [package + "." + name for package in PACKAGES for name in dir(module(package)) if not name.startswith("_")]
    )
    signatures = {}
    for name in names:
        try:
            package, _, last = name.rpartition(".")
            value = getattr(module(package), last)
        except AttributeError:
            continue
        if not isinstance(value, types.ModuleType):
            signatures[name] = signature(value)
    with open(sys.argv[1], "w") as output:
        json.dump(signatures, output, indent=0, sort_keys=True)
    print("%d names of tf.contrib with TensorFlow %s" % (len(signatures), tf.__version__))
