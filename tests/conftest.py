"""Gives every test an empty, seeded graph of its own, and a session in it on demand."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import loupe
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.pooling_graph import random_lists

# The markers of tests that run only if -m selects them.
LONG = ["long", "faults"]


def pytest_addoption(parser):
    parser.addoption(
        "--v1-behavior", action="store_true", help="run the tests after tf.compat.v1.disable_v2_behavior()"
    )


def pytest_configure(config):
    for name in LONG:
        line = f"{name}: takes minutes, and runs only if -m selects it, as -m {name} does"
        config.addinivalue_line("markers", line)
    if config.getoption("--v1-behavior"):
        tf.disable_v2_behavior()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """With ``-n auto``: a worker for each core, but at most four, because each has a TensorFlow in memory."""
    return min(os.cpu_count() or 1, 4)


def pytest_collection_modifyitems(config, items):
    if config.getoption("-m"):
        return
    is_long = [any(item.get_closest_marker(name) is not None for name in LONG) for item in items]
    config.hook.pytest_deselected(items=[item for item, long in zip(items, is_long) if long])
    items[:] = [item for item, long in zip(items, is_long) if not long]


@pytest.fixture(autouse=True)
def graph():
    """An empty default graph with a fixed seed."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        yield graph


@pytest.fixture
def session(graph):
    with tf.Session(graph=graph) as session:
        yield session


@pytest.fixture
def fast_at_every_size(monkeypatch):
    """Gives the small layers of the tests the forms that otherwise only large layers have."""
    monkeypatch.setattr(loupe, "_LARGE_PROJECTION", 1)


@pytest.fixture
def rng():
    return np.random.RandomState(1)


@pytest.fixture
def lists(rng):
    return random_lists(rng)


def pytest_terminal_summary(terminalreporter):
    """Prints the largest errors against the goldens, which the tests record as properties."""
    worst = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name.startswith("error of "):
                    worst[name] = max(value, worst.get(name, 0.0))
    if worst:
        errors = ", ".join("{} {:.1e}".format(name[len("error of ") :], value) for name, value in worst.items())
        terminalreporter.write_line(f"worst errors against the goldens, TensorFlow {tf.__version__}: {errors}")
