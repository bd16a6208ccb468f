"""Measures how fast `loupe` is, against the plain graph of 2017 and against the matrix products it cannot avoid.

    python tests/benchmark
    python tests/benchmark --methods NetVLAD --sizes example paper --modes training --repeats 30 --json speed.json

For each method, size and mode, the steps below run in turns in one process, and the table gives the median of the
times with half their interquartile range. Nothing is fed to a step or fetched from it: it reads variables, and its
results stay where they are.

- reference: `reference_graph`, each formula written out step by step.
- loupe: this checkout's.
- matmuls: `matmul_baseline`, only the products that cannot be avoided.

An inference step computes the output, a training step all gradients of the parameters and the updates of the moving
averages, and, as training-input, the gradient to the input, too. The memory of a step is the peak of a process of its
own, less its weights, its input and their gradients.
"""

import os
import sys

# The checkout is measured, and not a loupe that happens to be installed. In place of this directory, whose modules are
# those of a package.
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:1] = [os.path.dirname(TESTS), TESTS]

from benchmark.report import main

if __name__ == "__main__":
    main(__doc__)
