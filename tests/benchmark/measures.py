"""The measures. Each function takes the task and the options, and returns the columns of its row."""

import collections
import concurrent.futures
import functools
import multiprocessing
import statistics
import time

import numpy as np
import tensorflow.compat.v1 as tf
from benchmark import peers, tf2_steps
from benchmark.steps import (
    GRAPHS,
    candidate,
    layer,
    layer_step,
    new_session,
    products_of,
    ratio,
    session_of,
    step,
    summary,
    times_in_turns,
    times_of,
)
from support.plain_forms import PLAIN_FORMS, in_place_of
from tensorflow.python.eager import context

RATE = 0.01  # The learning rate of `_functions`.


def _time(task, options):
    steps, sessions = {}, []
    for name, build in GRAPHS.items():
        session, results, updates = session_of(build, task)
        sessions.append(session)
        steps[name] = step(session, results.values(), updates)
    with tf.Graph().as_default() as graph:
        session = tf.Session(graph=graph)
        sessions.append(session)
        products, updates, orientations = products_of(task, session)
        steps["matmuls"] = step(session, products.values(), updates)
    times = times_in_turns(steps, options.repeats)
    for session in sessions:
        session.close()
    columns = {name + " ms": summary(times[name]) for name in steps}
    columns["reference / loupe"] = ratio(times["reference"], times["loupe"])
    columns["loupe / matmuls"] = ratio(times["loupe"], times["matmuls"])
    return dict(columns, times=times, orientations=orientations)


def _memory(task, options):
    columns = {name + " MB": _in_a_process(_memory_of_step, name, task) for name in GRAPHS}
    columns["loupe / reference"] = columns["loupe MB"] / columns["reference MB"] if columns["reference MB"] else None
    return columns


def _in_a_process(function, *arguments):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


def _memory_of_step(name, task):
    """The peak memory of the step in MB, less the weights, the input and, for a layer, their gradients.

    A model's variables include Adam's slots. Its gradients are temporary, so that they count.
    """
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        results, updates = GRAPHS[name](task)
        variables = tf.global_variables()
        # Initialisers would need memory for more than the values.
        numbers = [tf.cast(tf.random_uniform([]), v.dtype.base_dtype) for v in variables]
        session.run([tf.assign(v, tf.fill(tf.shape(v), number)).op for v, number in zip(variables, numbers)])
        before = _peak_memory()
        run = step(session, results.values(), updates)
        for _ in range(3):
            run()
        kept = 0 if task.mode == "inference" else sum(4 * v.shape.num_elements() for v in results.values())
        return (_peak_memory() - before - kept) / 1e6


def _peak_memory():
    """The peak memory of this process so far, in bytes."""
    try:
        # getrusage would not do: on Linux, it starts at the peak of the parent process.
        with open("/proc/self/status") as file:
            peaks = [line.split()[1] for line in file if line.startswith("VmHWM:")]
        return int(peaks[0]) * 1024
    except OSError:
        import resource  # On macOS, where the unit is bytes. Windows has no such module.

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _building(task, options):
    times = {name: [] for name in GRAPHS}
    for turn in range(options.repeats + 1):
        for name, build in GRAPHS.items():
            with tf.Graph().as_default():
                start = time.perf_counter()
                build(task)
                if turn > 0:
                    times[name].append(time.perf_counter() - start)
    columns = {name + " ms": summary(times[name]) for name in GRAPHS}
    return dict(columns, **{"loupe / reference": ratio(times["loupe"], times["reference"])}, times=times)


def _lengths(task, options):
    batch, samples = task.sizes[:2]
    lengths = {
        "full": np.full(batch, samples, np.int32),
        # From empty to full lists, so that half of the samples are real.
        "half": np.linspace(0, samples, batch).round().astype(np.int32),
    }

    def with_lengths(values):
        def forward(task, x):
            variable = tf.get_variable(
                "num_samples", initializer=tf.constant(values), trainable=False, use_resource=True
            )
            return layer(task, x, tf.convert_to_tensor(variable))

        return functools.partial(layer_step, forward)

    builds = {"plain": candidate}
    builds.update((name, with_lengths(values)) for name, values in lengths.items())
    times = times_of(builds, task, options.repeats)
    columns = {name + " ms": summary(times[name]) for name in builds}
    columns.update((name + " / plain", ratio(times[name], times["plain"])) for name in lengths)
    return dict(columns, times=times)


def _rewritten(config, op_types):
    """A measure of loupe under a session config that makes TensorFlow use ops of these types."""

    def measure(task, options):
        plain, results, updates = session_of(candidate, task)
        rewritten = new_session(plain.graph, config)  # With the same values, because of the graph's seed.
        expected, actual = plain.run(results), rewritten.run(results)
        largest = max(np.abs(expected[name] - actual[name]).max() / np.abs(expected[name]).max() for name in results)
        # XLA drops results that no op outside XLA reads, even if a session runs them. So one reads an entry of each.
        with plain.graph.as_default(), tf.xla.experimental.jit_scope(compile_ops=False):
            entries = [tf.reshape(tensor, [-1])[:1] for tensor in results.values()]
        count = _count_ops(rewritten, entries, op_types)
        steps = {
            "float32": step(plain, entries, updates),
            "rewritten": step(rewritten, entries, updates),
        }
        times = times_in_turns(steps, options.repeats)
        plain.close()
        rewritten.close()
        columns = {name + " ms": summary(times[name]) for name in steps}
        columns["float32 / rewritten"] = ratio(times["float32"], times["rewritten"])
        columns["largest error"] = float(largest)
        columns["rewritten ops"] = count  # 0 if TensorFlow did not rewrite, as on a machine without support.
        return dict(columns, times=times)

    return measure


def _count_ops(session, tensors, op_types):
    """How many ops of these types the rewritten graph has for the tensors."""
    metadata = tf.RunMetadata()
    options = tf.RunOptions(output_partition_graphs=True)
    session.run([getattr(tensor, "op", tensor) for tensor in tensors], options=options, run_metadata=metadata)
    return sum(node.op in op_types for graph in metadata.partition_graphs for node in graph.node)


def _bfloat16(task, options):
    config = tf.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    if not hasattr(rewrites, "auto_mixed_precision_onednn_bfloat16"):
        raise SystemExit(f"--bfloat16: expected a newer TensorFlow, with the rewrite for oneDNN, got {tf.__version__}")
    rewrites.auto_mixed_precision_onednn_bfloat16 = type(rewrites).ON
    return _rewritten(config, {"Cast"})(task, options)


def _xla(task, options):
    config = tf.ConfigProto()
    config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    return _rewritten(config, {"_XlaRun", "XlaLaunch"})(task, options)


def _profile(task, options):
    """The 15 ops of loupe that take the most time, with medians over the repeats in ms."""
    session, results, updates = session_of(candidate, task)
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


def _ablation(task, options):
    """Loupe with each fast form in turn replaced with its plain form, and with all of them replaced."""

    def swapped(*names):
        def build(task):
            with in_place_of(*names):
                return candidate(task)

        return build

    swaps = {name: swapped(name) for name in PLAIN_FORMS}
    swaps["all plain"] = swapped(*PLAIN_FORMS)
    times = times_of(dict(swaps, loupe=candidate), task, options.repeats)
    columns = {"loupe ms": summary(times["loupe"])}
    columns.update((name + " / loupe", ratio(times[name], times["loupe"])) for name in swaps)
    return dict(columns, times=times)


def _functions(task, options):
    """A step of gradient descent in a session, by a tape in a tf.function, and by Keras's fit, the last two with
    examples/tf2.py. Keras's optimiser multiplies the gradients by the rate in a second pass, so a session is timed with
    two passes too."""
    if tf.__version__.startswith("1."):
        raise SystemExit(f"--functions: expected TensorFlow 2, got {tf.__version__}")
    batch, samples, features, clusters, outputs = task.sizes
    random = np.random.RandomState(1)
    x = random.standard_normal([batch, samples, features]).astype(np.float32)
    target = random.standard_normal([batch, outputs]).astype(np.float32)
    builds = {"session": _descent, "session, two passes": _descent_in_two_passes}
    sessions = {name: _session_of_descent(task, x, target, descent) for name, descent in builds.items()}
    steps = {name: step for name, (_, step) in sessions.items()}
    with context.eager_mode():
        steps.update(tf2_steps.steps(task.method, (features, samples, clusters, outputs), x, target, RATE))
        times = times_in_turns(steps, options.repeats)
    times["fit"] = [seconds / tf2_steps.STEPS for seconds in times["fit"]]
    for session, _ in sessions.values():
        session.close()
    columns = {name + " ms": summary(times[name]) for name in steps}
    for name in ("tape", "fit"):
        columns[name + " / session"] = ratio(times[name], times["session"])
    columns["fit / session, two passes"] = ratio(times["fit"], times["session, two passes"])
    return dict(columns, times=times)


def _peers(task, options):
    """Loupe, and the same layer in PyTorch and in Keras."""
    times = peers.times(task, options.repeats)
    columns = {name + " ms": summary(times[name]) for name in times}
    columns.update((name + " / loupe", ratio(times[name], times["loupe"])) for name in times if name != "loupe")
    return dict(columns, times=times)


def _session_of_descent(task, x, target, descent):
    with tf.Graph().as_default() as graph:
        x, target = (
            tf.convert_to_tensor(tf.get_variable(name, initializer=value, trainable=False, use_resource=True))
            for name, value in (("samples", x), ("target", target))
        )
        with tf.variable_scope("pooling", use_resource=True):
            loss = tf.reduce_mean(tf.square(layer(task, x) - target))
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train = descent(loss)
        session = new_session(graph)
        return session, session.make_callable([train])


def _descent(loss):
    return tf.train.GradientDescentOptimizer(RATE).minimize(loss)


def _descent_in_two_passes(loss):
    variables = tf.trainable_variables()
    gradients = tf.gradients(loss, variables)
    return tf.group(*[v.assign_sub(RATE * g, read_value=False) for g, v in zip(gradients, variables)])


# All measures, in the order of the report.
MEASURES = {
    "memory": _memory,
    "time": _time,
    "building": _building,
    "lengths": _lengths,
    "bfloat16": _bfloat16,
    "xla": _xla,
    "ablation": _ablation,
    "functions": _functions,
    "peers": _peers,
    "profile": _profile,
}
