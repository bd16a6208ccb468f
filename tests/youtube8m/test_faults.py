"""Training runs end, whichever process dies, and lose at most the steps after the last checkpoint.

Each test runs real processes on loopback, which have to end within a set time, and leaves none running.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sys
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import train
from support.programs import Program, until
from yt8m import checkpoints, submission

PROGRAMS = pathlib.Path(train.__file__).resolve().parent
ALL = ["ps0", "ps1", "chief", "worker0", "worker1"]
# Graphs of this size are built fast.
SMALL = ["--preset", "mean", "--hidden-size", "8", "--batch-size", "16", "--shuffle-buffer", "100", "--seed", "1"]
KILLED = -9
SECONDS = 240  # the limit for each wait; a tenth is enough for all but the slowest machines
WAIT = 60

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX's"),
]


@pytest.fixture
def start(tmp_path, digits):
    """A function that starts a program as a process, by default a training run, which ends with the test."""
    started = []

    def begin(*flags, script="train.py", name="alone", environment=(), small=SMALL, **options):
        common = ["--digits", digits, "--checkpoint", "c", *small] if script == "train.py" else []
        environment = dict({"TF_CONFIG": ""}, **dict(environment))
        program = Program(PROGRAMS / script, [*common, *flags], tmp_path, name, environment, **options)
        started.append(program)
        return program

    yield begin
    for program in started:
        program.kill()


@pytest.fixture
def addresses():
    """Addresses whose ports no other process gets: sockets that do not listen keep them for the servers."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in ALL]
        for kept in sockets:
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.bind(("127.0.0.1", 0))
        yield [f"127.0.0.1:{kept.getsockname()[1]}" for kept in sockets]


def config(spec, name):
    job, index = re.match(r"([a-z]+)(\d*)", name).groups()
    return {"TF_CONFIG": json.dumps({"cluster": spec, "task": {"type": job, "index": int(index or 0)}})}


@pytest.fixture
def fleet(start, addresses):
    """A function that starts processes of the cluster of `ALL`, and returns the last process of each name."""
    spec = {"ps": addresses[:2], "chief": addresses[2:3], "worker": addresses[3:]}
    running = {}

    def begin(*flags, names=tuple(ALL)):
        for name in names:
            given = ["--checkpoint-seconds", "1", *flags]
            running[name] = start(*given, name=name, environment=config(spec, name))
        return running

    return begin


@pytest.fixture
def saved(tmp_path):
    """A function that returns the step of the last checkpoint; 0 if there is none."""

    # A checkpoint may hold a later step than its name: another worker may take further steps before it is written.
    return lambda: checkpoints.newest(str(tmp_path / "c"))[1]


def unfinished(directory):
    """The files that writers left behind because they did not finish."""
    return [name for name in os.listdir(str(directory)) if re.search("temp|tmp|partial", name)]


def assert_restores(directory):
    """Asserts that the last checkpoint is whole."""
    reader = tf.train.NewCheckpointReader(tf.train.latest_checkpoint(str(directory)))
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)


def statuses(running, seconds=SECONDS):
    """The exit statuses. Asserts that no process shows a traceback, and that those with status 2 report one error."""
    found = {name: program.wait(seconds) for name, program in running.items()}
    for name, program in running.items():
        assert "Traceback" not in program.text("err"), program.text("err")[-3000:]
        assert len(program.lines("error")) == (found[name] == 2), (name, program.text("err")[-1000:])
    return found


def resumed(program):
    """The steps from which the program reports that it continues, each with the total number of steps."""
    pattern = r"c.model\.ckpt-\d+: continues from step (\d+) of (\d+)$"
    notes = [re.match(pattern, line) for line in program.lines("note")]
    return [tuple(map(int, note.groups())) for note in notes if note]


def ended(**given):
    """The expected status of each process of `ALL`: its value in `given`, or else 0."""
    return dict(dict.fromkeys(ALL, 0), **given)


def joined(*workers):
    """Waits until workers take part in a training run that has begun."""
    until(lambda: all(worker.lines("note") for worker in workers), SECONDS)


def has_stepped(directory):
    """Whether the chief has taken a step, after which it writes the loss for TensorBoard."""
    with contextlib.suppress(tf.errors.DataLossError):  # of an event that is only half written
        for path in directory.glob("events*"):
            if any(event.HasField("summary") for event in tf.train.summary_iterator(str(path))):
                return True
    return False


def start_without_chief(start, addresses, *flags):
    """Runs two parameter servers and two workers, which have to end with status 0. Returns what worker 0 printed."""
    spec = {"ps": addresses[:2], "worker": addresses[2:4]}
    names = ["ps0", "ps1", "worker0", "worker1"]
    running = {name: start(*flags, name=name, environment=config(spec, name), small=[]) for name in names}
    assert statuses(running) == dict.fromkeys(names, 0)
    return running["worker0"].text("out")


def test_a_cluster_trains_as_one_process(start, addresses, digits, tmp_path):
    flags = ["--steps", "200", "--shuffle-buffer", "500", "--learning-rate-decay-examples", "2000", "--seed", "1"]
    start_without_chief(start, addresses, *flags)
    assert start(*flags, "--checkpoint", "one", small=[]).wait(SECONDS) == 0
    readers = [tf.train.NewCheckpointReader(checkpoints.latest(str(tmp_path / name))) for name in ("c", "one")]
    shapes, expected = [reader.get_variable_to_shape_map() for reader in readers]
    assert shapes == expected
    gaps = []
    for name in ("c", "one"):
        # With batch statistics, because after so few steps the moving averages are near them only by chance.
        given = ["--checkpoint", name, "--digits", digits, "--batch-statistics", "--json"]
        evaluation = start(*given, script="evaluate.py", name="evaluation")
        assert evaluation.wait(SECONDS) == 0
        gaps.append(json.loads(evaluation.text("out"))["gap"])
    assert min(gaps) > 0.95 and abs(gaps[0] - gaps[1]) < 0.03, gaps


@pytest.mark.parametrize("preset", ["gru", "lstm"])
def test_a_cluster_trains_recurrent_models(start, addresses, preset):
    printed = start_without_chief(start, addresses, "--preset", preset, "--cells", "8", "--steps", "20")
    assert re.match(r"c.model\.ckpt-2\d: trained 20 steps$", printed)


def test_finished_and_started_again(fleet, saved):
    assert statuses(fleet("--steps", "20")) == ended()
    trained = saved()
    assert 20 <= trained < 25
    again = fleet("--steps", "20")
    assert statuses(again) == ended()
    assert f"not trained further, because it already had {trained} of 20 steps" in again["chief"].text("out")
    more = fleet("--steps", "40")
    assert statuses(more) == ended()
    assert saved() >= 40
    assert resumed(more["chief"]) == [(trained, 40)]


@pytest.mark.parametrize("late", ["ps1", "chief"])
def test_one_starts_a_minute_late(fleet, saved, late):
    running = fleet("--steps", "100", names=[name for name in reversed(ALL) if name != late])
    time.sleep(60)
    assert {program.status for program in running.values()} == {None}
    assert statuses(fleet("--steps", "100", names=[late])) == ended()
    assert 100 <= saved() < 105


def test_a_worker_starts_a_minute_late(fleet, saved):
    running = fleet("--steps", "600", names=ALL[:-1])
    until(saved, SECONDS)
    # The training must not end before the worker starts.
    for name in ("chief", "worker0"):
        running[name].send(signal.SIGSTOP)
    time.sleep(60)
    fleet("--steps", "600", names=["worker1"])
    joined(running["worker1"])
    for name in ("chief", "worker0"):
        running[name].send(signal.SIGCONT)
    assert statuses(running) == ended()
    assert re.match(r"joins the training at step \d+ of 600$", running["worker1"].lines("note")[0])


@pytest.mark.parametrize("returns", [False, True])
def test_a_worker_is_killed(fleet, saved, returns):
    running = fleet("--steps", "2000")
    joined(running["worker0"], running["worker1"])
    running["worker1"].kill()
    if returns:
        fleet("--steps", "2000", names=["worker1"])
    assert statuses(running) == ended(**{} if returns else {"worker1": KILLED})
    assert 2000 <= saved() < 2005


def test_the_chief_is_killed_and_returns(fleet, saved):
    running = fleet("--steps", "2000")
    joined(running["worker0"], running["worker1"])
    until(saved, SECONDS)
    running["chief"].kill()
    reached = saved()
    fleet("--steps", "2000", names=["chief"])
    assert statuses(running) == ended()
    assert resumed(running["chief"]) == [(reached, 2000)]
    assert saved() >= 2000


def test_a_parameter_server_is_killed_and_returns(fleet, saved):
    running = fleet("--steps", "2000")
    joined(running["worker0"], running["worker1"])
    until(saved, SECONDS)
    running["ps1"].kill()
    reached = saved()
    fleet("--steps", "2000", names=["ps1"])
    assert statuses(running) == ended()
    ((step, _),) = resumed(running["chief"])
    assert reached <= step < 2000  # The chief may have saved once more, before it noticed.
    assert saved() >= 2000


@pytest.mark.parametrize("lost", ["chief", "ps0", "ps1"])
def test_one_is_killed_for_good(fleet, saved, tmp_path, lost):
    running = fleet("--steps", "100000", "--wait-seconds", str(WAIT))
    joined(running["worker0"], running["worker1"])
    until(saved, SECONDS)
    running[lost].kill()
    # All of them notice the loss, and their interpreters end.
    assert statuses(running, WAIT + 30) == {name: KILLED if name == lost else 2 for name in ALL}
    for name in set(ALL) - {lost}:
        assert running[name].lines("error") == [f"the chief or a parameter server has been silent for {WAIT} seconds"]
    assert_restores(tmp_path / "c")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_get_a_signal(fleet, saved, tmp_path, number):
    running = fleet("--steps", "100000", "--checkpoint-seconds", "600", "--summary-steps", "1")
    joined(running["worker0"], running["worker1"])
    until(lambda: has_stepped(tmp_path / "c"), SECONDS)
    before = saved()  # Workers may have trained before the chief saved its first checkpoint.
    for program in running.values():
        program.send(number)
    found = statuses(running)
    assert found["chief"] == 128 + number and set(found.values()) <= {2, 128 + number}
    assert saved() > before
    (message,) = running["chief"].lines("interrupted")
    assert re.match(rf"c.model\.ckpt-\d+: saved at step {saved()} of 100000, to continue later$", message)
    assert_restores(tmp_path / "c")


@pytest.mark.parametrize("name", ["ps0", "chief", "worker0"])
def test_a_signal_ends_what_waits(fleet, name):
    running = fleet("--steps", "5", names=[name])
    time.sleep(5)
    running[name].send(signal.SIGINT)
    assert statuses(running) == {name: 130}


def test_a_corrupt_shard_is_the_error_of_the_worker_that_met_it(fleet, saved, digits, tmp_path):
    shards = [pathlib.Path(digits, f"train0{number}.tfrecord").read_bytes() for number in range(4)]
    (tmp_path / "bad.tfrecord").write_bytes(b"".join(shards * 2)[:-9])
    flags = ["--feature-sizes", "9,6", "--num-classes", "10", "--max-frames", "36", "--frame-sampling", "all"]
    running = fleet("--steps", "900", names=ALL[:-1])
    fleet("--steps", "900", "--data", "bad.tfrecord", *flags, names=["worker1"])
    assert statuses(running) == ended(worker1=2)
    assert running["worker1"].lines("error")[0].lstrip("./").startswith("bad.tfrecord: corrupt or truncated: ")
    assert saved() >= 900


def remove(directory):
    """Removes the directory in one step, because files may still be written into it."""
    removed = directory.with_name("removed")
    directory.rename(removed)
    shutil.rmtree(str(removed))


def test_a_removed_directory_ends_all(fleet, saved, tmp_path):
    running = fleet("--steps", "100000")
    until(saved, SECONDS)
    remove(tmp_path / "c")
    assert statuses(running) == dict.fromkeys(ALL, 2)
    assert re.search(r"c.model\.ckpt-\d+: cannot be written: ", running["chief"].lines("error")[0])
    for name in ("ps0", "ps1", "worker0", "worker1"):
        assert running[name].lines("error") == ["the chief has stopped the training"]


@pytest.mark.parametrize("name", ["ps0", "chief", "worker0"])
def test_a_port_that_is_not_free(fleet, addresses, name):
    address = addresses[{"ps0": 0, "chief": 2, "worker0": 3}[name]]
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(address.split(":")[1])))
        taken.listen(1)
        assert statuses(fleet("--steps", "5", names=[name])) == {name: 2}
    (line,) = fleet(names=[])[name].lines("error")
    assert line.startswith(f"TF_CONFIG: {address}: expected a free port of this host: ")


@pytest.mark.parametrize("hidden_size", [8, 20000])
def test_a_checkpoint_too_large_to_write_leaves_the_older_one(start, saved, tmp_path, hidden_size):
    """What is too large is the graph beside the checkpoint, or the checkpoint itself."""
    flags = ["--hidden-size", str(hidden_size)]
    assert start("--steps", "3", *flags).wait(SECONDS) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "c").glob("model.ckpt-3.*")}
    limited = start("--steps", "6", *flags, file_size=max(map(len, before.values())) * 2 // 3)
    assert statuses({"alone": limited}) == {"alone": 2}
    assert re.match(r"c.*: .*[Ff]ile too large", limited.lines("error")[0])
    assert {path: path.read_bytes() for path in before} == before
    assert saved() == 3
    assert not unfinished(tmp_path / "c")
    after = start("--steps", "6", *flags)
    assert after.wait(SECONDS) == 0
    assert resumed(after) == [(3, 6)] and saved() == 6


def test_killed_while_a_checkpoint_is_written(start, saved, tmp_path):
    flags = ["--steps", "100000", "--checkpoint-seconds", "1", "--hidden-size", "20000", "--keep", "2"]
    reached = 0
    for _ in range(10):
        alone = start(*flags)
        until(lambda before=reached: saved() > before and list((tmp_path / "c").glob("*temp*")), SECONDS)
        alone.kill()
        assert alone.status == KILLED
        assert_restores(tmp_path / "c")
        assert resumed(alone) == ([(reached, 100000)] if reached else [])
        reached = saved()
    assert start("--steps", str(reached + 2), *flags[2:]).wait(SECONDS) == 0
    assert saved() == reached + 2
    assert not unfinished(tmp_path / "c")


def test_two_training_runs_in_one_directory(start, saved):
    first = start("--steps", "100000", "--checkpoint-seconds", "1", name="first")
    until(saved, SECONDS)
    second = start("--steps", "200000", name="second")
    assert statuses({"second": second}) == {"second": 2}
    assert second.lines("error") == ["c: another process is training there"]
    assert first.status is None
    first.kill()
    reached = saved()
    assert start("--steps", str(reached + 1)).wait(SECONDS) == 0
    assert saved() == reached + 1


def test_evaluation_ends_with_the_training_beside_it(start, saved, digits, tmp_path):
    flags = ["--continuous", "--json", "--checkpoint", "c", "--digits", digits]
    evaluation = start(*flags, script="evaluate.py", name="evaluation")
    time.sleep(5)  # It waits for the first checkpoint.
    training = start("--steps", "1500", "--checkpoint-seconds", "1", "--keep", "1000")
    assert statuses({"alone": training, "evaluation": evaluation}) == {"alone": 0, "evaluation": 0}
    last = [json.loads(line) for line in evaluation.text("out").splitlines()][-1]
    assert last["checkpoint"] == os.path.join("c", "model.ckpt-1500")


@pytest.mark.parametrize("script", ["predict.py", "ensemble.py"])
def test_a_killed_writer_leaves_nothing_that_looks_finished(start, digits, tmp_path, script):
    (tmp_path / "older.csv").write_text("older")
    if script == "predict.py":
        assert start("--steps", "1").wait(SECONDS) == 0
        flags = ["--checkpoint", "c", "--digits", digits]
    else:
        with submission.writer(str(tmp_path / "input.csv")) as write:
            for number in range(20000):
                write(f"video{number}", range(50), np.linspace(1, 0, 50))
        flags = ["input.csv", "input.csv"]
    for output in ("new.csv", "older.csv"):
        program = start(*flags, "--output", output, script=script, name="writer")
        until(lambda output=output: list(tmp_path.glob(f"{output}.*.partial")), SECONDS)
        program.kill()
        assert program.status == KILLED
    assert not (tmp_path / "new.csv").exists() and (tmp_path / "older.csv").read_text() == "older"
    assert start(*flags, "--output", "new.csv", script=script, name="writer").wait(SECONDS) == 0
    assert len(list(submission.read(str(tmp_path / "new.csv")))) > 200
