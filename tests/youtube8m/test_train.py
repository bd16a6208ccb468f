"""train.py: its arithmetic, towers, resuming after kill -9, a cluster, bad input, TensorBoard, the whole example."""

import argparse
import errno
import inspect
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import filelock
import measure
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import train
from yt8m import checkpoints, cluster, commandline, errors, evaluation, flags, interrupts, lock, monitor, presets, step
from yt8m import digits as prepared
from yt8m import settings as kept

PROGRAMS = pathlib.Path(train.__file__).resolve().parent
SMALL = ["--clusters", "8", "--hidden-size", "16", "--shuffle-buffer", "100"]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The current directory, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    return tmp_path


def values(checkpoint):
    reader = tf.train.NewCheckpointReader(checkpoints.latest(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def gap_of(checkpoint, digits, **given):
    given.update(checkpoint=str(checkpoint), digits=digits)
    options = flags.inference("", "validate").parse_args([], argparse.Namespace(**given))
    settings = kept.settle(options, saved=True)
    prepared.provide(settings, "validate")
    return evaluation.evaluate(settings, settings.checkpoint)["gap"]


def start(arguments, **environment):
    """Starts train.py as a process of its own."""
    paths = [str(PROGRAMS.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), **environment)
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / "train.py"), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


# The arithmetic of a step.


def settings_for(preset="gated-netvlad", **changes):
    result = argparse.Namespace(**presets.PUBLISHED)
    for table in (presets.PRESETS[preset], presets.DIGITS, changes):
        vars(result).update(table)
    result.towers = changes.get("towers", 1)
    return result


def random_batch(rng, size):
    return {
        "id": np.array([b"v"] * size),
        "frames": rng.uniform(-2, 2, (size, 36, 15)).astype(np.float32),
        "num_frames": rng.randint(1, 37, size).astype(np.int32),
        "labels": rng.uniform(size=(size, 10)) < 0.2,
    }


def steps(batch, count=3, **changes):
    """All variables after some steps on one batch, by name, and the losses."""
    settings = settings_for(clusters=8, hidden_size=6, batch_size=len(batch["id"]), **changes)
    with tf.Graph().as_default(), tf.Session(config=step.config(settings)) as session:
        tf.set_random_seed(1)
        built = step.build({name: tf.constant(value) for name, value in batch.items()}, settings)
        session.run(tf.global_variables_initializer())
        rng = np.random.RandomState(2)  # the seeds of operations depend on how many there are
        session.run([variable.assign(rng.normal(0, 0.3, variable.shape)) for variable in tf.trainable_variables()])
        losses = [session.run([built.train, built.loss])[1] for _ in range(count)]
        return {variable.op.name: session.run(variable) for variable in tf.global_variables()}, losses


def test_step_is_adam_on_clipped_gradients(session, rng):
    batch = random_batch(rng, 12)
    settings = settings_for(clusters=8, hidden_size=6, batch_size=12, moe_l2=0.01, clip_norm=0.05)
    with tf.variable_scope(tf.get_variable_scope()):
        built = step.build({name: tf.constant(value) for name, value in batch.items()}, settings)
    gradients = tf.gradients(built.loss + built.regularization, tf.trainable_variables())
    session.run(tf.global_variables_initializer())
    gradients = dict(zip([variable.op.name for variable in tf.trainable_variables()], session.run(gradients)))
    assert any(np.linalg.norm(gradient) > 0.05 for gradient in gradients.values())
    assert any(np.linalg.norm(gradient) < 0.05 for gradient in gradients.values())
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    before = session.run(variables)
    session.run(built.train)
    after = session.run(variables)
    assert after["global_step"] == 1
    for name in gradients:
        gradient = gradients[name] * min(1, 0.05 / np.linalg.norm(gradients[name]))
        np.testing.assert_allclose(after[name + "/Adam"], 0.1 * gradient, rtol=1e-4, atol=1e-8)
        change = after[name] - before[name]
        # Adam's first step. Where the gradient is but rounding, so is the step.
        expected = -0.005 * gradient / (np.abs(gradient) + 1e-8 / 0.001**0.5)
        is_clear = np.abs(gradient) > 1e-5
        np.testing.assert_allclose(change[is_clear], expected[is_clear], rtol=2e-3)
    assert (after["input_bn/moving_mean"] != before["input_bn/moving_mean"]).all()


def test_learning_rate_decays_in_steps(session):
    batch = random_batch(np.random.RandomState(1), 10)
    settings = settings_for(batch_size=10, learning_rate=0.4, learning_rate_decay=0.5, learning_rate_decay_examples=35)
    built = step.build({name: tf.constant(value) for name, value in batch.items()}, settings)
    session.run(tf.global_variables_initializer())
    rates = []
    for number in range(9):
        session.run(tf.train.get_global_step().assign(number))
        rates.append(session.run(built.learning_rate))
    np.testing.assert_allclose(rates, [0.4] * 4 + [0.2] * 3 + [0.1] * 2, rtol=1e-6)


def test_clipping_takes_a_partitioned_variable_as_one(session, rng):
    gradient = rng.standard_normal((10, 3)).astype(np.float32) * 5
    whole = tf.get_variable("whole", [10, 3])
    parted = list(tf.get_variable("parted", [10, 3], partitioner=tf.fixed_size_partitioner(3)))
    small = tf.get_variable("small", [2])
    pairs = [(tf.constant(gradient), whole), (tf.constant([0.6, 0.7]), small)]
    ends = np.cumsum([part.shape.as_list()[0] for part in parted])
    pairs += [(tf.constant(rows), part) for rows, part in zip(np.split(gradient, ends[:-1]), parted)]
    whole, small, *parts = session.run([gradient for gradient, _ in step.clipped(pairs, 1.0)])
    np.testing.assert_allclose(whole, gradient / np.linalg.norm(gradient), rtol=1e-6)
    np.testing.assert_allclose(small, [0.6, 0.7], rtol=1e-6)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-6)
    assert step.clipped(pairs, 0) is pairs


@pytest.mark.parametrize(
    "preset",
    ["gated-netvlad", *(pytest.param(name, marks=pytest.mark.long) for name in ("gated-soft-dbow", "gru", "lstm"))],
)
def test_towers_do_what_one_device_does(preset, rng):
    half = random_batch(rng, 8)
    both = {name: np.concatenate([value, value]) for name, value in half.items()}
    # Each tower's batch statistics are those of the half, and so are the gradients of both.
    expected, expected_losses = steps(half, preset=preset, cells=5)
    came, losses = steps(both, preset=preset, cells=5, towers=2)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert sorted(came) == sorted(expected)
    for name in expected:
        np.testing.assert_allclose(came[name], expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
    assert losses[-1] < losses[0]


def test_towers_are_on_their_devices():
    batch = {name: tf.constant(value) for name, value in random_batch(np.random.RandomState(1), 8).items()}
    step.build(batch, settings_for(batch_size=8, towers=2))
    operations = tf.get_default_graph().get_operations()
    for number in range(2):
        assert any(op.type == "Softmax" and op.device.lower().endswith(f"cpu:{number}") for op in operations)
    assert {v.device.lower().replace("device:", "") for v in tf.trainable_variables()} == {"/cpu:0"}


def test_variables_are_spread_over_parameter_servers():
    process = cluster.Cluster({"ps": ["a:1", "b:1"], "worker": ["c:1", "d:1"]}, "worker", 1)
    batch = {name: tf.constant(value) for name, value in random_batch(np.random.RandomState(1), 8).items()}
    step.build(batch, settings_for(batch_size=8), process)
    devices = {variable.op.name: variable.device for variable in tf.trainable_variables()}
    parts = [device for name, device in devices.items() if name.startswith("hidden1_weights/")]
    assert sorted(parts) == ["/job:ps/task:0", "/job:ps/task:1"]
    assert set(devices.values()) == set(parts)
    assert "hidden1_biases" in devices


@pytest.mark.parametrize("job, is_chief", [("worker", True), ("chief", True), ("ps", False)])
def test_chief(job, is_chief):
    addresses = {"ps": ["a:1"], "worker": ["b:1", "c:1"]}
    if job == "chief":
        addresses["chief"] = ["d:1"]
        assert not cluster.Cluster(addresses, "worker", 0).is_chief
    process = cluster.Cluster(addresses, job, 0)
    assert process.is_chief == is_chief and process.num_workers == sum(map(len, addresses.values())) - 1


def test_the_name_of_another_worker_may_be_lost(monkeypatch):
    monkeypatch.setattr(cluster, "LOOKUP", 0)
    here, gone = "127.0.0.1:2222", "gone.invalid:2222"
    cluster.Cluster({"ps": [here], "chief": [here], "worker": [here, gone]}, "worker", 0)._look_up_hosts()
    with pytest.raises(errors.UserError, match="TF_CONFIG: gone.invalid:2222: "):
        cluster.Cluster({"ps": [here, gone], "chief": [here], "worker": [here]}, "ps", 0)._look_up_hosts()
    with pytest.raises(errors.UserError, match="TF_CONFIG: here: expected HOST:PORT"):
        cluster.Cluster({"ps": [here], "chief": [here], "worker": [here, "here"]}, "ps", 0)._look_up_hosts()


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOSYS, "Function not implemented")])
def test_a_file_system_without_locks_is_told(error, tmp_path, monkeypatch, capsys):
    class WithoutLocks:
        def __init__(self, path):
            pass

        def acquire(self, timeout):
            raise error

        def release(self):
            pass

    monkeypatch.setattr(lock, "_Lock", WithoutLocks)
    with lock.held(str(tmp_path)) as is_there:
        assert is_there()
    assert "cannot be locked" in capsys.readouterr().err


def test_a_lock_ends_with_its_process(tmp_path):
    """That is, the operating system's; another would stay after a kill -9."""
    assert (
        "fallback_to_soft" not in inspect.signature(filelock.FileLock).parameters
        or not lock._Lock(str(tmp_path / "lock")).fallback_to_soft
    )


# The program.


def test_a_copied_directory_goes_on_with_its_own_checkpoints(work, digits):
    one, other = (str(pathlib.Path(name).resolve()) for name in ("one", "other"))
    flags = ["--digits", digits, "--checkpoint-seconds", "1000", "--keep", "1", *SMALL]
    train.main(["--steps", "2", "--checkpoint", one, *flags])
    shutil.copytree(one, other)
    assert checkpoints.newest(other) == (os.path.join(other, "model.ckpt-2"), 2)
    before = sorted(os.listdir(one))
    train.main(["--steps", "4", "--checkpoint", other, *flags])
    assert sorted(os.listdir(one)) == before
    assert checkpoints.newest(other) == (os.path.join(other, "model.ckpt-4"), 4)


def test_a_cut_checkpoint_is_named(work, digits):
    flags = ["--digits", digits, "--checkpoint", "c", *SMALL]
    train.main(["--steps", "2", *flags])
    for file in pathlib.Path("c").glob("*.data*"):
        file.write_bytes(file.read_bytes()[:-100])  # What comes first, such as the step, is still whole.
    with pytest.raises(errors.UserError, match=r"^c.model\.ckpt-2: "):
        train.main(["--steps", "4", *flags])


def test_trains_and_resumes(work, digits, capsys):
    flags = ["--digits", digits, "--summary-steps", "5", *SMALL]
    train.main(["--steps", "12", *flags])
    directory = os.path.join("checkpoints", "gated-netvlad")
    first = values(directory)
    assert first["global_step"] == 12
    assert capsys.readouterr().out == f"{checkpoints.latest(directory)}: trained 12 steps\n"
    train.main(["--steps", "12", *flags])
    message = f"{checkpoints.latest(directory)}: nothing was trained, it has had 12 of 12 steps already\n"
    assert capsys.readouterr().out == message
    again = values(directory)
    assert sorted(first) == sorted(again)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    index = pathlib.Path(directory, "model.ckpt-12.index")
    written = index.stat().st_mtime_ns
    train.main(["--steps", "20", *flags])
    assert values(directory)["global_step"] == 20
    assert index.stat().st_mtime_ns == written  # Overwritten, it would be damaged for a moment.
    output, error = capsys.readouterr()
    assert output.splitlines()[-1] == f"{checkpoints.latest(directory)}: trained 20 steps"
    assert f"note: {os.path.join(directory, 'model.ckpt-12')}: goes on from step 12 of 20\n" in error
    scalars = {}
    for path in sorted(pathlib.Path(directory).glob("events*")):
        for event in tf.train.summary_iterator(str(path)):
            for value in event.summary.value:
                scalars.setdefault(value.tag, []).append(event.step)
    assert set(scalars) == {"loss", "regularization", "learning_rate", "gap", "examples_per_second"}
    assert scalars["loss"] == [5, 10, 17]
    settings = kept.load(directory)
    assert settings["clusters"] == 8 and settings["preset"] == "gated-netvlad"
    assert settings["feature_sizes"] == (9, 6)


def test_the_seed_is_one_for_all_runs(work, digits, capsys):
    flags = ["--digits", digits, "--checkpoint", "c", *SMALL]
    train.main(["--steps", "1", "--seed", "3", *flags])
    train.main(["--steps", "2", *flags])
    assert kept.load("c")["seed"] == 3
    capsys.readouterr()
    message = fails(capsys, "--steps", "3", "--seed", "4", *flags)
    assert message == "c: expected a training with --seed 4, got one with --seed 3"
    assert values("c")["global_step"] == 2


def test_a_training_of_unknown_seed_is_not_taken_for_another(work, digits, capsys):
    """As those of earlier versions are, which kept none."""
    flags = ["--digits", digits, "--checkpoint", "c", *SMALL]
    train.main(["--steps", "1", *flags])
    path = pathlib.Path("c", kept.FILE)
    settings = json.loads(path.read_text())
    assert 0 <= settings.pop("seed") < 2**31  # any
    path.write_text(json.dumps(settings))
    capsys.readouterr()
    message = fails(capsys, "--steps", "2", "--seed", "1", *flags)
    assert message == "c: expected a training with --seed 1, got one whose seed is not known"


def test_progress_bar(work, digits, capsys):
    train.main(["--steps", "30", "--digits", digits, "--checkpoint", "c", "--summary-steps", "5", *SMALL])
    last = capsys.readouterr().err.replace("\r", "\n").splitlines()[-1]
    assert last.startswith("train: 100%") and "30/30" in last
    for part in ("loss ", "GAP ", " examples/s", "<"):
        assert part in last


def interrupted_at(count, monkeypatch, action):
    """Lets the action happen in the step of that number."""
    after_run = monitor.Monitor.after_run

    def acting(self, run_context, run_values):
        after_run(self, run_context, run_values)
        if run_values.results["count"] == count:
            action()

    monkeypatch.setattr(monitor.Monitor, "after_run", acting)


# On Windows, os.kill would end the process; Python 3.7 has nothing else.
SEND = getattr(signal, "raise_signal", lambda number: os.kill(os.getpid(), number))
MEAN = ["--preset", "mean", "--checkpoint", "c", *SMALL[2:]]


@pytest.fixture
def foreground():
    """SIGINT as at a terminal: where the tests run in the background of a script, it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_a_checkpoint(work, digits, capsys, monkeypatch, number):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    interrupted_at(5, monkeypatch, lambda: SEND(number))
    with pytest.raises(SystemExit) as ended:
        commandline.run(lambda: train.main(["--steps", "1000", "--digits", digits, *MEAN]))
    assert ended.value.code == 128 + number
    last = capsys.readouterr().err.splitlines()[-1]
    name = os.path.join("c", "model.ckpt-5")
    assert last.split(": ", 1)[1] == f"interrupted: {name}: saved after 5 of 1000 steps, to go on from"
    assert values("c")["global_step"] == 5
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.usefixtures("foreground")
def test_a_second_signal_acts_as_it_did():
    noted = interrupts.Interrupts()
    with noted:
        SEND(signal.SIGINT)
        assert noted.number == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt):
            signal.getsignal(signal.SIGINT)(signal.SIGINT, None)


@pytest.mark.parametrize(
    "steps, rate, problem",
    [
        ("50", "1e30", r"step [1-9]: expected a finite loss, got (nan|inf|-inf)\. The checkpoints before it are kept"),
        # Here the loss of the last step is finite still.
        ("1", "1e39", r"c.model\.ckpt-1: is not written: \S+ is not finite\. The checkpoints before it are kept"),
    ],
)
def test_what_is_not_finite_is_not_saved(work, digits, capsys, steps, rate, problem):
    message = fails_after_start(capsys, "--steps", steps, "--learning-rate", rate, "--digits", digits, *MEAN)
    assert re.match(problem, message), message
    kept = values("c")
    assert kept["global_step"] == 0 and all(np.isfinite(value).all() for value in kept.values())


def test_a_second_training_is_refused(work, digits, capsys):
    with lock.held("c") as is_there:
        assert is_there()
        message = fails(capsys, "--steps", "2", "--digits", digits, *MEAN)
        os.remove(os.path.join("c", lock.OWNER))
        assert not is_there()
    assert re.match(rf"c: another training is at work there: process {os.getpid()} on \S+, since \d{{4}}-", message)
    # What a process has left that was killed while it wrote a checkpoint.
    os.makedirs(os.path.join("c", "model.ckpt-9_temp_1f"))
    left = ["model.ckpt-9_temp_1f/part", "model.ckpt-9.index.tempstate1", "settings.json.5e.partial"]
    for name in [*left, "checkpoint.tmp" + "0f" * 16, "model.ckpt-9.meta.tmp" + "0f" * 16]:
        pathlib.Path("c", name).write_bytes(b"half")
    train.main(["--steps", "2", "--digits", digits, *MEAN])
    assert values("c")["global_step"] == 2
    assert not [name for name in os.listdir("c") if re.search("temp|tmp|partial", name)]


def test_a_directory_that_is_none_is_named(work, digits, capsys):
    pathlib.Path("c").write_text("no directory")
    assert re.match("c: (File|Not a|Cannot)", fails(capsys, "--digits", digits, *MEAN))


@pytest.mark.long
def test_kill_and_resume(work, digits):
    flags = ["--steps", "100000", "--checkpoint-seconds", "1", "--checkpoint", "c", "--digits", digits, *SMALL]
    process = start(flags)
    try:
        wait_until(lambda: step_of("c") > 0, process)
    finally:
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()
    reached = step_of("c")
    assert 0 < reached < 100000
    train.main(["--steps", str(reached + 3), *flags[2:]])
    resumed = values("c")
    assert resumed["global_step"] == reached + 3
    # Adam's own variables went on too: its power of beta1 counts the steps, until it is as good as 0.
    np.testing.assert_allclose(resumed["beta2_power"], 0.999 ** (reached + 4), rtol=1e-2)


def step_of(directory):
    checkpoint = tf.train.latest_checkpoint(directory)
    return 0 if checkpoint is None else int(checkpoint.split("-")[-1])


def wait_until(condition, process, seconds=100):
    end = time.time() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read().decode("utf-8")
        assert time.time() < end
        time.sleep(0.1)


def train_in_cluster(*flags):
    """What the processes of a cluster print: two parameter servers, a chief and another worker."""
    sockets = [socket.socket() for _ in range(4)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{opened.getsockname()[1]}" for opened in sockets]
    for opened in sockets:
        opened.close()
    spec = {"ps": addresses[:2], "worker": addresses[2:]}
    processes = [
        start(flags, TF_CONFIG=json.dumps({"cluster": spec, "task": {"type": job, "index": index}}))
        for job, index in [("ps", 0), ("ps", 1), ("worker", 0), ("worker", 1)]
    ]
    try:
        outputs = [process.communicate(timeout=200)[0].decode("utf-8", "replace") for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * 4, outputs
    return outputs


@pytest.mark.long  # By default, tests/youtube8m/test_faults.py has a cluster that trains.
def test_cluster(work, digits):
    outputs = train_in_cluster("--steps", "20", "--digits", digits, "--checkpoint", "c", "--seed", "1", *SMALL)
    assert "trained 20 steps" in outputs[2] and "trained" not in outputs[3]
    assert "step/s" in outputs[3]
    # Both workers count, and may be at a step each when the last is reached.
    assert 20 <= values("c")["global_step"] <= 22
    assert values("c")["hidden1_weights"].shape == (9 * 8 + 6 * 4, 16)
    assert kept.load("c")["seed"] == 1


@pytest.mark.long
@pytest.mark.parametrize("preset", ["gru", "lstm"])
def test_cluster_of_recurrent_models(preset, work, digits):
    flags = ["--preset", preset, "--cells", "8", "--steps", "20", "--digits", digits, "--checkpoint", "c"]
    assert "trained 20 steps" in train_in_cluster(*flags)[2]
    assert gap_of("c", digits, preset=preset) > 0


@pytest.mark.long
def test_cluster_converges_as_one_process(work, digits):
    flags = ["--steps", "200", "--digits", digits, "--shuffle-buffer", "500", "--learning-rate-decay-examples", "2000"]
    train_in_cluster(*flags, "--checkpoint", "cluster", "--seed", "1")
    train.main([*flags, "--checkpoint", "one", "--seed", "1"])
    came, alone = values("cluster"), values("one")
    assert {name: value.shape for name, value in came.items()} == {name: value.shape for name, value in alone.items()}
    # By batch statistics, because after so few steps it is chance how near the moving averages are.
    gaps = [gap_of(name, digits, batch_statistics=True) for name in ("cluster", "one")]
    assert min(gaps) > 0.95 and abs(gaps[0] - gaps[1]) < 0.03, gaps


def test_measure(work, capsys):
    measure.main(
        ["--clusters", "2", "--hidden-size", "2", "--num-classes", "3", "--batch-size", "2", "--videos", "8"]
        + ["--max-frames", "4", "--iterations", "4", "--feature-sizes", "5,2", "--steps", "2"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].startswith("gated-netvlad: ") and "for its input" in lines[1]
    assert not os.listdir(".")


def fails(capsys, *arguments):
    """The one line with which train.py ends for these arguments."""
    with pytest.raises(SystemExit) as error:
        commandline.run(lambda: train.main([str(argument) for argument in arguments]))
    assert error.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    program, kind, message = line.split(": ", 2)
    assert kind == "error"
    return message


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--preset", "nettvlad"], "argument --preset: invalid choice: 'nettvlad'"),
        (["--data", "none*"], "none*: no files match"),
        (["--feature-names", "rgb"], "--feature-sizes: expected one for each of rgb, got 9,6"),
        (["--feature-sizes", "9,7"], "digits/train00.tfrecord: video digit"),
        (["--feature-names", "rgb,sound"], "digits/train00.tfrecord: video digit"),
        (["--towers", "3"], "--batch-size: expected a multiple of --towers = 3, got 64"),
        (["--clusters", "2.5"], "argument --clusters: expected a positive integer, got 2.5"),
        (["--seed", str(2**70)], f"argument --seed: expected an integer from 0 to 2147483647, got {2**70}"),
        (["--cells", "0", "--preset", "gru"], "argument --cells: expected a positive integer, got 0"),
        (["--cells", "8"], "--cells: expected a preset whose model has this, got gated-netvlad"),
        (["--clusters", "8", "--preset", "lstm"], "--clusters: expected a preset whose model has this, got lstm"),
        (["--no-gating", "--preset", "gru"], "--no-gating: expected a preset whose model has this, got gru"),
        (["--clusters", "8", "--preset", "mean"], "--clusters: expected a preset whose model has this, got mean"),
        (["--batch-norm-decay", "1"], "argument --batch-norm-decay: expected a number from 0 to below 1, got 1"),
        (["--clusters", "4", "--preset", "soft-dbow"], "--clusters: expected at least 8, for feature audio, got 4"),
    ],
)
def test_bad_input(work, digits, capsys, flags, message):
    os.symlink(digits, "digits")
    assert fails(capsys, *flags).startswith(message)
    assert os.listdir(".") == ["digits"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"ps": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"ps": ["a:1"], "worker": ["b:1"]}, "task": {"type": "evaluator", "index": 0}}',
        '{"cluster": {"ps": ["a:1"], "chief": ["b:1", "c:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_bad_cluster(work, digits, capsys, monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert fails(capsys, "--digits", digits).startswith("TF_CONFIG: expected JSON with cluster and task")
    assert not os.listdir(".")


def test_a_malformed_address_is_named(work, digits, capsys, monkeypatch):
    spec = {"ps": ["127.0.0.1"], "worker": ["127.0.0.1:1"]}
    monkeypatch.setattr(commandline, "end_at_once", lambda: None)
    process = cluster.Cluster(spec, "ps", 0)
    with pytest.raises(errors.UserError, match="TF_CONFIG: 127.0.0.1: expected HOST:PORT"):
        process.serve(1)


def test_checkpoint_of_another_architecture(work, digits, capsys):
    flags = ["--digits", digits, "--checkpoint", "c", *SMALL]
    train.main(["--steps", "2", *flags])
    before = sorted(os.listdir("c"))
    capsys.readouterr()
    message = fails(capsys, "--preset", "netvlad", "--clusters", "8", *flags[:4], "--hidden-size", "20")
    assert message.startswith(f"{os.path.join('c', 'model.ckpt-2')}: of another architecture: ")
    assert "hidden1_weights is [96, 16] where the model has [96, 20]; " in message
    assert "Adam" not in message
    assert message.endswith("; and 1 more. It was trained with --preset gated-netvlad --hidden-size 16")
    assert sorted(os.listdir("c")) == before


def test_damage_is_met_later(work, digits, capsys):
    data = pathlib.Path(digits, "train00.tfrecord").read_bytes()
    pathlib.Path("bad.tfrecord").write_bytes(data[:-9])
    flags = ["--data", "bad.tfrecord", "--checkpoint", "c", "--num-classes", "10", "--feature-sizes", "9,6", *SMALL]
    flags += ["--frame-sampling", "all", "--max-frames", "36", "--batch-size", "64", "--steps", "30"]
    message = fails_after_start(capsys, *flags)
    assert message.lstrip("./").startswith("bad.tfrecord: corrupt or truncated: records were read of ")
    train.main([*flags, "--skip-corrupt"])
    assert values("c")["global_step"] == 30
    assert "1 such so far" in capsys.readouterr().err


def fails_after_start(capsys, *arguments):
    with pytest.raises(SystemExit) as error:
        commandline.run(lambda: train.main(list(arguments)))
    assert error.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "".join(lines)
    return lines[-1].split(": error: ")[1]
