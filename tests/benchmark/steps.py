"""The steps that are timed, and how they are timed in turns."""

import collections
import statistics
import time

import loupe
import numpy as np
import tensorflow.compat.v1 as tf
from benchmark import matmul_baseline, published, reference_graph

METHODS = ("NetVLAD", "NetRVLAD", "SoftDBoW", "NetFV")
MODES = ("inference", "training", "training-input")
# B, N, D, K and O.
SIZES = {
    "example": (32, 100, 1024, 64, 1024),
    "paper": (80, 300, 1024, 256, 1024),
    "points": (6, 4096, 1024, 64, 256),
    "soccer": (32, 120, 512, 64, 512),
    "small": (8, 20, 32, 8, 16),
}
CLUSTERS = {("NetFV", "paper"): 128, ("SoftDBoW", "paper"): 4096}

# Short steps are repeated for at least this many seconds.
SHORTEST_TIME = 0.02


class Task(collections.namedtuple("Task", "method size mode")):
    @property
    def sizes(self):
        batch, samples, features, clusters, outputs = SIZES[self.size]
        return batch, samples, features, CLUSTERS.get((self.method, self.size), clusters), outputs

    @property
    def is_model(self):
        """Whether it is the step of a published model, and not of a layer."""
        return self.size in published.SIZES

    def __str__(self):
        return " ".join(self)


def reference(task):
    """The step of the graph of 2017: the tensors that it computes, by name, and the ops that it runs besides."""
    return _model_step(published.reference, task) if task.is_model else layer_step(reference_layer, task)


def candidate(task):
    """The step of this checkout, in the form of `reference`."""
    return _model_step(published.example, task) if task.is_model else layer_step(layer, task)


GRAPHS = {"reference": reference, "loupe": candidate}


def reference_layer(task, x):
    _, samples, _, clusters, outputs = task.sizes
    return reference_graph.forward(task.method, x, samples, clusters, outputs, is_training=task.mode != "inference")


def layer(task, x, num_samples=None):
    _, samples, features, clusters, outputs = task.sizes
    layer = getattr(loupe, task.method)(features, samples, clusters, outputs, is_training=task.mode != "inference")
    return layer.forward(x, num_samples)


def layer_step(forward, task):
    """The step of one layer, whose output is forward(task, x), in the form of `reference`."""
    batch, samples, features, _, outputs = task.sizes
    x = constant("samples", [batch * samples, features])
    y = forward(task, x)
    if task.mode == "inference":
        return {"output": y}, []
    variables = tf.trainable_variables()
    names, sources = [v.op.name for v in variables], list(variables)
    if task.mode == "training-input":
        names, sources = names + ["samples"], sources + [x]
    gradients = tf.gradients(y, sources, constant("d_output", [batch, outputs]))
    return dict(zip(names, gradients)), tf.get_collection(tf.GraphKeys.UPDATE_OPS)


def products_of(task, session):
    """The step of the products that cannot be avoided, like `reference`, and the form that was chosen for each."""
    is_training = task.mode != "inference"
    if task.is_model:
        settings = published.settings_of(task.method, task.size)
        return matmul_baseline.model_step(task.method, settings, is_training, session)
    has_input_gradient = task.mode == "training-input"
    return matmul_baseline.layer_step(task.method, task.sizes, is_training, has_input_gradient, session)


def _model_step(build, task):
    """The step of a published model, in training (with clipping and Adam) or inference, in the form of `reference`."""
    sizes = published.SIZES[task.size]
    frames = constant("frames", [sizes.batch, sizes.frames, sum(sizes.features)])
    labels = constant("labels", [sizes.batch, sizes.classes]) > 2  # a few of a hundred are true, as in the data
    return build(task, frames, labels)


def constant(name, shape):
    """Data of the step: read from a variable, because feeding takes time and constants are folded."""
    variable = tf.get_variable(
        name, shape, initializer=tf.random_normal_initializer(), trainable=False, use_resource=True
    )
    return tf.convert_to_tensor(variable)


def step(session, tensors, updates=()):
    """A function that runs a step and fetches nothing: TensorFlow would copy a fetched tensor."""
    return session.make_callable([tensor.op for tensor in tensors] + list(updates))


def new_session(graph, config=None):
    session = tf.Session(graph=graph, config=config)
    session.run([variable.initializer for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)])
    return session


def session_of(build, task, config=None):
    """A session with the step that build(task) makes, its results, and the ops that it runs besides."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        results, updates = build(task)
        return new_session(graph, config), results, updates


def times_of(builds, task, repeats):
    """Lists of the seconds that the task's step takes with each of the builds, by name."""
    steps, sessions = {}, []
    for name, build in builds.items():
        session, results, updates = session_of(build, task)
        sessions.append(session)
        steps[name] = step(session, results.values(), updates)
    times = times_in_turns(steps, repeats)
    for session in sessions:
        session.close()
    return times


def times_in_turns(steps, repeats):
    """Lists of the seconds that each step takes, by name."""
    numbers = {}
    for name, step in steps.items():
        step()  # The first run plans and allocates.
        step()
        start = time.perf_counter()
        step()
        numbers[name] = max(1, round(SHORTEST_TIME / (time.perf_counter() - start)))
    times = {name: [] for name in steps}
    names = list(steps)
    for turn in range(repeats):
        first = turn % len(names)  # The steps take turns in going first.
        for name in names[first:] + names[:first]:
            step, number = steps[name], numbers[name]
            start = time.perf_counter()
            for _ in range(number):
                step()
            times[name].append((time.perf_counter() - start) / number)
    return times


def summary(times):
    """The median with half the interquartile range, in ms."""
    low, median, high = np.percentile(times, [25, 50, 75]) * 1000
    return f"{median:.4g} ± {(high - low) / 2:.2g}"


def ratio(numerator, denominator):
    return statistics.median(numerator) / statistics.median(denominator)
