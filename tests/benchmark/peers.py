"""A layer of loupe and its peers, the same layer in PyTorch and in Keras, timed in turns in processes of their own."""

import importlib.util
import json
import os
import subprocess
import sys

import tensorflow.compat.v1 as tf
from benchmark.steps import times_in_turns

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = ("PyTorch", "PyTorch compiled", "Keras")


def missing():
    """The peers that cannot be measured here, a dict from name to reason."""
    reasons = {}
    if importlib.util.find_spec("torch") is None:
        reasons.update(dict.fromkeys(["PyTorch", "PyTorch compiled"], "torch is not installed"))
    if tuple(map(int, tf.__version__.split(".")[:2])) < (2, 16):
        reasons["Keras"] = f"Keras 3 needs TensorFlow 2.16 or later, and this is {tf.__version__}"
    return reasons


def times(task, repeats):
    """Lists of the seconds that the task's step takes in loupe and in each peer that is not missing, by name."""
    children = {name: _child(name, task) for name in ("loupe", *PEERS) if name not in missing()}
    try:
        for child in children.values():
            _answer_of(child)  # The child is ready.
        return times_in_turns({name: _step_of(child) for name, child in children.items()}, repeats)
    finally:
        for child in children.values():
            child.stdin.close()  # This ends the child.
            child.wait()


def _child(name, task):
    paths = [os.path.dirname(TESTS), TESTS]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmark.peer_process", name, json.dumps(task), json.dumps(task.sizes)],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )


def _step_of(child):
    def step():
        child.stdin.write("step\n")
        child.stdin.flush()
        _answer_of(child)

    return step


def _answer_of(child):
    if not child.stdout.readline():  # The child has said why on its standard error.
        raise SystemExit(f"{' '.join(child.args[3:5])}: the process ended with {child.wait()}")
