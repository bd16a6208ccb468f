"""train.py: the arithmetic of a step, resuming, signals, the lock, bad input, the description of a cluster."""

import argparse
import errno
import json
import os
import pathlib
import re
import shutil
import signal
import sys

import measure
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tqdm
import train
from loupe_examples import progress
from yt8m import checkpoints, cluster, commandline, errors, model, presets, records, settings, step, training

MEAN = ["--preset", "mean", "--hidden-size", "8", "--shuffle-buffer", "100", "--checkpoint", "c"]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The current directory, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def two_steps(digits, tmp_path_factory):
    """A directory of checkpoints after two steps."""
    directory = str(tmp_path_factory.mktemp("two_steps") / "c")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TF_CONFIG", raising=False)
        train.main(["--steps", "2", "--seed", "3", "--digits", digits, *MEAN[:-1], directory])
    return directory


@pytest.fixture
def trained(two_steps, work):
    """A copy of `two_steps`, the directory c in the current one."""
    shutil.copytree(two_steps, "c")


def values(checkpoint):
    reader = tf.train.NewCheckpointReader(checkpoints.latest(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def fails(capsys, *arguments):
    """The last line on stderr with which train.py ends for these arguments."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as error:
        commandline.run(lambda: train.main([str(argument) for argument in arguments]))
    assert error.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "".join(lines)
    return lines[-1].split(": error: ")[1]


# The arithmetic of a step.


def settings_for(preset="gated-netvlad", **changes):
    return settings.of_preset(preset, **dict(presets.DIGITS, **dict({"towers": 1}, **changes)))


def random_batch(rng, size):
    return {
        "id": np.array([b"v"] * size),
        "frames": rng.uniform(-2, 2, (size, 36, 15)).astype(np.float32),
        "num_frames": rng.randint(1, 37, size).astype(np.int32),
        "labels": rng.uniform(size=(size, 10)) < 0.2,
    }


def steps(batch, count=3, **changes):
    """All variables after some steps on one batch, by name, and the losses."""
    chosen = settings_for(clusters=8, hidden_size=6, batch_size=len(batch["id"]), **changes)
    with tf.Graph().as_default(), tf.Session(config=step.config(chosen.training.towers)) as session:
        tf.set_random_seed(1)
        built = step.build({name: tf.constant(value) for name, value in batch.items()}, chosen)
        session.run(tf.global_variables_initializer())
        rng = np.random.RandomState(2)  # the seeds of operations depend on how many there are
        session.run([variable.assign(rng.normal(0, 0.3, variable.shape)) for variable in tf.trainable_variables()])
        losses = [session.run([built.train, built.loss])[1] for _ in range(count)]
        return {variable.op.name: session.run(variable) for variable in tf.global_variables()}, losses


def test_step_is_adam_on_clipped_gradients(session, rng):
    batch = random_batch(rng, 12)
    chosen = settings_for(clusters=8, hidden_size=6, batch_size=12, moe_l2=0.01, clip_norm=0.05)
    with tf.variable_scope(tf.get_variable_scope()):
        built = step.build({name: tf.constant(value) for name, value in batch.items()}, chosen)
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
        # Adam's first step. Where the gradient is only a rounding error, so is the step.
        expected = -0.005 * gradient / (np.abs(gradient) + 1e-8 / 0.001**0.5)
        is_clear = np.abs(gradient) > 1e-5
        np.testing.assert_allclose(change[is_clear], expected[is_clear], rtol=2e-3)
    assert (after["input_bn/moving_mean"] != before["input_bn/moving_mean"]).all()


def test_learning_rate_decays_in_steps(session):
    batch = random_batch(np.random.RandomState(1), 10)
    chosen = settings_for(batch_size=10, learning_rate=0.4, learning_rate_decay=0.5, learning_rate_decay_examples=35)
    built = step.build({name: tf.constant(value) for name, value in batch.items()}, chosen)
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
    [
        "mean",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("gated-netvlad", "gated-soft-dbow", "gru", "lstm")),
    ],
)
def test_towers_do_what_one_device_does(preset, rng):
    half = random_batch(rng, 8)
    both = {name: np.concatenate([value, value]) for name, value in half.items()}
    # Each tower's batch statistics are those of the half, and the mean of the towers' gradients is the half's.
    expected, expected_losses = steps(half, preset=preset, cells=5)
    came, losses = steps(both, preset=preset, cells=5, towers=2)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert sorted(came) == sorted(expected)
    for name in expected:
        np.testing.assert_allclose(came[name], expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
    assert losses[-1] < losses[0]


@pytest.mark.long
def test_towers_are_on_their_devices():
    batch = {name: tf.constant(value) for name, value in random_batch(np.random.RandomState(1), 8).items()}
    step.build(batch, settings_for(batch_size=8, towers=2))
    operations = tf.get_default_graph().get_operations()
    for number in range(2):
        assert any(op.type == "Softmax" and op.device.lower().endswith(f"cpu:{number}") for op in operations)
    assert {v.device.lower().replace("device:", "") for v in tf.trainable_variables()} == {"/cpu:0"}


@pytest.mark.parametrize("gpus, towers", [(0, 1), (1, 1), (2, 2), (3, 2), (6, 4), (7, 4), (8, 8)])
def test_as_many_gpus_as_divide_the_batch_share_it(gpus, towers, monkeypatch, capsys):
    monkeypatch.setattr(step, "count_gpus", lambda: gpus)
    chosen = settings_for(batch_size=64, towers=None)
    step.settle_towers(chosen)
    assert chosen.training.towers == towers
    note = f"{towers} of {gpus} GPUs are used, because batch_size = 64 is not a multiple of {gpus}"
    assert (note in capsys.readouterr().err) == (towers < gpus)


@pytest.mark.long
def test_the_default_batch_with_three_devices(work, digits, capsys, monkeypatch):
    monkeypatch.setattr(step, "count_gpus", lambda: 3)
    # There are no GPUs, and TensorFlow takes these CPUs for them.
    monkeypatch.setattr(step, "config", lambda *_: tf.ConfigProto(device_count={"CPU": 3}, allow_soft_placement=True))
    train.main(["--steps", "2", "--digits", digits, *MEAN])
    assert values("c")["global_step"] == 2
    assert capsys.readouterr().err.count("2 of 3 GPUs are used") == 1
    message = fails(capsys, "--steps", "3", "--towers", "3", "--digits", digits, *MEAN)
    assert message == "batch_size: expected a multiple of towers = 3, got 64"


def test_variables_are_spread_over_parameter_servers():
    process = cluster.Cluster({"ps": ["a:1", "b:1"], "worker": ["c:1", "d:1"]}, "worker", 1)
    batch = {name: tf.constant(value) for name, value in random_batch(np.random.RandomState(1), 8).items()}
    step.build(batch, settings_for(batch_size=8), process)
    devices = {variable.op.name: variable.device for variable in tf.trainable_variables()}
    parts = [device for name, device in devices.items() if name.startswith("hidden1_weights/")]
    assert sorted(parts) == ["/job:ps/task:0", "/job:ps/task:1"]
    assert set(devices.values()) == set(parts)
    assert "hidden1_biases" in devices


@pytest.mark.parametrize("job, ranks", [("worker", [0, 1]), ("chief", [0]), ("master", [0]), ("ps", [None])])
def test_ranks(job, ranks):
    addresses = {"ps": ["a:1"], "worker": ["b:1", "c:1"]}
    if job in cluster.CHIEFS:
        addresses[job] = ["d:1"]
        assert [cluster.Cluster(addresses, "worker", index).rank for index in (0, 1)] == [1, 2]
    processes = [cluster.Cluster(addresses, job, index) for index in range(len(ranks))]
    assert [process.rank for process in processes] == ranks
    assert [process.is_chief for process in processes] == [rank == 0 for rank in ranks]


def test_the_chief_and_workers_read_in_different_orders(monkeypatch):
    seeds = []
    monkeypatch.setattr(records, "dataset", lambda data, training, seed: seeds.append(seed) or _no_videos())
    addresses = {"ps": ["a:1"], "chief": ["b:1"], "worker": ["c:1", "d:1"]}
    for job, index in [("chief", 0), ("worker", 0), ("worker", 1)]:
        training._batch(settings.of_preset("mean", seed=1), 5, cluster.Cluster(addresses, job, index))
    assert seeds[0] == 6 and len(set(seeds)) == 3


def _no_videos():
    return tf.data.Dataset.from_tensors(0)


# The program.


def test_trains_and_resumes(work, digits, capsys):
    flags = ["--digits", digits, "--summary-steps", "5", *MEAN[:-2]]
    train.main(["--steps", "12", *flags])
    directory = os.path.join("checkpoints", "mean")
    first = values(directory)
    assert first["global_step"] == 12
    output, error = capsys.readouterr()
    assert output == f"{checkpoints.latest(directory)}: trained 12 steps\n"
    assert "\r" not in error
    assert re.match(r"train: 12/12 \[.*, loss \S+, GAP \S+, \d+ examples/s\]$", error.splitlines()[-1])
    train.main(["--steps", "12", *flags])
    message = f"{checkpoints.latest(directory)}: not trained further, because it already had 12 of 12 steps\n"
    assert capsys.readouterr().out == message
    again = values(directory)
    assert sorted(first) == sorted(again)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    index = pathlib.Path(directory, "model.ckpt-12.index")
    written = index.stat().st_mtime_ns
    train.main(["--steps", "20", *flags])
    last = values(directory)
    assert last["global_step"] == 20
    # Adam's own variables continued too.
    np.testing.assert_allclose(last["beta2_power"], 0.999**21, rtol=1e-4)
    assert index.stat().st_mtime_ns == written  # While it is overwritten, a checkpoint is damaged for a moment.
    output, error = capsys.readouterr()
    assert output.splitlines()[-1] == f"{checkpoints.latest(directory)}: trained 20 steps"
    assert f"note: {os.path.join(directory, 'model.ckpt-12')}: continues from step 12 of 20\n" in error
    scalars = {}
    for path in sorted(pathlib.Path(directory).glob("events*")):
        for event in tf.train.summary_iterator(str(path)):
            for value in event.summary.value:
                scalars.setdefault(value.tag, []).append(event.step)
    assert set(scalars) == {"loss", "regularization", "learning_rate", "gap", "examples_per_second"}
    assert scalars["loss"] == [5, 10, 17]
    kept = settings.load(directory)
    assert (kept["preset"], kept["hidden_size"], kept["feature_sizes"]) == ("mean", 8, (9, 6))
    assert 0 <= kept["seed"] < 2**31


def test_a_log_gets_a_line_a_minute(monkeypatch, capsys):
    seconds = [0]
    monkeypatch.setattr(tqdm.std, "time", lambda: seconds[0])
    with progress.bar(desc="train", total=150) as bar:
        for _ in range(150):
            seconds[0] += 1
            bar.update()
    *lines, last = capsys.readouterr().err.split("\n")
    assert [line.split(" [")[0] for line in lines] == [f"train: {count}/150" for count in (60, 120, 150)]
    assert last == ""


@pytest.mark.long
@pytest.mark.usefixtures("trained")
def test_a_copied_directory_goes_on_with_its_own_checkpoints(two_steps, digits):
    before = sorted(os.listdir(two_steps))
    assert checkpoints.newest("c") == (os.path.join("c", "model.ckpt-2"), 2)
    train.main(["--steps", "4", "--digits", digits, "--keep", "1", *MEAN])
    assert sorted(os.listdir(two_steps)) == before
    assert checkpoints.newest("c") == (os.path.join("c", "model.ckpt-4"), 4)
    assert settings.load("c")["seed"] == 3


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("left", [-100, 0], ids=["its step is whole", "nothing is left"])
def test_a_damaged_checkpoint_is_named(digits, capsys, left):
    for file in pathlib.Path("c").glob("*.data*"):
        file.write_bytes(file.read_bytes()[:left])
    assert re.match(r"c.model\.ckpt-2: ", fails(capsys, "--steps", "4", "--digits", digits, *MEAN))


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("known", [True, False])
def test_the_seed_is_one_for_all_runs(digits, capsys, known):
    if not known:  # As in the training runs of earlier versions.
        path = pathlib.Path("c", settings.FILE)
        kept = json.loads(path.read_text())
        del kept["seed"]
        path.write_text(json.dumps(kept))
    message = fails(capsys, "--steps", "3", "--seed", "4", "--digits", digits, *MEAN)
    got = "with seed 3" if known else "whose seed is not known"
    assert message == f"c: expected a training run with seed 4, got one {got}"


@pytest.mark.usefixtures("trained")
def test_checkpoints_that_would_not_be_continued_are_named(digits, capsys):
    os.remove(os.path.join("c", "checkpoint"))
    message = fails(capsys, "--steps", "4", "--digits", digits, *MEAN)
    assert message == "c: expected a file `checkpoint` that names one of these checkpoints: model.ckpt-0, model.ckpt-2"


@pytest.mark.usefixtures("trained")
def test_a_checkpoint_of_another_architecture(digits, capsys):
    before = sorted(os.listdir("c"))
    message = fails(capsys, "--digits", digits, *MEAN, "--hidden-size", "20")
    assert message.startswith(f"{os.path.join('c', 'model.ckpt-2')}: of another architecture: ")
    assert "hidden1_weights is [15, 8] where the model has [15, 20]; " in message
    assert "Adam" not in message
    assert message.endswith("; and 1 more. It was trained with hidden_size 8")
    assert sorted(os.listdir("c")) == before


def interrupted_at(count, monkeypatch, action):
    """Performs the action in the step of that number."""
    show = training._Monitor.show

    def acting(self, values):
        show(self, values)
        if values["count"] == count:
            action()

    monkeypatch.setattr(training._Monitor, "show", acting)


# On Windows, os.kill would end the process; Python 3.7 has nothing else.
SEND = getattr(signal, "raise_signal", lambda number: os.kill(os.getpid(), number))


def test_a_signal_saves_a_checkpoint(work, digits, capsys, monkeypatch):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    interrupted_at(5, monkeypatch, lambda: SEND(signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        commandline.run(lambda: train.main(["--steps", "1000", "--digits", digits, *MEAN]))
    assert ended.value.code == 128 + signal.SIGTERM
    last = capsys.readouterr().err.splitlines()[-1]
    name = os.path.join("c", "model.ckpt-5")
    assert last.split(": ", 1)[1] == f"interrupted: {name}: saved at step 5 of 1000, to continue later"
    assert values("c")["global_step"] == 5
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_closed_log_saves_a_checkpoint(work, digits, monkeypatch):
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w", buffering=1) as log:
        monkeypatch.setattr(sys, "stderr", log)
        with pytest.raises(SystemExit) as ended:
            commandline.run(lambda: train.main(["--steps", "1000", "--digits", digits, *MEAN]))
    assert ended.value.code == commandline.CLOSED
    assert values("c")["global_step"] == 1


def test_a_second_signal_acts_as_it_did():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # A script's background jobs ignore SIGINT.
    try:
        with training.Interrupts() as interrupts:
            SEND(signal.SIGINT)
            assert interrupts.number == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # of the learning rate
@pytest.mark.parametrize(
    "steps, rate, problem",
    [
        pytest.param(
            "50",
            "1e30",
            r"step [1-9]: expected a finite loss, got (nan|inf|-inf)\. The checkpoints before it are kept",
            marks=pytest.mark.long,
        ),
        # Here the loss of the last step is still finite.
        ("1", "1e39", r"c.model\.ckpt-1: is not written: \S+ is not finite\. The checkpoints before it are kept"),
    ],
)
def test_what_is_not_finite_is_not_saved(work, digits, capsys, steps, rate, problem):
    message = fails(capsys, "--steps", steps, "--learning-rate", rate, "--digits", digits, *MEAN)
    assert re.match(problem, message), message
    kept = values("c")
    assert kept["global_step"] == 0 and all(np.isfinite(value).all() for value in kept.values())


def test_a_second_training_run_is_refused(work, digits, capsys):
    with training.locked("c"):
        message = fails(capsys, "--steps", "2", "--digits", digits, *MEAN)
    assert message == "c: another process is training there"
    # The files of a process that was killed while it wrote a checkpoint.
    os.makedirs(os.path.join("c", "model.ckpt-9_temp_1f"))
    left = ["model.ckpt-9_temp_1f/part", "model.ckpt-9.index.tempstate1", "settings.json.5e.partial"]
    for name in [*left, "checkpoint.tmp" + "0f" * 16, "model.ckpt-9.meta.tmp" + "0f" * 16]:
        pathlib.Path("c", name).write_bytes(b"half")
    train.main(["--steps", "2", "--digits", digits, *MEAN])
    assert values("c")["global_step"] == 2
    assert not [name for name in os.listdir("c") if re.search("temp|tmp|partial", name)]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EIO])
def test_a_file_system_without_locks_is_reported(number, tmp_path, monkeypatch, capsys):
    fcntl = pytest.importorskip("fcntl")

    def without_locks(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", without_locks)
    with training.locked(str(tmp_path)):
        assert os.listdir(str(tmp_path)) == ["training.lock"]
    assert "has no locks; make sure that no other process trains there" in capsys.readouterr().err


def test_a_path_that_is_not_a_directory_is_named(work, digits, capsys):
    pathlib.Path("c").write_text("no directory")
    assert re.match("c: (File|Not a|Cannot)", fails(capsys, "--digits", digits, *MEAN))


def test_a_directory_that_cannot_be_written_is_named(work, digits, capsys):
    os.chmod(str(work), 0o555)
    try:
        if os.access(str(work), os.W_OK):
            pytest.skip("the user may write everywhere")
        assert fails(capsys, "--digits", digits, *MEAN) == "c: Permission denied"
        assert fails(capsys, *MEAN) == "digits: Permission denied"
    finally:
        os.chmod(str(work), 0o755)


def any_json(rng, depth=0):
    """A random JSON value, which may be one that a setting can have."""
    values = [None, True, 0, -1, 3, 8, 2**31, 10**400, 2.5, 0.0, -0.5, float("nan"), float("inf"), 1e300]
    values += ["", "mean", "gru", "all", "\ud800\x1b[31m", "x" * 5000, [], {}, [9, 6], ["rgb", "audio"], ["rgb", "rgb"]]
    number = rng.randint(len(values) + (4 if depth < 5 else 0))
    if number < len(values):
        return values[number]
    parts = [any_json(rng, depth + 1) for _ in range(rng.randint(4))]
    return parts if number % 2 else {str(key): part for key, part in enumerate(parts)}


@pytest.mark.parametrize("seed", range(30))
def test_kept_settings_of_any_content_are_used_or_named(seed, work):
    rng = np.random.RandomState(seed)
    names = ["preset", "seed", "steps", "unknown", *settings.model_values(settings.of_preset("mean"))]
    kept = {names[rng.randint(len(names))]: any_json(rng) for _ in range(1 + seed % 4)}
    text = json.dumps(kept)
    if seed % 10 == 9:
        text = text[: rng.randint(len(text))] + "[" * rng.randint(2, 5000)
    pathlib.Path("c").mkdir()
    pathlib.Path("c", settings.FILE).write_text(text)
    options = argparse.Namespace(checkpoint="c")
    try:
        chosen = settings.settle(options, saved=True)
    except errors.UserError as error:
        assert len(str(error)) < 500 and ("settings.json: " in str(error) or "feature_sizes: " in str(error))
    else:
        frames = tf.zeros([2, 3, sum(chosen.data.feature_sizes)])
        try:
            model.build(frames, None, chosen.data, chosen.architecture, is_training=False)
        except errors.UserError as error:
            assert "clusters: " in str(error)


@pytest.mark.long
def test_measure(work, capsys):
    measure.main(
        ["--clusters", "2", "--hidden-size", "2", "--num-classes", "3", "--batch-size", "2", "--videos", "8"]
        + ["--max-frames", "4", "--iterations", "4", "--feature-sizes", "5,2", "--steps", "2"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("gated-netvlad: ") and "for its input" in lines[1]
    assert not os.listdir(".")


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--preset", "nettvlad"], "argument --preset: invalid choice: 'nettvlad'"),
        (["--data", "none*"], "none*: no files match"),
        (["--feature-names", "rgb"], "feature_sizes: expected one for each of rgb, got 9,6"),
        (["--feature-sizes", "9,7"], "digits/train00.tfrecord: video digit"),
        (["--feature-names", "rgb,sound"], "digits/train00.tfrecord: video digit"),
        (["--towers", "3"], "batch_size: expected a multiple of towers = 3, got 64"),
        (["--clusters", "2.5"], "argument --clusters: expected a positive integer, got 2.5"),
        (["--seed", str(2**70)], f"argument --seed: expected an integer from 0 to 2147483647, got {2**70}"),
        (["--cells", "0", "--preset", "gru"], "argument --cells: expected a positive integer, got 0"),
        (["--cells", "8"], "cells: expected a preset whose model has this, got gated-netvlad"),
        (["--clusters", "8", "--preset", "lstm"], "clusters: expected a preset whose model has this, got lstm"),
        (["--no-gating", "--preset", "gru"], "gating: expected a preset whose model has this, got gru"),
        (["--batch-norm-decay", "1"], "argument --batch-norm-decay: expected a number from 0 to below 1, got 1"),
        (["--clusters", "4", "--preset", "soft-dbow"], "clusters: expected at least 8, for feature audio, got 4"),
    ],
)
def test_bad_input(work, digits, capsys, flags, message):
    os.symlink(digits, "digits")
    assert fails(capsys, *flags).startswith(message)
    assert os.listdir(".") == ["digits"]


@pytest.mark.long
def test_damage_that_is_met_in_training_is_reported(work, digits, capsys):
    data = pathlib.Path(digits, "train00.tfrecord").read_bytes()
    pathlib.Path("bad.tfrecord").write_bytes(data[:-9])
    flags = ["--data", "bad.tfrecord", "--num-classes", "10", "--feature-sizes", "9,6", *MEAN]
    flags += ["--frame-sampling", "all", "--max-frames", "36", "--batch-size", "64", "--steps", "30"]
    message = fails(capsys, *flags)
    assert message.lstrip("./").startswith("bad.tfrecord: corrupt or truncated: the readable records have ")
    train.main([*flags, "--skip-corrupt"])
    assert values("c")["global_step"] == 30
    assert "1 so far" in capsys.readouterr().err


# The description of a cluster.


@pytest.mark.parametrize(
    "spec, job, index",
    [
        ({"ps": ["a:1"]}, "ps", 0),
        ({"worker": ["a:1", "b:1"]}, "worker", 0),
        ({"ps": ["a:1"], "worker": ["b:1"]}, "worker", 1),
        ({"ps": ["a:1"], "worker": ["b:1"]}, "evaluator", 0),
        ({"ps": ["a:1"], "chief": ["b:1", "c:1"]}, "chief", 0),
        ({"ps": [1], "chief": ["b:1"]}, "chief", 0),
        ("a:1", "ps", 0),
    ],
)
def test_a_malformed_cluster(monkeypatch, spec, job, index):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": spec, "task": {"type": job, "index": index}}))
    with pytest.raises(errors.UserError, match="^TF_CONFIG: expected JSON with cluster and task"):
        cluster.from_environment(1)


@pytest.mark.parametrize("address", ["here", "a:65536", "a:0", "a b:1"])
def test_a_malformed_address(address):
    with pytest.raises(errors.UserError, match=f"^TF_CONFIG: {address}: expected HOST:PORT$"):
        cluster.Cluster({"ps": ["a:1", address], "chief": ["b:1"]}, "ps", 0)


ENDLESS = '{"cluster": {"ps": ["a:1"], "worker": ["b:1"]}, "task": {"type": "ps", "index": 1e999}}'
NESTED = pytest.param('{"cluster": ' * 100000, id="nested")


@pytest.mark.parametrize("text", ["{", "[1]", NESTED, ENDLESS, '{"cluster": {"ps": ["a:1"], "worker": ["b:1"]}}'])
def test_a_malformed_environment(work, capsys, monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert fails(capsys).startswith("TF_CONFIG: expected JSON with cluster and task")
    assert not os.listdir(".")


@pytest.mark.parametrize("job", ["chief", "master", "worker"])
def test_one_process_is_not_a_cluster(monkeypatch, job):
    text = json.dumps({"cluster": {job: ["localhost:2222"]}, "task": {"type": job, "index": 0}, "environment": "cloud"})
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster.from_environment(1) is None
