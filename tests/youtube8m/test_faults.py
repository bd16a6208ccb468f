"""Trainings that end whatever dies, and lose no more than comes after the last checkpoint.

Each test has real processes on loopback, a time in which each has to end, and leaves none running.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import train
from support.programs import Program, until
from yt8m import checkpoints, submission

PROGRAMS = pathlib.Path(train.__file__).resolve().parent
ALL = ["ps0", "ps1", "chief", "worker0", "worker1"]
# So that graphs are built fast.
SMALL = ["--preset", "mean", "--hidden-size", "8", "--batch-size", "16", "--shuffle-buffer", "100", "--seed", "1"]
KILLED = -9

faults = pytest.mark.faults
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX's")


@pytest.fixture
def start(tmp_path, digits):
    """A function that starts a program as a process, by default a training, which ends with the test."""
    started = []

    def begin(*flags, script="train.py", name="alone", environment=(), **options):
        common = ["--digits", digits, "--checkpoint", "c", *SMALL] if script == "train.py" else []
        environment = dict({"TF_CONFIG": ""}, **dict(environment))
        program = Program(PROGRAMS / script, [*common, *flags], tmp_path, name, environment, **options)
        started.append(program)
        return program

    yield begin
    for program in started:
        program.kill()


def addresses(count):
    """Addresses that are free, and that no system gives to connections: a server may be started there again."""
    free = set()
    while len(free) < count:
        with socket.socket() as opened, contextlib.suppress(OSError):
            opened.bind(("127.0.0.1", random.SystemRandom().randrange(20000, 32000)))
            free.add(opened.getsockname()[1])
    return [f"127.0.0.1:{port}" for port in free]


def config(spec, name):
    job, index = re.match(r"([a-z]+)(\d*)", name).groups()
    return {"TF_CONFIG": json.dumps({"cluster": spec, "task": {"type": job, "index": int(index or 0)}})}


@pytest.fixture
def fleet(start):
    """A function that starts processes of the cluster of `ALL`, and gives the last of each name."""
    free = addresses(5)
    spec = {"ps": free[:2], "chief": free[2:3], "worker": free[3:]}
    running = {}

    def begin(*flags, names=tuple(ALL)):
        for name in names:
            given = ["--checkpoint-seconds", "1", *flags]
            running[name] = start(*given, name=name, environment=config(spec, name))
        return running

    return begin


@pytest.fixture
def saved(tmp_path):
    """A function that gives the step of the last checkpoint."""

    # Not that in its name, which another worker may have passed when it was written.
    return lambda: checkpoints.step_of(tf.train.latest_checkpoint(str(tmp_path / "c")))


def unfinished(directory):
    """The files that writers have left who did not finish."""
    return [name for name in os.listdir(str(directory)) if re.search("temp|tmp|partial", name)]


def assert_restores(directory):
    """The last checkpoint is whole."""
    reader = tf.train.NewCheckpointReader(tf.train.latest_checkpoint(str(directory)))
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)


def statuses(running, seconds=90):
    """How the processes end, and that they say nothing that users would not understand."""
    found = {name: program.wait(seconds) for name, program in running.items()}
    for name, program in running.items():
        assert "Traceback" not in program.text("err"), program.text("err")[-3000:]
        assert len(program.lines("error")) == (found[name] == 2), (name, program.text("err")[-1000:])
    return found


def resumed(program):
    """From which steps it says that it has gone on, and of how many."""
    notes = [re.match(r"c.model\.ckpt-\d+: goes on from step (\d+) of (\d+)$", line) for line in program.lines("note")]
    return [tuple(map(int, note.groups())) for note in notes if note]


def ended(**given):
    """The statuses of `ALL`, which are 0 but for those that are given."""
    return dict(dict.fromkeys(ALL, 0), **given)


def test_a_finished_training_ends_at_once(start, fleet):
    assert start("--steps", "2").wait(90) == 0
    assert statuses(fleet("--steps", "2")) == ended()


@faults
def test_finished_and_started_again(fleet, saved):
    assert statuses(fleet("--steps", "20")) == ended()
    trained = saved()
    assert 20 <= trained < 25
    again = fleet("--steps", "20")
    assert statuses(again) == ended()
    assert f"nothing was trained, it has had {trained} of 20 steps already" in again["chief"].text("out")
    more = fleet("--steps", "40")
    assert statuses(more) == ended()
    assert saved() >= 40
    assert resumed(more["chief"]) == [(trained, 40)]


@faults
@pytest.mark.parametrize("late, seconds", [("ps1", 60), ("chief", 60), ("worker1", 60)])
def test_started_in_any_order_and_late(fleet, saved, late, seconds):
    running = fleet("--steps", "100", names=[name for name in reversed(ALL) if name != late])
    with pytest.raises(AssertionError):
        until(lambda: running["ps0"].status is not None and late != "worker1", seconds)
    assert statuses(fleet("--steps", "100", names=[late])) == ended()
    assert 100 <= saved() < 105


@faults
def test_a_killed_worker_is_missed_by_nobody(fleet, saved):
    running = fleet("--steps", "600")
    until(saved)
    running["worker1"].kill()
    assert running["chief"].wait(90) == 0
    assert [running[name].wait(30) for name in ("ps0", "ps1")] == [0, 0]
    assert statuses(running) == ended(worker1=KILLED)
    assert saved() >= 600


@faults
def test_a_killed_worker_may_come_back(fleet, saved):
    running = fleet("--steps", "600")
    until(saved)
    running["worker1"].kill()
    # The training may not end before it is back.
    for name in ("chief", "worker0"):
        running[name].send(signal.SIGSTOP)
    fleet("--steps", "600", names=["worker1"])
    until(lambda: running["worker1"].lines("note"))
    for name in ("chief", "worker0"):
        running[name].send(signal.SIGCONT)
    assert statuses(running) == ended()
    assert re.match(r"joins the training at step \d+ of 600$", running["worker1"].lines("note")[0])


@faults
def test_a_killed_chief_goes_on_from_its_last_checkpoint(fleet, saved):
    running = fleet("--steps", "600")
    until(saved)
    running["chief"].kill()
    reached = saved()
    fleet("--steps", "600", names=["chief"])
    assert statuses(running) == ended()
    assert resumed(running["chief"]) == [(reached, 600)]
    assert saved() >= 600


@faults
def test_without_their_chief_all_give_up(fleet, saved, tmp_path):
    running = fleet("--steps", "100000", "--wait-seconds", "20")
    until(saved)
    running["chief"].kill()
    assert statuses(running) == ended(chief=KILLED, ps0=2, ps1=2, worker0=2, worker1=2)
    for name in ("ps0", "ps1", "worker0", "worker1"):
        (line,) = running[name].lines("error")
        assert re.match(r"nothing was heard of the chief 127\.0\.0\.1:\d+ for 20 seconds", line)
    assert_restores(tmp_path / "c")


@faults
def test_a_killed_parameter_server_may_come_back(fleet, saved):
    running = fleet("--steps", "600")
    until(saved)
    running["ps1"].kill()
    reached = saved()
    fleet("--steps", "600", names=["ps1"])
    assert statuses(running) == ended()
    ((step, _),) = resumed(running["chief"])
    assert reached <= step < 600  # The chief may have saved once more, before it noticed.
    assert saved() >= 600


@faults
def test_without_a_parameter_server_all_give_up(fleet, saved, tmp_path):
    running = fleet("--steps", "100000", "--wait-seconds", "20")
    until(saved)
    running["ps1"].kill()
    assert statuses(running) == ended(ps1=KILLED, ps0=2, chief=2, worker0=2, worker1=2)
    assert re.match(r"nothing was heard of the parameter server 127", running["chief"].lines("error")[0])
    assert_restores(tmp_path / "c")


@faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signalled_together_they_save_a_checkpoint(fleet, saved, tmp_path, number):
    running = fleet("--steps", "100000", "--checkpoint-seconds", "600")
    until(lambda: re.search(r" [1-9]\d\d/100000", running["chief"].text("err")))
    before = saved()  # Workers may have been at work before the chief saved its first.
    for program in running.values():
        program.send(number)
    found = statuses(running)
    assert found["chief"] == 128 + number and set(found.values()) <= {2, 128 + number}
    assert saved() > before
    (message,) = running["chief"].lines("interrupted")
    assert re.match(rf"c.model\.ckpt-\d+: saved after {saved()} of 100000 steps, to go on from$", message)
    assert_restores(tmp_path / "c")


@faults
def test_a_corrupt_shard_is_the_error_of_the_worker_that_met_it(fleet, saved, digits, tmp_path):
    shards = [pathlib.Path(digits, f"train0{number}.tfrecord").read_bytes() for number in range(4)]
    (tmp_path / "bad.tfrecord").write_bytes(b"".join(shards * 2)[:-9])
    flags = ["--feature-sizes", "9,6", "--num-classes", "10", "--max-frames", "36", "--frame-sampling", "all"]
    running = fleet("--steps", "900", names=ALL[:-1])
    fleet("--steps", "900", "--data", "bad.tfrecord", *flags, names=["worker1"])
    assert statuses(running) == ended(worker1=2)
    assert running["worker1"].lines("error")[0].lstrip("./").startswith("bad.tfrecord: corrupt or truncated: ")
    assert re.search(r" [1-9]\d\d/900", running["worker1"].text("err"))
    assert saved() >= 900


def remove(directory):
    """At one stroke, because files that are written meanwhile would keep it."""
    removed = directory.with_name("removed")
    directory.rename(removed)
    shutil.rmtree(str(removed))


@faults
def test_a_removed_directory_ends_all(fleet, saved, tmp_path):
    running = fleet("--steps", "100000")
    until(saved)
    remove(tmp_path / "c")
    assert statuses(running) == ended(chief=2, ps0=2, ps1=2, worker0=2, worker1=2)
    assert re.search(r"c.model\.ckpt-\d+: cannot be written: ", running["chief"].lines("error")[0])
    for name in ("ps0", "ps1", "worker0", "worker1"):
        assert "has stopped the training" in running[name].lines("error")[0]


@faults
@pytest.mark.parametrize("hidden_size", [8, 20000])
def test_a_checkpoint_too_large_to_write_leaves_the_older_one(start, saved, tmp_path, hidden_size):
    """The graph that is written beside it, or the checkpoint itself."""
    flags = ["--hidden-size", str(hidden_size)]
    assert start("--steps", "3", *flags).wait(90) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "c").glob("model.ckpt-3.*")}
    limited = start("--steps", "6", *flags, file_size=max(map(len, before.values())) * 2 // 3)
    assert statuses({"alone": limited}) == {"alone": 2}
    assert limited.lines("error")[0].startswith("c") and "cannot be written: " in limited.lines("error")[0]
    assert {path: path.read_bytes() for path in before} == before
    assert saved() == 3
    assert not unfinished(tmp_path / "c")
    after = start("--steps", "6", *flags)
    assert after.wait(90) == 0
    assert resumed(after) == [(3, 6)] and saved() == 6


@faults
def test_a_removed_directory_ends_a_training(start, saved, tmp_path):
    alone = start("--steps", "100000", "--checkpoint-seconds", "1")
    until(saved)
    remove(tmp_path / "c")
    assert statuses({"alone": alone}) == {"alone": 2}
    assert re.match(r"c.model\.ckpt-\d+: cannot be written: ", alone.lines("error")[0])


@faults
def test_killed_while_a_checkpoint_is_written(start, saved, tmp_path):
    flags = ["--steps", "100000", "--checkpoint-seconds", "1", "--hidden-size", "20000", "--keep", "2"]
    reached = 0
    for _ in range(10):
        alone = start(*flags)
        until(lambda before=reached: saved() > before and list((tmp_path / "c").glob("*temp*")))
        alone.kill()
        assert alone.status == KILLED
        assert_restores(tmp_path / "c")
        assert resumed(alone) == ([(reached, 100000)] if reached else [])
        reached = saved()
    assert start("--steps", str(reached + 2), *flags[2:]).wait(90) == 0
    assert saved() == reached + 2
    assert not unfinished(tmp_path / "c")


@faults
def test_two_trainings_in_one_directory(start, saved):
    first = start("--steps", "100000", "--checkpoint-seconds", "1", name="first")
    until(saved)
    second = start("--steps", "200000", name="second")
    assert statuses({"second": second}) == {"second": 2}
    (line,) = second.lines("error")
    assert line.startswith("c: another training is at work there: process ") and f" {first.pid} on " in line
    assert first.status is None
    first.kill()
    reached = saved()
    assert start("--steps", str(reached + 1)).wait(90) == 0
    assert saved() == reached + 1


@faults
@pytest.mark.parametrize("name", ["ps0", "chief", "worker0"])
@pytest.mark.parametrize("problem", ["in use", "unknown host"])
def test_an_address_that_cannot_be_had(start, tmp_path, name, problem):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen(1)
        bad = f"127.0.0.1:{taken.getsockname()[1]}" if problem == "in use" else "nowhere.invalid:2222"
        free = dict(zip(["ps0", "chief", "worker0"], addresses(3)), **{name: bad})
        spec = {"ps": [free["ps0"]], "chief": [free["chief"]], "worker": [free["worker0"]]}
        program = start("--steps", "5", name=name, environment=config(spec, name))
        assert program.wait(30) == 2
    (line,) = program.lines("error")
    assert line.startswith(f"TF_CONFIG: {bad}: ")
    assert not (tmp_path / "c").exists()


@faults
def test_evaluation_ends_with_the_training_beside_it(start, saved, digits, tmp_path):
    flags = ["--continuous", "--json", "--checkpoint", "c", "--digits", digits]
    evaluation = start(*flags, script="evaluate.py", name="evaluation")
    until(lambda: evaluation.lines("note"))
    training = start("--steps", "1500", "--checkpoint-seconds", "1", "--keep", "1")
    assert statuses({"alone": training, "evaluation": evaluation}) == {"alone": 0, "evaluation": 0}
    last = [json.loads(line) for line in evaluation.text("out").splitlines()][-1]
    assert last["checkpoint"] == os.path.join("c", "model.ckpt-1500")


@faults
@pytest.mark.parametrize("script", ["predict.py", "ensemble.py"])
def test_a_killed_writer_leaves_nothing_that_looks_finished(start, digits, tmp_path, script):
    (tmp_path / "older.csv").write_text("older")
    if script == "predict.py":
        assert start("--steps", "1").wait(90) == 0
        flags = ["--checkpoint", "c", "--digits", digits]
    else:
        with submission.writer(str(tmp_path / "input.csv")) as write:
            for number in range(20000):
                write(f"video{number}", range(50), np.linspace(1, 0, 50))
        flags = ["input.csv", "input.csv"]
    for output in ("new.csv", "older.csv"):
        program = start(*flags, "--output", output, script=script, name="writer")
        until(lambda output=output: list(tmp_path.glob(f"{output}.*.partial")))
        program.kill()
        assert program.status == KILLED
    assert not (tmp_path / "new.csv").exists() and (tmp_path / "older.csv").read_text() == "older"
    assert start(*flags, "--output", "new.csv", script=script, name="writer").wait(90) == 0
    assert len(list(submission.read(str(tmp_path / "new.csv")))) > 200
