"""What all programs of examples/ have in common: quick answers to --help and wrong flags, no noise, checked values."""

import argparse
import contextlib
import os
import pathlib
import re
import subprocess
import sys

import pytest
from loupe_examples import commandline, files, progress

ROOT = pathlib.Path(__file__).resolve().parents[2]
YOUTUBE8M = ROOT / "examples" / "youtube8m"
PROGRAMS = [str(ROOT / "examples" / name) for name in ("digits.py", "keras_digits.py", "places.py")]
PROGRAMS += [str(path) for path in sorted(YOUTUBE8M.glob("*.py"))]
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: pathlib.Path(path).stem)

# A program run to its end, and then what it has imported of what takes time.
SLOW = """
import runpy, sys
slow = {{"tensorflow", "tf_slim", "sklearn", "scipy", "matplotlib", "numpy", "skimage"}}
sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition({!r})[0]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("imported:", *sorted(slow & set(sys.modules)))
""".format(os.sep)


def run(*arguments, cwd=None):
    """Runs Python as a user does, without the environment of the tests."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
    )


@each_program
def test_help_imports_nothing_that_takes_time(program):
    process = run("-c", SLOW, program, "--help")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("usage: ") and process.stdout.splitlines()[-1] == "imported:"
    assert "None)" not in process.stdout and "False)" not in process.stdout


@each_program
def test_wrong_flags_import_nothing_that_takes_time(program):
    process = run("-c", SLOW, program, "--wrong")
    assert process.returncode == 2 and process.stdout.split() == ["imported:"]
    name = pathlib.Path(program).name
    assert process.stderr.startswith(f"{name}: error: ") and process.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["train", "evaluate", "predict"])
def test_flags_of_another_model_import_nothing_that_takes_time(program, tmp_path):
    program = str(YOUTUBE8M / f"{program}.py")
    process = run("-c", SLOW, program, "--preset", "gru", "--clusters", "4", cwd=str(tmp_path))
    assert process.returncode == 2 and process.stdout.split() == ["imported:"]
    assert "error: --clusters: expected a preset whose model has this, got gru" in process.stderr


def test_modules_import_those_before_them_only():
    """In the data's way, from the flags to what is written in the end."""
    order = ["presets", "flags", "settings", "records", "digits", "pooling", "recurrent", "model", "step"]
    order += ["checkpoints", "metrics", "monitor", "lock", "interrupts", "cluster", "training", "timing"]
    order += ["inference", "evaluation", "submission", "prediction", "ensemble"]
    modules = {path.stem: path.read_text(encoding="utf-8") for path in (YOUTUBE8M / "yt8m").glob("[a-z]*.py")}
    assert sorted(modules) == sorted(order)
    for module, text in modules.items():
        imported = re.findall(r"^from yt8m\.(\w+) import", text, re.M)
        for names in re.findall(r"^from yt8m import (.+)$", text, re.M):
            imported += names.split(", ")
        assert all(order.index(name) < order.index(module) for name in imported), (module, imported)


def test_programs_print_only_what_is_theirs(tmp_path):
    small = ["--steps", "2", "--clusters", "4", "--hidden-size", "4"]
    process = run(str(YOUTUBE8M / "train.py"), *small, cwd=str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"{os.path.join('checkpoints', 'gated-netvlad', 'model.ckpt-2')}: trained 2 steps\n"
    lines = process.stderr.replace("\r", "\n").splitlines()
    assert all(line.startswith("train: ") for line in lines if line), lines
    process = run(str(YOUTUBE8M / "evaluate.py"), "--clusters", "6", cwd=str(tmp_path))
    assert process.returncode == 2 and not process.stdout
    assert process.stderr.startswith("evaluate.py: error: ") and process.stderr.count("\n") == 1
    assert process.stderr.endswith(" more. It was trained with --clusters 4\n")


@pytest.mark.parametrize(
    "kind, good, bad, expected",
    [
        (commandline.positive, ["1", "7"], ["0", "-3", "2.5", "many"], "a positive integer"),
        (commandline.above_zero, ["0.1", "7"], ["0", "-1", "nan", "inf", "much"], "a number above 0"),
        (commandline.not_negative, ["0", "0.5"], ["-1", "nan", "inf", "x"], "a number of at least 0"),
        (commandline.factor, ["0", "0.5", "1"], ["-0.1", "1.1", "nan", "x"], "a number from 0 to 1"),
        (commandline.decay, ["0", "0.999"], ["1", "-0.1", "nan", "x"], "a number from 0 to below 1"),
        (
            commandline.seed,
            ["0", "2147483647"],
            ["-1", "2147483648", str(2**70), "1.5"],
            "an integer from 0 to 2147483647",
        ),
    ],
    ids=["positive", "above_zero", "not_negative", "factor", "decay", "seed"],
)
def test_types(kind, good, bad, expected):
    for text in good:
        assert kind(text) == float(text)
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError) as error:
            kind(text)
        assert str(error.value) == f"expected {expected}, got {text}"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
def test_progress_shows_in_a_terminal_of_no_width(monkeypatch):
    ours, theirs = os.openpty()  # whose width is 0 until someone sets it
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress.bar(total=2, desc="shown", disable=None) as bar:
            bar.update(2)
    shown = b""
    # What was written may come in pieces, and the end is an empty one or, on Linux, an error.
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:
        for piece in iter(lambda: terminal.read(1000), b""):
            shown += piece
    assert b"shown" in shown and b"2/2" in shown, shown


def test_writers_of_one_process_id_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with files.whole(str(path)) as first, files.whole(str(path)) as second:
        assert first != second
        for name in (first, second):
            pathlib.Path(name).write_text(name)
    assert path.read_text() == first and os.listdir(str(tmp_path)) == ["file"]


@pytest.mark.parametrize("given, expected", [(None, "1"), ("0", "0")], ids=["default", "given"])
def test_programs_keep_their_memory_unless_the_user_says_otherwise(monkeypatch, given, expected):
    seen = []
    name = "TF_CPU_ALLOCATOR_USE_BFC"
    monkeypatch.setenv(name, given or "")  # Even where it goes at once, so that it is as before in the end.
    if not given:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    with pytest.raises(SystemExit, match="0"):
        commandline.run(lambda: seen.append(os.environ[name]))
    assert seen == [expected]
