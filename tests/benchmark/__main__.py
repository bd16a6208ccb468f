"""Measures how fast `loupe` is, against the plain graph of 2017 and against the matrix products it cannot avoid.

    python tests/benchmark.py
    python tests/benchmark.py --methods NetVLAD --sizes example paper --modes training --repeats 30 --json speed.json

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

import argparse
import collections
import concurrent.futures
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# XLA leaves the CPU alone without it, whatever the session's config says; with it alone, nothing changes.
os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit")
# The checkout is measured, and not a loupe that happens to be installed.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from benchmark import matmul_baseline
import numpy as np
from benchmark import reference_graph
import tensorflow.compat.v1 as tf
from tqdm import tqdm

import loupe

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

# Short steps are repeated until a time is that of at least so many seconds.
SHORTEST_TIME = 0.02


class Task(collections.namedtuple("Task", "method size mode")):
    @property
    def sizes(self):
        batch, samples, features, clusters, outputs = SIZES[self.size]
        return batch, samples, features, CLUSTERS.get((self.method, self.size), clusters), outputs

    def __str__(self):
        return " ".join(self)


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.memory and sys.platform == "win32":
        parser.error("the peak memory is not measured on Windows: expected --no-memory")
    if options.json:
        try:
            open(options.json, "a").close()
        except OSError as error:
            parser.error(f"--json: {error}")
    tasks = [Task(m, s, mode) for m in options.methods for s in options.sizes for mode in options.modes]
    measures = [name for name in MEASURES if getattr(options, name)]
    report = {"about": _about(arguments), "rows": []}
    try:
        with tqdm(total=len(tasks) * len(measures), disable=None) as progress:
            for name in measures:  # One after the other, since memory goes first, as long as this process is small.
                for task in tasks:
                    progress.set_description(f"{name}: {task}")
                    row = dict(task._asdict(), measure=name, **MEASURES[name](task, options))
                    report["rows"].append(row)
                    progress.update()
    finally:  # What has been measured is not lost if the rest fails or is interrupted.
        print(json.dumps(report["about"], indent=2))
        for name in measures:
            rows = [row for row in report["rows"] if row["measure"] == name]
            if rows:
                print(f"\n{name}\n\n{_table(rows)}")
        if options.json and report["rows"]:
            with open(options.json, "w") as file:
                json.dump(report, file, indent=1)
    return report


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--repeats", type=_positive, default=15, help="turns, each a time of every step (default 15)")
    parser.add_argument("--json", metavar="FILE", help="write all times and what was measured to FILE")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave the peak memory out")
    parser.add_argument("--no-time", dest="time", action="store_false", help="leave the table of times out")
    parser.add_argument("--building", action="store_true", help="also time how long the graph takes to build")
    parser.add_argument("--lengths", action="store_true", help="also time num_samples, all full and half on average")
    parser.add_argument("--bfloat16", action="store_true", help="also measure loupe after the rewrite to bfloat16")
    parser.add_argument("--xla", action="store_true", help="also measure loupe compiled by XLA")
    parser.add_argument("--profile", action="store_true", help="also list the ops that take the most time in loupe")
    return parser


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, came {text}")
    return value


def _about(arguments):
    return {
        "command": "python tests/benchmark.py " + " ".join(arguments),
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.platform()}, {_processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }


def _processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


# The steps.


def _reference(task, x):
    _, samples, _, clusters, outputs = task.sizes
    return reference_graph.forward(task.method, x, samples, clusters, outputs, is_training=task.mode != "inference")


def _loupe(task, x, num_samples=None):
    _, samples, features, clusters, outputs = task.sizes
    layer = getattr(loupe, task.method)(features, samples, clusters, outputs, is_training=task.mode != "inference")
    return layer.forward(x, num_samples)


GRAPHS = {"reference": _reference, "loupe": _loupe}


def _results(build, task):
    """The tensors that the task's step computes with `build`, by name, and the ops that it runs besides."""
    batch, samples, features, _, outputs = task.sizes
    x = _constant("samples", [batch * samples, features])
    y = build(task, x)
    if task.mode == "inference":
        return {"output": y}, []
    variables = tf.trainable_variables()
    names, sources = [v.op.name for v in variables], list(variables)
    if task.mode == "training-input":
        names, sources = names + ["samples"], sources + [x]
    gradients = tf.gradients(y, sources, _constant("d_output", [batch, outputs]))
    return dict(zip(names, gradients)), tf.get_collection(tf.GraphKeys.UPDATE_OPS)


def _constant(name, shape):
    """Data of the step: read from a variable, because feeding takes time and constants are folded."""
    variable = tf.get_variable(
        name, shape, initializer=tf.random_normal_initializer(), trainable=False, use_resource=True
    )
    return tf.convert_to_tensor(variable)


def _step(session, tensors, updates=()):
    """A function that runs a step and fetches nothing: a tensor would be copied out, and its op is not."""
    return session.make_callable([tensor.op for tensor in tensors] + list(updates))


def _new_session(graph, config=None):
    session = tf.Session(graph=graph, config=config)
    session.run([variable.initializer for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)])
    return session


def _layer_session(build, task, config=None):
    """A session with the layer's step, and the step's results."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        results, updates = _results(build, task)
        return _new_session(graph, config), results, updates


# What is measured. Each function takes the task and the options and returns the columns of its row.


def _time(task, options):
    steps, sessions = {}, []
    for name, build in GRAPHS.items():
        session, results, updates = _layer_session(build, task)
        sessions.append(session)
        steps[name] = _step(session, results.values(), updates)
    with tf.Graph().as_default() as graph:
        session = tf.Session(graph=graph)
        sessions.append(session)
        training, input_gradient = task.mode != "inference", task.mode == "training-input"
        products, orientations = matmul_baseline.step(task.method, task.sizes, training, input_gradient, session)
        steps["matmuls"] = _step(session, products)
    times = _times_in_turns(steps, options.repeats)
    for session in sessions:
        session.close()
    columns = {name + " ms": _summary(times[name]) for name in steps}
    columns["reference / loupe"] = _ratio(times["reference"], times["loupe"])
    columns["loupe / matmuls"] = _ratio(times["loupe"], times["matmuls"])
    return dict(columns, times=times, orientations=orientations)


def _times_in_turns(steps, repeats):
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
        first = turn % len(names)  # Each takes its turn after each other one.
        for name in names[first:] + names[:first]:
            step, number = steps[name], numbers[name]
            start = time.perf_counter()
            for _ in range(number):
                step()
            times[name].append((time.perf_counter() - start) / number)
    return times


def _summary(times):
    """The median with half the interquartile range, in ms."""
    low, median, high = np.percentile(times, [25, 50, 75]) * 1000
    return f"{median:.4g} ± {(high - low) / 2:.2g}"


def _ratio(numerator, denominator):
    return statistics.median(numerator) / statistics.median(denominator)


def _memory(task, options):
    columns = {name + " MB": _in_a_process(_memory_of_step, name, task) for name in GRAPHS}
    columns["loupe / reference"] = columns["loupe MB"] / columns["reference MB"] if columns["reference MB"] else None
    return columns


def _in_a_process(function, *arguments):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


def _memory_of_step(name, task):
    """How much more memory than weights, input and their gradients the step takes at most, in MB."""
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        results, updates = _results(GRAPHS[name], task)
        variables = tf.global_variables()
        # Unlike the initialisers, it never holds anything but the values.
        session.run([tf.assign(v, tf.fill(tf.shape(v), tf.random_uniform([]))).op for v in variables])
        before = _peak_memory()
        step = _step(session, results.values(), updates)
        for _ in range(3):
            step()
        kept = 0 if task.mode == "inference" else sum(4 * v.shape.num_elements() for v in results.values())
        return (_peak_memory() - before - kept) / 1e6


def _peak_memory():
    """The most that this process has ever held in memory, in bytes."""
    try:
        # On Linux, the child's getrusage begins at its parent's peak, but this does not.
        with open("/proc/self/status") as file:
            peaks = [line.split()[1] for line in file if line.startswith("VmHWM:")]
        return int(peaks[0]) * 1024
    except OSError:
        import resource  # macOS, in bytes there

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _building(task, options):
    times = {name: [] for name in GRAPHS}
    for turn in range(options.repeats + 1):
        for name, build in GRAPHS.items():
            with tf.Graph().as_default():
                start = time.perf_counter()
                _results(build, task)
                if turn > 0:
                    times[name].append(time.perf_counter() - start)
    columns = {name + " ms": _summary(times[name]) for name in GRAPHS}
    return dict(columns, **{"loupe / reference": _ratio(times["loupe"], times["reference"])}, times=times)


def _lengths(task, options):
    batch, samples = task.sizes[:2]
    lengths = {
        "full": np.full(batch, samples, np.int32),
        # From an empty list to a full one, so that half of the samples are real.
        "half": np.linspace(0, samples, batch).round().astype(np.int32),
    }

    def with_lengths(values):
        def build(task, x):
            variable = tf.get_variable(
                "num_samples", initializer=tf.constant(values), trainable=False, use_resource=True
            )
            return _loupe(task, x, tf.convert_to_tensor(variable))

        return build

    builds = {"plain": _loupe}
    builds.update((name, with_lengths(values)) for name, values in lengths.items())
    steps, sessions = {}, []
    for name, build in builds.items():
        session, results, updates = _layer_session(build, task)
        sessions.append(session)
        steps[name] = _step(session, results.values(), updates)
    times = _times_in_turns(steps, options.repeats)
    for session in sessions:
        session.close()
    columns = {name + " ms": _summary(times[name]) for name in steps}
    columns.update((name + " / plain", _ratio(times[name], times["plain"])) for name in lengths)
    return dict(columns, times=times)


def _rewritten(config, op_types):
    """A measure of loupe under the session config, which is to bring ops of these types into the graph that runs."""

    def measure(task, options):
        plain, results, updates = _layer_session(_loupe, task)
        rewritten = _new_session(plain.graph, config)  # Has the same values, by the graph's seed.
        expected, actual = plain.run(results), rewritten.run(results)
        largest = max(np.abs(expected[name] - actual[name]).max() / np.abs(expected[name]).max() for name in results)
        # XLA drops what it compiles and nobody reads, even the ops that a run asks for. So an entry is read outside.
        with plain.graph.as_default(), tf.xla.experimental.jit_scope(compile_ops=False):
            entries = [tf.reshape(tensor, [-1])[:1] for tensor in results.values()]
        count = _count_ops(rewritten, entries, op_types)
        steps = {
            "float32": _step(plain, entries, updates),
            "rewritten": _step(rewritten, entries, updates),
        }
        times = _times_in_turns(steps, options.repeats)
        plain.close()
        rewritten.close()
        columns = {name + " ms": _summary(times[name]) for name in steps}
        columns["float32 / rewritten"] = _ratio(times["float32"], times["rewritten"])
        columns["largest error"] = float(largest)
        columns["rewritten ops"] = count  # 0: the rewrite has not taken place, such as on a machine without support.
        return dict(columns, times=times)

    return measure


def _count_ops(session, tensors, op_types):
    """How many ops of these types TensorFlow runs for the tensors, after its rewrites."""
    metadata = tf.RunMetadata()
    options = tf.RunOptions(output_partition_graphs=True)
    session.run([tensor.op for tensor in tensors], options=options, run_metadata=metadata)
    return sum(node.op in op_types for graph in metadata.partition_graphs for node in graph.node)


def _bfloat16(task, options):
    config = tf.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    if not hasattr(rewrites, "auto_mixed_precision_onednn_bfloat16"):
        raise SystemExit(f"--bfloat16: expected a newer TensorFlow, with the rewrite for oneDNN, came {tf.__version__}")
    rewrites.auto_mixed_precision_onednn_bfloat16 = type(rewrites).ON
    return _rewritten(config, {"Cast"})(task, options)


def _xla(task, options):
    config = tf.ConfigProto()
    config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    return _rewritten(config, {"_XlaRun", "XlaLaunch"})(task, options)


def _profile(task, options):
    """The ops of loupe that take the most time: medians over the repeats, in ms."""
    session, results, updates = _layer_session(_loupe, task)
    fetches = [tensor.op for tensor in results.values()] + list(updates)
    times = collections.defaultdict(list)
    for turn in range(options.repeats + 2):
        metadata = tf.RunMetadata()
        session.run(fetches, options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=metadata)
        if turn < 2:
            continue
        for device in metadata.step_stats.dev_stats:
            for node in device.node_stats:
                times[node.timeline_label.split("(")[0]].append(
                    (node.op_end_rel_micros - node.op_start_rel_micros) / 1000
                )
    session.close()
    medians = sorted(((statistics.median(values), name) for name, values in times.items()), reverse=True)[:15]
    return {"op ms": "<br>".join(f"{median:.2f} {name.strip()}" for median, name in medians)}


# The measures, in the order in which they are taken.
MEASURES = {
    "memory": _memory,
    "time": _time,
    "building": _building,
    "lengths": _lengths,
    "bfloat16": _bfloat16,
    "xla": _xla,
    "profile": _profile,
}


def _table(rows):
    """The rows as a Markdown table; lists and dicts are for the JSON alone."""
    columns = [name for name in rows[0] if name != "measure" and not isinstance(rows[0][name], (list, dict))]
    cells = [columns] + [[_cell(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths)) + " |" for line in cells)


def _cell(value):
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
