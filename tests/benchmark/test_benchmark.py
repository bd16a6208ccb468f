"""The benchmark runs, and reports what it measured. No test checks a speed."""

import json
import re
import subprocess

from benchmark import matmul_baseline, measures, report, steps
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from support.configurations import METHODS_OF_2017, each_method_of_2017
from support.plain_forms import PLAIN_FORMS


def _report(tmp_path, *arguments):
    file = tmp_path / "speed.json"
    report.main("", ["--sizes", "small", "--repeats", "2", "--json", str(file)] + list(arguments))
    return json.loads(file.read_text())


def _table_after(heading, output):
    """The cells of the Markdown table after the heading, line by line, without the line under the header."""
    lines = output.split("\n" + heading + "\n\n")[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| -")]


def _instead_of_processes(monkeypatch, row_of):
    """Replaces processes, which take seconds: row_of(command, environment) is the one row of the report."""

    def run(command, env, check, **options):
        assert check  # Otherwise a process that fails would go unnoticed.
        row = row_of(command, env)
        with open(_value_of("--json", command), "w") as file:
            json.dump({"rows": [row]}, file)

    monkeypatch.setattr("subprocess.run", run)


def _value_of(flag, command):
    return command[command.index(flag) + 1]


@pytest.mark.long
def test_times_and_memory(tmp_path, capsys):
    written = _report(tmp_path, "--methods", "SoftDBoW", "--modes", "training")
    assert {"command", "date", "machine", "python", "tensorflow", "numpy"} <= set(written["about"])
    memory, times = written["rows"]
    assert (memory["measure"], times["measure"]) == ("memory", "time")
    assert memory["reference MB"] > 0 and memory["loupe MB"] > 0
    assert {name: len(values) for name, values in times["times"].items()} == {"reference": 2, "loupe": 2, "matmuls": 2}
    for ratio, (numerator, denominator) in {
        "reference / loupe": ("reference", "loupe"),
        "loupe / matmuls": ("loupe", "matmuls"),
    }.items():
        assert times[ratio] == np.median(times["times"][numerator]) / np.median(times["times"][denominator])
    header, row = _table_after("time", capsys.readouterr().out)
    assert row[:3] == ["SoftDBoW", "small", "training"]
    median = float(re.match(r"(\S+) ±", row[header.index("loupe ms")]).group(1))
    assert median == pytest.approx(1000 * np.median(times["times"]["loupe"]), rel=1e-3)
    assert float(row[header.index("loupe / matmuls")]) == pytest.approx(times["loupe / matmuls"], rel=1e-2)


@pytest.mark.long
def test_other_measures(tmp_path, capsys):
    names = ["building", "lengths", "xla", "ablation", "profile"]
    flags = ["--" + name for name in names]
    written = _report(tmp_path, "--methods", "NetVLAD", "--modes", "training", "--no-memory", "--no-time", *flags)
    assert [row["measure"] for row in written["rows"]] == names
    building, lengths, xla, ablation, profile = written["rows"]
    assert building["loupe / reference"] > 0
    assert set(lengths["times"]) == {"plain", "full", "half"}
    assert xla["rewritten ops"] > 0
    assert xla["largest error"] < 1e-5
    assert ablation["times"].keys() == {"loupe", "all plain"} | PLAIN_FORMS.keys()
    assert ablation["all plain / loupe"] > 0
    assert "MatMul" in profile["op ms"]
    output = capsys.readouterr().out
    for name in names:
        assert _table_after(name, output)[1][:3] == ["NetVLAD", "small", "training"]


@pytest.mark.long
@pytest.mark.parametrize("graph", sorted(steps.GRAPHS))
def test_memory_of_a_model(graph):
    """A model has a variable that is not float32, the count of steps."""
    task = steps.Task("SoftDBoW", "small-model", "training")
    assert np.isfinite(measures._memory_of_step(graph, task))  # 0 if the process needed more before


def test_settings_have_processes_of_their_own(tmp_path, monkeypatch):
    started = []

    def row_of(command, environment):
        started.append([name for name in command if name.startswith("--no-")])
        measure = "profile" if "--profile" in command else "time"
        return {"measure": measure, "loupe ms": environment.get("TF_CPU_ALLOCATOR_USE_BFC", "default")}

    _instead_of_processes(monkeypatch, row_of)
    monkeypatch.delenv("TF_CPU_ALLOCATOR_USE_BFC", raising=False)
    settings = ["--settings", "none", "TF_CPU_ALLOCATOR_USE_BFC=1"]
    written = _report(tmp_path, "--methods", "NetFV", "--modes", "training", *settings, "--profile", "--no-memory")
    assert [(row["setting"], row["loupe ms"]) for row in written["rows"]] == [
        ("none", "default"),
        ("TF_CPU_ALLOCATOR_USE_BFC=1", "1"),
    ] * 2
    assert started == [["--no-memory"]] * 2 + [["--no-memory", "--no-time"]] * 2


def test_models_have_processes_of_their_own(tmp_path, monkeypatch):
    """If there is only one model to measure, as in such a process, no other process is started."""

    def row_of(command, environment):
        return {"measure": "time", "method": _value_of("--methods", command)}

    _instead_of_processes(monkeypatch, row_of)
    monkeypatch.setitem(measures.MEASURES, "time", lambda task, options: {"here": True})
    flags = ["--modes", "training", "--no-memory"]
    for size, methods, is_here in [
        ("small-model", ["NetVLAD", "NetFV"], [None, None]),
        ("small-model", ["NetVLAD"], [True]),
        ("small", ["NetVLAD", "NetFV"], [True, True]),
    ]:
        written = _report(tmp_path, "--methods", *methods, "--sizes", size, *flags)
        assert [row["method"] for row in written["rows"]] == methods
        assert [row.get("here") for row in written["rows"]] == is_here
        assert not any("setting" in row for row in written["rows"])


def test_a_process_that_fails_ends_the_benchmark_with_the_report_so_far(tmp_path, monkeypatch):
    def row_of(command, environment):
        if _value_of("--sizes", command) == "small-model":  # As if the system had no memory left.
            raise subprocess.CalledProcessError(-9, command)
        return {"measure": "time", "loupe ms": "1"}

    _instead_of_processes(monkeypatch, row_of)
    flags = ["--methods", "NetFV", "--modes", "training", "--no-memory", "--settings", "none"]
    with pytest.raises(SystemExit, match="time of NetFV small-model training: the process ended with -9"):
        _report(tmp_path, "--sizes", "small", "small-model", *flags)
    assert [row["size"] for row in json.loads((tmp_path / "speed.json").read_text())["rows"]] == ["small"]


@pytest.mark.long
def test_training_in_tensorflow_2(tmp_path, request):
    arguments = ["--methods", "NetVLAD", "--modes", "training", "--no-memory", "--no-time", "--functions"]
    if tf.__version__.startswith("1."):
        with pytest.raises(SystemExit, match="functions: expected TensorFlow 2"):
            _report(tmp_path, *arguments)
        return
    if request.config.getoption("--v1-behavior"):
        pytest.skip("Keras 3 does not run under v1 behavior")
    (row,) = _report(tmp_path, *arguments)["rows"]
    assert set(row["times"]) == {"session", "session, two passes", "tape", "fit"}
    assert row["tape / session"] > 0 and row["fit / session"] > 0


def test_an_interrupted_benchmark_reports_what_it_measured(tmp_path, capsys, monkeypatch):
    def interrupted(task, options):
        raise KeyboardInterrupt

    monkeypatch.setitem(measures.MEASURES, "profile", interrupted)
    arguments = ["--methods", "NetVLAD", "--modes", "inference", "--no-memory", "--no-time", "--profile"]
    with pytest.raises(KeyboardInterrupt):
        _report(tmp_path, "--building", *arguments)
    assert _table_after("building", capsys.readouterr().out)[1][:3] == ["NetVLAD", "small", "inference"]
    with pytest.raises(KeyboardInterrupt):  # Before anything is measured: the old report is kept.
        _report(tmp_path, *arguments)
    assert [row["measure"] for row in json.loads((tmp_path / "speed.json").read_text())["rows"]] == ["building"]


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(measures.MEASURES, "time", None)
    with pytest.raises(SystemExit):
        report.main("", ["--no-memory", "--json", str(tmp_path / "none" / "speed.json")])
    assert "--json" in capsys.readouterr().err


def test_bfloat16(tmp_path):
    rewrites = tf.ConfigProto().graph_options.rewrite_options
    arguments = ["--methods", "NetVLAD", "--modes", "training", "--no-memory", "--no-time", "--bfloat16"]
    if not hasattr(rewrites, "auto_mixed_precision_onednn_bfloat16"):
        with pytest.raises(SystemExit, match="bfloat16: expected a newer TensorFlow"):
            _report(tmp_path, *arguments)
        return
    (row,) = _report(tmp_path, *arguments)["rows"]
    # On a machine without bfloat16, TensorFlow does not change the graph.
    assert (row["largest error"] > 1e-4) == (row["rewritten ops"] > 0)
    assert row["largest error"] < 0.1


def test_products_that_cannot_be_avoided():
    def counts(training, input_gradient):
        return [len(matmul_baseline._layer_products(method, training, input_gradient)) for method in METHODS_OF_2017]

    assert METHODS_OF_2017 == ("NetVLAD", "NetRVLAD", "SoftDBoW", "NetFV")
    assert counts(False, False) == [4, 4, 3, 5]
    # Each product has two gradients. Without input_gradient, those of x in assignment and aggregations are left out.
    assert counts(True, False) == [12 - 2, 12 - 2, 9 - 1, 15 - 3]
    assert counts(True, True) == [12, 12, 9, 15]


@each_method_of_2017
def test_every_candidate_is_the_product(method, session):
    operands = matmul_baseline._layer_operands(method, 2, 3, 4, 5, 6, session)
    for product in matmul_baseline._layer_products(method, training=True, input_gradient=True):
        left, right = operands[product.left], operands[product.right]
        candidates = matmul_baseline._candidates(product, left, right)
        assert len(candidates) >= 2
        left, right, came = session.run([left, right, {name: build() for name, build in candidates.items()}])
        left = np.swapaxes(left, -1, -2) if product.transpose_left else left
        right = np.swapaxes(right, -1, -2) if product.transpose_right else right
        for name, value in came.items():
            expected = np.matmul(left, right)
            if name.startswith("transposed") and not product.has_layout:
                expected = np.swapaxes(expected, -1, -2)
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6, err_msg=product.name + ": " + name)


PRODUCTS = {"MatMul", "_FusedMatMul", "_MklMatMul", "_MklFusedMatMul", "_MklNativeFusedMatMul"}
PRODUCTS |= {"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "_MklBatchMatMulV2"}


def test_no_product_is_folded_or_pruned():
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        products, _, _ = matmul_baseline.layer_step("NetFV", (2, 3, 4, 5, 6), True, True, session)
        assert measures._count_ops(session, products.values(), PRODUCTS) == len(products) == 15


@each_method_of_2017
@pytest.mark.parametrize("name", list(steps.GRAPHS))
def test_every_layer_needs_them(name, method):
    session, results, _ = steps.session_of(steps.GRAPHS[name], steps.Task(method, "small", "training-input"))
    with session:
        needed = matmul_baseline._layer_products(method, training=True, input_gradient=True)
        assert measures._count_ops(session, results.values(), PRODUCTS) >= len(needed)


@pytest.mark.long
@each_method_of_2017
def test_a_model_needs_more_products_than_the_bound_has(method):
    """The bound has the products of two poolings, the projection, the gates and the experts, each with two gradients,
    except the gradients of the frames."""
    task = steps.Task(method, "small-model", "training")
    counts = {}
    for name, build in dict(steps.GRAPHS, matmuls=None).items():
        with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
            results, updates = build(task) if build else steps.products_of(task, session)[:2]
            session.run(tf.global_variables_initializer())
            fetches = list(results.values()) + list(updates)
            counts[name] = measures._count_ops(session, fetches, PRODUCTS)
    pooling = {"SoftDBoW": 1, "NetFV": 3}.get(method, 2)
    dense = 3 if method == "SoftDBoW" else 5
    assert counts["matmuls"] == 3 * (2 * pooling + dense) - 2 * pooling
    assert counts["loupe"] >= counts["matmuls"] and counts["reference"] >= counts["matmuls"]


@pytest.mark.long
@each_method_of_2017
def test_models_have_the_same_variables_and_losses(method):
    """Over three steps of the published training, clipping and Adam included."""
    losses, shapes = {}, {}
    for name, build in steps.GRAPHS.items():
        session, results, updates = steps.session_of(build, steps.Task(method, "small-model", "training"))
        with session, session.graph.as_default():
            shapes[name] = {v.op.name: v.shape.as_list() for v in tf.global_variables()}
            rng = np.random.RandomState(0)
            for variable in sorted(tf.global_variables(), key=lambda v: v.op.name):
                if not re.search("Adam|power|step|moving", variable.op.name):
                    variable.load(rng.standard_normal(variable.shape.as_list()), session)
            losses[name] = [session.run([results["loss"], updates])[0] for _ in range(3)]
    assert shapes["loupe"] == shapes["reference"]
    np.testing.assert_allclose(losses["loupe"], losses["reference"], rtol=1e-5)
    assert len(set(losses["loupe"])) == 3


@each_method_of_2017
def test_the_graph_is_not_larger_than_the_reference(method):
    """The time to build a graph grows with the number of its ops."""
    sizes = {}
    for name, build in steps.GRAPHS.items():
        with tf.Graph().as_default() as graph:
            build(steps.Task(method, "small", "training"))
            sizes[name] = len(graph.get_operations())
    assert sizes["loupe"] <= 1.25 * sizes["reference"], sizes
