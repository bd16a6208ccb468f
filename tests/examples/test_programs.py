"""What all programs of examples/ have in common: help, errors of one line, no noise, checked values, output files."""

import argparse
import ast
import contextlib
import logging
import os
import pathlib
import re
import runpy
import subprocess
import sys
import threading

import pytest
import tensorflow as tf
from loupe_examples import commandline, errors, files, progress

ROOT = pathlib.Path(__file__).resolve().parents[2]
YOUTUBE8M = ROOT / "examples" / "youtube8m"
PROGRAMS = [ROOT / "examples" / name for name in ("digits.py", "keras_digits.py", "places.py")]
PROGRAMS += sorted(YOUTUBE8M.glob("*.py"))


@pytest.fixture(params=PROGRAMS, ids=lambda path: path.stem)
def stopped(request, monkeypatch, capsys):
    """A function that runs a program in this process, and returns its status and what it wrote."""
    if tf.__version__.startswith("1.") and request.param.stem == "keras_digits":
        pytest.skip("the program needs TensorFlow 2")

    def stopped(*arguments):
        monkeypatch.setattr(sys, "argv", [str(request.param), *arguments])
        monkeypatch.syspath_prepend(str(request.param.parent))
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(request.param), run_name="__main__")
        return (stop.value.code or 0,) + tuple(capsys.readouterr())

    return stopped


def test_help(stopped):
    status, out, err = stopped("--help")
    assert (status, err) == (0, "") and out.startswith("usage: ")
    assert "None)" not in out and "False)" not in out


def test_wrong_flags(stopped):
    status, out, err = stopped("--wrong")
    assert (status, out) == (2, "") and ": error: " in err and err.count("\n") == 1


# Names of functions and modules that can run code from a file.
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "eval", "exec", "joblib.load"}
UNSAFE |= {"yaml.load", "yaml.unsafe_load", "pandas.read_pickle", "pd.read_pickle", "torch.load"}


def unsafe(code):
    """The names in a module by which it would unpickle or evaluate what it reads."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or ""] + [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Name):
            found.append(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.append(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if getattr(node.value, "value", True) is not False:
                found.append("eval")
    return UNSAFE.intersection(found)


def test_no_example_unpickles_or_evaluates_what_it_reads():
    for path in (ROOT / "examples").rglob("*.py"):
        # The programs that legacy.py runs are code.
        if path.name != "legacy.py":
            assert not unsafe(path.read_text(encoding="utf-8")), path
    for code in [
        "import pickle",
        "from cPickle import load",
        "import joblib; joblib.load(f)",
        "from joblib import load",
    ]:
        assert unsafe(code), code
    for code in ["np.load(f, allow_pickle=True)", "exec(f.read())", "print(eval(text))", "yaml.load(f)"]:
        assert unsafe(code), code
    assert not unsafe("import json, re; re.compile(''); json.load(f); np.load(f, allow_pickle=False)")


def test_without_a_home_directory_matplotlib_is_silent():
    commandline.prepare()
    assert not logging.getLogger("matplotlib.font_manager").isEnabledFor(logging.WARNING)


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_pipe_ends_a_program_without_noise(closed, monkeypatch, capsys):
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w", buffering=1) as pipe:
        monkeypatch.setattr(sys, closed, pipe)

        def main():
            with progress.bar(total=2, desc="shown") as bar:
                bar.update(2)
            errors.warn("something")
            print("the result")

        with pytest.raises(SystemExit) as ended:
            commandline.run(main)
    assert ended.value.code == commandline.CLOSED == 141
    assert capsys.readouterr().out == ("" if closed == "stdout" else "the result\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device here")
@pytest.mark.parametrize("flush", [False, True])
def test_a_full_disk_is_reported_in_one_line(flush, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            commandline.run(lambda: print("the result", flush=flush))
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.endswith(": error: No space left on device\n") and message.count("\n") == 1


def test_a_closed_stderr_leaves_stdout_to_the_results(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    errors.warn("something")
    with progress.bar(total=2, delay=0) as bar:
        bar.update(2)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing/file", "."])
def test_errors_of_files_are_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(str(tmp_path))

    def main():
        with files.whole(name) as partial, open(partial, "w"):
            pass

    with pytest.raises(SystemExit, match="2"):
        commandline.run(main)
    message = capsys.readouterr().err
    assert f": error: {name}: " in message and "partial" not in message and message.count("\n") == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "program, arguments, wrong",
    [
        ("digits.py", ["--methods", "mean", "--gating", "plain", "--epochs", "1"], ["--output", "."]),
        ("youtube8m/train.py", ["--steps", "2", "--clusters", "4", "--hidden-size", "4"], ["--clusters", "6"]),
    ],
    ids=["digits", "train"],
)
def test_programs_print_only_what_is_theirs(program, arguments, wrong, tmp_path):
    """As users run them, with TensorFlow's log as it is by default."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])

    def run(arguments):
        process = subprocess.run(
            [sys.executable, str(ROOT / "examples" / program)] + arguments,
            cwd=str(tmp_path),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=300,
        )
        return process.returncode, process.stdout, process.stderr

    status, out, err = run(arguments)
    assert status == 0 and out, err
    lines = err.replace("\r", "\n").splitlines()
    assert all(line.startswith("train: ") for line in lines if line), lines
    status, out, err = run(arguments[:4] + wrong)
    assert (status, out) == (2, "") and ": error: " in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "kind, good, bad, expected",
    [
        (commandline.positive, ["1", "7"], ["0", "-3", "2.5", "many"], "a positive integer"),
        (commandline.above_zero, ["0.1", "7"], ["0", "-1", "nan", "inf", "much"], "a number above 0"),
        (commandline.not_negative, ["0", "0.5"], ["-1", "nan", "inf", "x"], "a number of at least 0"),
        (commandline.factor, ["0", "0.5", "1"], ["-0.1", "1.1", "nan", "x"], "a number from 0 to 1"),
        (commandline.decay, ["0", "0.999"], ["1", "-0.1", "nan", "x"], "a number from 0 to below 1"),
        (commandline.seed, ["0", str(2**31 - 1)], ["-1", str(2**31), "1.5"], f"an integer from 0 to {2**31 - 1}"),
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
    # The text may come in pieces. The end is an empty piece or, on Linux, an error.
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:
        for piece in iter(lambda: terminal.read(1000), b""):
            shown += piece
    assert b"shown" in shown and b"2/2" in shown, shown


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "モデル [1].png"
    with files.whole(str(path)) as first, files.whole(str(path), suffix=".keras") as second:
        assert first != second and second.endswith(".keras")
        for name in (first, second):
            pathlib.Path(name).write_text(name)
    assert path.read_text() == first and os.listdir(str(tmp_path)) == [path.name]
    with pytest.raises(errors.UserError, match=re.escape(f"{path}: full")), files.whole(str(path)) as name:
        pathlib.Path(name).write_text("half")
        raise OSError("full")
    assert path.read_text() == first and os.listdir(str(tmp_path)) == [path.name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_symlinks_pipes_and_devices_stay(tmp_path):
    def write(path, text):
        with files.whole(str(path)) as name:
            pathlib.Path(name).write_text(text)

    (tmp_path / "elsewhere").mkdir()
    for target in ("new", "old"):
        link, target = tmp_path / f"{target}.link", tmp_path / "elsewhere" / target
        if target.name == "old":
            target.write_text("before")
        link.symlink_to(target)
        write(link, "after")
        assert link.is_symlink() and target.read_text() == "after"
    assert sorted(os.listdir(str(tmp_path / "elsewhere"))) == ["new", "old"]

    pipe, came = tmp_path / "pipe", []
    os.mkfifo(str(pipe))
    reader = threading.Thread(target=lambda: came.append(pipe.read_text()))
    reader.start()
    write(pipe, "text")
    reader.join(60)
    assert came == ["text"] and pipe.is_fifo()

    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        write(os.ttyname(theirs), "text")
        assert terminal.read(4) == b"text" and not os.path.isfile(os.ttyname(theirs))
    os.close(theirs)


def test_names_of_output_files(tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert commandline.writable("~/モデル [1].png") == str(tmp_path / "モデル [1].png")
    for name in ("new", "*?", "back\\slash", str(tmp_path / "{x}"), os.devnull):
        assert commandline.writable(name) == name
    for name in (".", "none/file"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a file"):
            commandline.writable(name)
    (tmp_path / "~").mkdir()
    assert commandline.writable("~/file") == "~/file"


@pytest.mark.parametrize("given, expected", [(None, "1"), ("0", "0")], ids=["default", "given"])
def test_programs_keep_their_memory_unless_the_user_says_otherwise(monkeypatch, given, expected):
    seen = []
    name = "TF_CPU_ALLOCATOR_USE_BFC"
    monkeypatch.setenv(name, given or "")  # Set in either case, so that it is restored at the end.
    if not given:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    with pytest.raises(SystemExit, match="0"):
        commandline.run(lambda: seen.append(os.environ[name]))
    assert seen == [expected]
