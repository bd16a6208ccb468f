"""The command line and the report of the benchmark."""

import argparse
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow.compat.v1 as tf
from benchmark import peers, published
from benchmark.measures import MEASURES
from benchmark.steps import METHODS, MODES, SIZES, Task
from tqdm import tqdm


def main(description, arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser(description)
    options = parser.parse_args(arguments)
    if options.memory and sys.platform == "win32":
        parser.error("the peak memory is not measured on Windows: expected --no-memory")
    if options.json:
        try:
            open(options.json, "a").close()
        except OSError as error:
            parser.error(f"--json: {error}")
    tasks = [Task(m, s, mode) for m in options.methods for s in options.sizes for mode in options.modes]
    # The frames of a model are data: nothing needs their gradients.
    tasks = [task for task in tasks if not (task.is_model and task.mode == "training-input")]
    for name in ("lengths", "peers"):
        if getattr(options, name) and any(task.is_model for task in tasks):
            parser.error(f"--{name}: expected sizes of layers, {', '.join(SIZES)}, got {' '.join(options.sizes)}")
    if options.peers:
        for name, reason in peers.missing().items():
            print(f"--peers: without {name}, because {reason}")
    measures = [name for name in MEASURES if getattr(options, name)]
    report = {"about": _about(arguments), "rows": []}
    try:
        # Each measure is taken for all rows before the next one. Memory comes first, while this process is small.
        steps = list(itertools.product(measures, tasks, options.settings or [None]))
        for name, task, setting in tqdm(steps, disable=None):
            # Closed sessions keep memory, and those of models keep much. So several models get a process each.
            if setting is None and (len(steps) == 1 or not task.is_model):
                row = dict(task._asdict(), measure=name, **MEASURES[name](task, options))
            else:
                row = _in_its_own_process(setting, name, task, options)
            report["rows"].append(row)
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


def _in_its_own_process(setting, measure, task, options):
    """The row, measured in a process of its own, with the setting, if any, in its environment."""
    changes = [] if setting in (None, "none") else [setting.split("=", 1)]
    environment = dict(os.environ, **dict(changes))
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "row.json")
        command = [sys.executable, os.path.dirname(os.path.abspath(__file__)), "--repeats", str(options.repeats)]
        command += ["--methods", task.method, "--sizes", task.size, "--modes", task.mode, "--json", file]
        command += [f"--no-{name}" for name in ("memory", "time") if name != measure]
        command += [] if measure in ("memory", "time") else [f"--{measure}"]
        try:
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        except subprocess.CalledProcessError as error:  # The process has printed why.
            raise SystemExit(f"{measure} of {task}: the process ended with {error.returncode}") from error
        with open(file) as written:
            (row,) = json.load(written)["rows"]
    return row if setting is None else dict(task._asdict(), setting=setting, **row)


def _setting(text):
    if text != "none" and not re.match(r"\w+=", text):
        raise argparse.ArgumentTypeError(f"expected none or NAME=VALUE, got {text}")
    return text


def _parser(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--sizes",
        nargs="+",
        choices=[*SIZES, *published.SIZES],
        default=list(SIZES),
        help="sizes of layers or of models (default: all layers); published takes 14 GB of memory",
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--repeats", type=_positive, default=15, help="how often each step is timed (default 15)")
    parser.add_argument(
        "--settings",
        nargs="+",
        type=_setting,
        metavar="NAME=VALUE",
        help="measure each row in a process with each of these environment variables; none means no variable",
    )
    parser.add_argument("--json", metavar="FILE", help="write all times and what was measured to FILE")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave the peak memory out")
    parser.add_argument("--no-time", dest="time", action="store_false", help="leave the table of times out")
    parser.add_argument("--building", action="store_true", help="also time how long the graph takes to build")
    parser.add_argument("--lengths", action="store_true", help="also time num_samples, for full and half-full lists")
    parser.add_argument("--bfloat16", action="store_true", help="also measure loupe after the rewrite to bfloat16")
    parser.add_argument("--xla", action="store_true", help="also measure loupe compiled by XLA")
    parser.add_argument("--ablation", action="store_true", help="also time the plain form in place of each fast form")
    parser.add_argument(
        "--functions", action="store_true", help="also time a training step in TensorFlow 2: a tape, and Keras's fit"
    )
    parser.add_argument(
        "--peers", action="store_true", help="also time the same layer in PyTorch, where it is installed, and in Keras"
    )
    parser.add_argument("--profile", action="store_true", help="also list the ops that take the most time in loupe")
    return parser


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text}")
    return value


def _about(arguments):
    return {
        "command": "python tests/benchmark " + " ".join(arguments),
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
