"""Results of the 2017 toolbox, recorded under TensorFlow 1.4."""

import json
import os

import numpy as np

DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "goldens")


def load(configuration):
    """The arrays of a configuration by name: x, y, grad:x, var:cluster_weights and so on."""
    with np.load(os.path.join(DIRECTORY, f"{configuration}.npz")) as arrays:
        return dict(arrays)


def of_kind(golden, kind):
    """The arrays named ``kind:NAME``, by NAME."""
    return {key.split(":", 1)[1]: value for key, value in golden.items() if key.startswith(kind + ":")}


def contract(configuration):
    """The variables, collections and summaries of a configuration's graph, a dict."""
    with open(os.path.join(DIRECTORY, "contract.json")) as file:
        return json.load(file)[str(configuration)]


def checkpoint(method):
    """The path of a checkpoint of ``METHOD_bn_gated_train``, which TensorFlow 1.4's Saver wrote."""
    return os.path.join(DIRECTORY, "checkpoints", method, "model.ckpt")
