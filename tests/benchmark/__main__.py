"""Measures how fast `loupe` is, against the plain graph of 2017 and against the matrix products it cannot avoid.

    python tests/benchmark
    python tests/benchmark --methods NetVLAD --sizes example paper --modes training --repeats 30 --json speed.json

For each method, size and mode, the steps below run in turns in one process. The table gives the median of their times
and half the interquartile range. A step reads variables, and nothing is fed to it or fetched from it.

- reference: `reference_graph`, each formula written out step by step.
- loupe: the layers of this checkout.
- matmuls: `matmul_baseline`, only the products that cannot be avoided.

An inference step computes the output. A training step computes the gradients of all parameters and the updates of the
moving averages, and in the mode training-input the gradient of the input too. The memory of a step is the peak of a
process of its own, less the weights, the input and their gradients.
"""

import os
import sys

# Puts this checkout before an installed loupe, and removes this directory, whose modules are imported as a package.
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:1] = [os.path.dirname(TESTS), TESTS]

from benchmark.report import main

if __name__ == "__main__":
    main(__doc__)
