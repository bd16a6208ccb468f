"""Runs a program in a new Python, which finds `loupe` and the modules of the tests. `programs` is faster."""

import os
import subprocess
import sys

import loupe

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(program, *arguments):
    """Runs the text `program` with the arguments. Returns its output, or fails with it."""
    paths = [os.path.dirname(os.path.abspath(loupe.__file__)), TESTS]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    child = subprocess.run(
        [sys.executable, "-c", program] + [str(argument) for argument in arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stdout
    return child.stdout
