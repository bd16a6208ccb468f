"""The process of a peer. It builds a step, runs it once for each line of its input, and answers with a line.

    python -m benchmark.peer_process NAME TASK SIZES

TASK is the method, size and mode, and SIZES are B, N, D, K and O, both lists in JSON. A process imports only what its
peer needs: the compiled PyTorch crashes if TensorFlow is imported. All use the default number of threads, one for each
core.
"""

import json
import sys


def step_of(name, task, sizes):
    """A function that takes the peer's step."""
    method, _, mode = task
    if name == "loupe":
        from benchmark import steps

        session, results, updates = steps.session_of(steps.candidate, steps.Task(*task))
        return steps.step(session, results.values(), updates)
    if name == "Keras":
        from benchmark import keras_layer

        return keras_layer.step(method, sizes, mode)
    from benchmark import torch_layer

    return torch_layer.step(method, sizes, mode, is_compiled=name == "PyTorch compiled")


def main(name, task, sizes):
    step = step_of(name, json.loads(task), json.loads(sizes))
    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        step()
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
