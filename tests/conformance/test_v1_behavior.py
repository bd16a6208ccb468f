"""The tests also pass after tf.compat.v1.disable_v2_behavior(), which most programs of TensorFlow 1 call."""

import os

import pytest
import tensorflow.compat.v1 as tf
from support.child import TESTS
from support.programs import run

PROGRAM = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
QUICK = ["test_contract.py", "test_v1_behavior.py::test_option"]
OTHERS = ["test_goldens.py", "test_calling_forms.py", "test_scopes.py", "test_lengths.py"]


def test_option(request):
    """The option turns v2 behavior off, which the next test relies on."""
    is_v2 = tf.__version__.startswith("2.") and not request.config.getoption("--v1-behavior")
    assert tf.resource_variables_enabled() == is_v2
    assert isinstance(tf.zeros([3]).shape[0], int) == is_v2


@pytest.mark.long
@pytest.mark.skipif(tf.__version__.startswith("1."), reason="TensorFlow 1 has no other behavior")
@pytest.mark.parametrize("files", [QUICK, OTHERS], ids=["quick", "others"])
def test_core_tests_with_v1_behavior(files):
    paths = [os.path.join(TESTS, "conformance", file) for file in files]
    run(PROGRAM, "--v1-behavior", "-q", "--tb=short", "-p", "no:cacheprovider", *paths)
