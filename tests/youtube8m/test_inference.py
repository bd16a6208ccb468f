"""evaluate.py and predict.py: their figures against a graph that the test builds itself, and bad input."""

import argparse
import dataclasses
import io
import json
import os
import pathlib
import re
import shutil
import sys

import evaluate
import numpy as np
import predict
import pytest
import tensorflow.compat.v1 as tf
import train
from support.youtube8m import GOLDENS, MODELS
from yt8m import (
    checkpoints,
    commandline,
    digits,
    errors,
    flags,
    inference,
    metrics,
    model,
    records,
    submission,
    writing,
)
from yt8m import settings as kept

SMALL = {"clusters": 8, "hidden_size": 16}


def save(directory, step=7, seed=1, scale=1.0, **values):
    """Saves a model of the digits with random variables, as a training run would, and returns the checkpoint's name."""
    given = dict(SMALL, checkpoint=str(directory), digits=str(directory / "digits"))
    options = flags.inference("", "validate").parse_args([], argparse.Namespace(**dict(given, **values)))
    settings = kept.settle(options)
    digits.provide(settings.data, "validate")
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        frames = tf.placeholder(tf.float32, [None, settings.data.max_frames, sum(settings.data.feature_sizes)])
        model.build(frames, tf.placeholder(tf.int32, [None]), settings.data, settings.architecture, False)
        session.run(tf.global_variables_initializer())
        rng = np.random.RandomState(seed)
        for variable in tf.global_variables():
            # So that the moving averages differ from their initial values.
            noise = rng.uniform(0.5, 1.5, variable.shape.as_list()) * scale
            session.run(variable.assign(variable * noise + 0.1 * noise))
        session.run(tf.train.create_global_step().assign(step))
        os.makedirs(str(directory), exist_ok=True)
        name = tf.train.Saver().save(session, str(directory / "model.ckpt"), global_step=step)
    kept.save(settings)
    return name


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory with digits, and a checkpoint."""
    directory = tmp_path_factory.mktemp("saved")
    save(directory)
    return directory


@pytest.fixture
def work(saved, tmp_path, monkeypatch):
    """The current directory, a copy of `saved` that a test may change."""
    directory = tmp_path / "work"
    shutil.copytree(str(saved), str(directory))
    # TensorFlow keeps absolute names.
    state = directory / "checkpoint"
    state.write_text(state.read_text().replace(str(saved), str(directory)))
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def empty(saved, tmp_path, monkeypatch):
    """The current directory, which has only the digits."""
    (tmp_path / "digits").symlink_to(saved / "digits")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outputs(directory, split, is_training=False):
    """Ids, labels and predictions of a whole split, by a graph in which it is one batch."""
    files = [str(directory / "digits" / (split + "*"))]
    settings = kept.settle(argparse.Namespace(checkpoint=str(directory), **SMALL))
    data = dataclasses.replace(settings.data, files=files, batch_size=1000, readers=1)
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(records.dataset(data))
        batch = iterator.get_next()
        built = model.build(batch["frames"], batch["num_frames"], data, settings.architecture, is_training)
        tf.train.Saver().restore(session, tf.train.latest_checkpoint(str(directory)))
        session.run(iterator.initializer)
        return session.run([batch["id"], batch["labels"], built.predictions])


def evaluated(capsys, *arguments):
    """The evaluations that evaluate.py prints as JSON."""
    evaluate.main(["--checkpoint", ".", "--json"] + list(arguments))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def predicted(*arguments):
    """What predict.py writes, in the order of the file, by video."""
    predict.main(["--checkpoint", "."] + list(arguments))
    return {video: (classes, scores) for video, classes, scores in submission.read("predictions.csv")}


def test_evaluation_is_that_of_the_whole_split(work, capsys):
    _, labels, predictions = outputs(work, "validate")
    expected = metrics.Metrics(10)
    entropies = np.where(labels, np.log(predictions + 1e-5), np.log(1 - predictions + 1e-5))
    expected.add(predictions, labels, -entropies.sum(axis=1).mean())
    expected = expected.result()
    assert expected["videos"] == 257
    (result,) = evaluated(capsys, "--batch-size", "50")
    assert result.pop("checkpoint") == str(work / "model.ckpt-7")
    assert sorted(result) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(result[name], value, rtol=2e-6, err_msg=name)
    evaluate.main(["--checkpoint", str(work / "model.ckpt-7")])
    assert capsys.readouterr().out == (
        "{}: GAP {gap:.5f}, MAP {map:.5f}, Hit@1 {hit_at_one:.5f}, PERR {perr:.5f}, loss {loss:.5f}, "
        "of {videos} videos\n".format(work / "model.ckpt-7", **result)
    )


def test_predictions_are_those_of_the_whole_split(work):
    videos, _, predictions = outputs(work, "test")
    result, best = predicted("--batch-size", "50"), predicted("--top", "3")
    assert sorted(result) == sorted(video.decode("ascii") for video in videos)
    for video, row in zip(videos, predictions):
        classes, scores = result[video.decode("ascii")]
        assert sorted(classes) == list(range(10))
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_allclose(scores, row[classes], rtol=0, atol=2e-6)
        assert best[video.decode("ascii")][0] == classes[:3]


@pytest.mark.long
def test_batch_statistics_are_those_of_the_batch(work):
    videos, labels, predictions = outputs(work, "test", is_training=True)
    in_one_batch = predicted("--batch-statistics", "--batch-size", "1000")
    for video, row in zip(videos, predictions):
        classes, scores = in_one_batch[video.decode("ascii")]
        np.testing.assert_allclose(scores, row[classes], rtol=0, atol=1e-5)
    averages, in_batches = predicted(), predicted("--batch-statistics", "--batch-size", "50")
    assert in_one_batch != averages and in_one_batch != in_batches


@pytest.mark.long
def test_each_new_checkpoint_is_evaluated(work, capsys, monkeypatch):
    metrics_of = inference.evaluate

    def save_another(settings, checkpoint, batch_statistics):
        result = metrics_of(settings, checkpoint, batch_statistics)
        if checkpoint.endswith("-7"):
            save(work, step=8, seed=2)
        return result

    monkeypatch.setattr(inference, "evaluate", save_another)
    first, second = evaluated(capsys, "--continuous", "--timeout", "1")
    assert [pathlib.Path(result["checkpoint"]).name for result in (first, second)] == ["model.ckpt-7", "model.ckpt-8"]
    assert first["gap"] != second["gap"]


@pytest.mark.long
def test_the_last_checkpoint_of_a_training_is_not_followed(empty, capsys, monkeypatch):
    save(empty, step=6, steps=7)

    def names(*_, **__):
        yield str(empty / "model.ckpt-6")
        yield save(empty, step=7, steps=7)
        raise AssertionError

    monkeypatch.setattr(tf.train, "checkpoints_iterator", names)
    assert [result["checkpoint"][-2:] for result in evaluated(capsys, "--continuous")] == ["-6", "-7"]


RECURRENT = {"clusters": None, "hidden_size": None, "cells": 8}


@pytest.mark.parametrize(
    "preset, sizes",
    [
        pytest.param("gated-netrvlad", {}, marks=pytest.mark.long),
        pytest.param("gated-netfv", {}, marks=pytest.mark.long),
        pytest.param("gated-soft-dbow", {}, marks=pytest.mark.long),
        pytest.param("soft-dbow", {}, marks=pytest.mark.long),
        ("gru", RECURRENT),
        pytest.param("lstm", RECURRENT, marks=pytest.mark.long),
        ("mean", {"clusters": None}),
    ],
)
def test_other_presets_predict_digits_of_different_lengths(empty, preset, sizes):
    save(empty, preset=preset, **sizes)
    assert len(predicted()) == 257


@pytest.mark.parametrize("cell, other", [("gru", "lstm"), pytest.param("lstm", "gru", marks=pytest.mark.long)])
def test_a_checkpoint_of_the_other_cell_is_refused(empty, monkeypatch, capsys, cell, other):
    save(empty, preset=other, **RECURRENT)
    error = error_of(empty, predict, monkeypatch, capsys, ["--preset", cell])
    kernel = {"gru": "gru_cell/candidate", "lstm": "basic_lstm_cell"}[cell] + "/kernel"
    missing = f"RNN/rnn/multi_rnn_cell/cell_0/{kernel} is missing where the model has ["
    assert f"model.ckpt-7: of another architecture: {missing}" in error
    assert f" more. It was trained with preset {other}, " in error and "cells 8" in error


def test_a_single_checkpoint_is_not_waited_for(work, monkeypatch, capsys):
    for name in ("model.ckpt-7", kept.FILE):
        message = error_of(work, evaluate, monkeypatch, capsys, ["--continuous", "--checkpoint", name])
        assert f"continuous: expected a directory of checkpoints, got {name}" in message


def test_ids_that_are_not_text_are_named(work, monkeypatch, capsys):
    features = {name: np.ones([2, size], np.uint8) for name, size in [("rgb", 9), ("audio", 6)]}
    writing.write("strange.tfrecord", [writing.example(b"v\xff", features)])
    message = error_of(work, predict, monkeypatch, capsys, ["--data", "strange.tfrecord"])
    problem = "expected an id of printable UTF-8, as in submission files"
    assert rf"strange.tfrecord: video v\udcff: {problem}" in message


def test_ids_that_no_submission_has_are_skipped(work, capsys):
    features = {name: np.ones([2, size], np.uint8) for name, size in [("rgb", 9), ("audio", 6)]}
    for name in ("a", "b"):
        writing.write(name, [writing.example(video, features) for video in (b"v\xff", b"w", name.encode("ascii"))])
    predict.main(["--checkpoint", ".", "--data", "a", "b", "--skip-corrupt", "--output", "o.csv"])
    output, error = capsys.readouterr()
    assert output.startswith("o.csv: 3 videos, by ")
    assert error.count("skipped it") == 3 and "video w: expected each id once, as in submission files" in error
    assert [row[0] for row in submission.read("o.csv")] == ["w", "a", "b"]


def test_waiting_may_begin_before_the_training(empty, capsys, monkeypatch):
    # Only the settings that are saved with the model describe it.
    monkeypatch.setattr(
        tf.train,
        "checkpoints_iterator",
        lambda *_, **__: iter([save(empty, preset="mean", clusters=None, hidden_size=5)]),
    )
    (result,) = evaluated(capsys, "--continuous")
    assert result["checkpoint"] == str(empty / "model.ckpt-7")


def test_a_home_directory_in_the_name_of_a_checkpoint(work, capsys, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(work.parent))
    (result,) = evaluated(capsys, "--checkpoint", os.path.join("~", work.name))
    assert result["checkpoint"] == str(work / "model.ckpt-7")


def test_published_checkpoints_are_restored_by_name(tmp_path, capsys, rng, monkeypatch):
    """As the README does with the released one, by the flags that make its preset as small as the golden model."""
    monkeypatch.chdir(tmp_path)
    features = {"rgb": 1024, "audio": 128}
    for split, labels in [("validate", [1, 7]), ("test", None)]:
        videos = [
            writing.example(
                b"video%d" % number,
                {name: rng.randint(0, 256, [12, size]).astype(np.uint8) for name, size in features.items()},
                labels,
            )
            for number in range(5)
        ]
        writing.write(split + ".tfrecord", videos)
    golden = str(GOLDENS / "gated_netvlad" / "model.ckpt")
    flags = ["--checkpoint", golden, "--preset", "gated-netvlad"]
    variables = MODELS["gated_netvlad"]["variables"]
    shapes = {variable["name"]: variable["shape"] for variable in variables}
    flags += ["--clusters", str(shapes["video_VLAD/cluster_weights"][1])]
    flags += ["--hidden-size", str(shapes["hidden1_weights"][1])]
    flags += ["--num-classes", str(shapes["gating_prob_weights"][0])]
    evaluate.main(flags + ["--json", "--data", "validate.tfrecord"])
    result = json.loads(capsys.readouterr().out)
    assert result["checkpoint"] == golden and result["videos"] == 5 and 0 < result["gap"] < 1
    predict.main(flags + ["--data", "test.tfrecord"])
    assert [video for video, _, _ in submission.read("predictions.csv")] == [f"video{number}" for number in range(5)]


@pytest.mark.parametrize(
    "program, arguments, cause",
    [
        (evaluate, ["--data", "none*.tfrecord"], "none*.tfrecord: no files match"),
        (evaluate, ["--checkpoint", "nowhere"], "nowhere: no checkpoint"),
        (evaluate, ["--checkpoint", "model.ckpt-8"], "model.ckpt-8: no checkpoint"),
        (evaluate, ["--clusters", "4"], "audio_VLAD/cluster_weights is [6, 4] where the model has [6, 2]"),
        (evaluate, ["--clusters", "4", "--relu"], "more. It was trained with clusters 8, relu False\n"),
        (evaluate, ["--preset", "mean"], "hidden1_weights is [96, 16] where the model has [15, 64]"),
        (
            evaluate,
            ["--preset", "mean"],
            "It was trained with preset gated-netvlad, pooling netvlad, clusters 8, hidden_size 16",
        ),
        (evaluate, ["--data", "digits/test*"], "digits/test*: expected videos with labels, got none"),
        (evaluate, ["--num-classes", "5"], "expected labels from 0 to 4 (num_classes), got"),
        (evaluate, ["--timeout", "1"], "argument --timeout: expected --continuous with it"),
        (evaluate, ["--timeout", "-1"], "argument --timeout: expected a number of at least 0, got -1"),
        (predict, ["--preset", "best"], "argument --preset: invalid choice: 'best'"),
        (predict, ["--batch-size", "0"], "argument --batch-size: expected a positive integer, got 0"),
        (predict, ["--data", "digits/test*", "damaged.tfrecord"], "damaged.tfrecord: corrupt or truncated"),
        (predict, ["--output", "nowhere/predictions.csv"], "nowhere/predictions.csv: No such file or directory"),
        (predict, ["--output", "digits"], "digits: expected a file, got a directory"),
        (predict, ["--top", "0"], "argument --top: expected a positive integer, got 0"),
        (
            predict,
            ["--feature-sizes", "9,7"],
            "expected 7 bytes for each frame of feature audio (feature_sizes), got 6",
        ),
        (
            predict,
            ["--feature-names", "rgb,sound"],
            "expected a feature sound (feature_names) of frames, got audio, rgb",
        ),
    ],
)
def test_bad_input_is_named(work, monkeypatch, capsys, program, arguments, cause):
    whole = (work / "digits" / "test00.tfrecord").read_bytes()
    (work / "damaged.tfrecord").write_bytes(whole[:3000] + b"?" + whole[3001:])
    assert cause in error_of(work, program, monkeypatch, capsys, arguments)


def test_a_diverged_model_is_named(work, monkeypatch, capsys):
    name = save(work, step=9, scale=np.inf)
    assert f"{name}: expected finite predictions, got NaN" in error_of(work, predict, monkeypatch, capsys, [])


@pytest.mark.parametrize(
    "text, cause",
    [
        ("{", "expected JSON: Expecting property name"),
        pytest.param("[" * 100000, "recursion", id="nested"),
        ("[1]", "expected settings by name, got [1]"),
        ('{"preset": "best"}', "preset: expected one of gated-netvlad, "),
        ('{"preset": [1]}', "preset: expected one of gated-netvlad, "),
        ('{"pooling": "gru"}', "pooling: expected a value such as netvlad, got 'gru'"),
        ('{"feature_sizes": 7}', "feature_sizes: expected a value such as (1024, 128), got 7"),
        ('{"feature_names": [1]}', "feature_names: expected a value such as ('rgb', 'audio'), got (1,)"),
        ('{"clusters": "8"}', "clusters: expected a value such as 256, got '8'"),
        ('{"clusters": null}', "clusters: expected a value such as 256, got None"),
        ('{"clusters": 1e400}', "clusters: expected a value such as 256, got inf"),
        ('{"moe_l2": NaN}', "moe_l2: expected a value such as 1e-06, got nan"),
        ('{"gating": 1}', "gating: expected a value such as True, got 1"),
        ('{"cells": 3}', "cells: expected a value such as None, got 3"),
        ('{"frame_sampling": "some"}', "frame_sampling: expected a value such as random, got 'some'"),
        ('{"seed": "x"}', "seed: expected a value such as 0, got 'x'"),
        ('{"steps": "many"}', "steps: expected a value such as 300000, got 'many'"),
    ],
)
def test_malformed_settings_are_named(work, monkeypatch, capsys, text, cause):
    (work / kept.FILE).write_text(text)
    error = error_of(work, evaluate, monkeypatch, capsys, [])
    assert error.startswith(f"evaluate.py: error: {os.path.join('.', kept.FILE)}: ") and cause in error


@pytest.mark.parametrize("end", ["index", "meta", "data-00000-of-00001"])
def test_checkpoints_are_named_by_any_of_their_files(work, end):
    assert checkpoints.latest(f"model.ckpt-7.{end}") == "model.ckpt-7"


STATES = ["missing", "of another place", "of a missing place", "of another step", "empty", "binary", "of no name"]


@pytest.mark.parametrize("state", STATES)
def test_checkpoints_that_their_state_does_not_name_are_reported(work, tmp_path, saved, state):
    if state == "missing":
        (work / "checkpoint").unlink()
    else:
        names = {"of another place": str(saved / "model.ckpt-7"), "of a missing place": "/nowhere/model.ckpt-7"}
        names.update({"of another step": "model.ckpt-6", "of no name": ""})
        contents = {"empty": b"", "binary": bytes(range(256))}
        content = contents.get(state, f'model_checkpoint_path: "{names.get(state)}"'.encode("utf-8"))
        (work / "checkpoint").write_bytes(content)
    for path in (".", str(work), f"{work}/"):
        message = f"^{re.escape(path)}: expected a file `checkpoint` that names one of these checkpoints: model.ckpt-7$"
        for function in (checkpoints.latest, checkpoints.latest_or_none):
            with pytest.raises(errors.UserError, match=message):
                function(path)


def test_a_checkpoint_without_settings_is_not_known_to_be_the_last():
    """The golden's checkpoint does not have the number of its step either."""
    assert not checkpoints.is_last(str(GOLDENS / "gated_netvlad" / "model.ckpt"))


def test_a_directory_without_checkpoints_has_none(tmp_path):
    assert checkpoints.latest_or_none(str(tmp_path)) is None
    assert checkpoints.latest_or_none(str(tmp_path / "nowhere")) is None


def test_the_latest_checkpoint_is_found_through_a_link(work, tmp_path):
    (tmp_path / "link").symlink_to(work)
    for path in (work, tmp_path / "link"):
        assert checkpoints.latest_or_none(f"{path}/") == str(work / "model.ckpt-7")


@pytest.mark.parametrize("program", [train, evaluate])
def test_a_checkpoint_whose_name_is_not_utf8_is_refused(work, monkeypatch, capsys, program):
    error = error_of(work, program, monkeypatch, capsys, ["--checkpoint", "c\udcff"])
    assert r"c\udcff: expected a name in UTF-8, and a locale whose encoding is UTF-8" in error


@pytest.mark.parametrize("name", ["c[1]", "c*", "c?", "c\\d"])
def test_what_tensorflow_takes_for_a_pattern_is_refused(work, monkeypatch, capsys, name):
    error = error_of(work, train, monkeypatch, capsys, ["--checkpoint", name])
    assert f"{name}: expected no {name[1]}, which TensorFlow takes for a pattern" in error


def test_names_are_used_as_they_are(work):
    strange = "{1} [2] *?\u00fc" + "\\" * (os.sep == "/")
    (work / "digits").rename(work / strange)
    directory = work / "c {1} \u00fc"
    directory.mkdir()
    for file in [*work.glob("model.ckpt*"), work / kept.FILE]:
        shutil.copy(str(file), str(directory))
    (directory / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"')
    (work / "link").symlink_to(directory.name)
    data = ["--data", os.path.join(strange, "test*"), os.path.join(strange, "validate00.tfrecord")]
    for checkpoint in (f"{directory.name}/", "link", os.path.join("link", "model.ckpt-7")):
        predict.main(["--checkpoint", checkpoint, "--output", f"o {strange}.csv", *data])
    assert len(list(submission.read(f"o {strange}.csv"))) == 257 + 129


def test_names_in_the_home_directory(work, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(work))
    (work / "digits").rename(work / "moved")
    predict.main(["--checkpoint", ".", "--digits", "~/moved", "--output", "~/o.csv"])
    assert len(list(submission.read("o.csv"))) == 257
    assert not (work / "digits").exists() and not (work / "~").exists()


def test_escapes_for_terminals_are_shown(work, monkeypatch, capsys):
    features = {"rgb": np.ones([2, 9], np.uint8), "audio": np.ones([1, 6], np.uint8)}
    writing.write("strange.tfrecord", [writing.example(b"v\x1b[31m\x07", features)])
    message = error_of(work, predict, monkeypatch, capsys, ["--data", "strange.tfrecord"])
    assert r"strange.tfrecord: video v\x1b[31m\x07: expected as many frames" in message


def test_names_that_the_output_cannot_encode_are_escaped(work, monkeypatch):
    (work / "モデル").mkdir()
    for file in work.glob("model.ckpt*"):
        shutil.copy(str(file), str(work / "モデル"))
    shutil.copy(kept.FILE, "モデル")
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--checkpoint", "モデル/model.ckpt-7"])
    with pytest.raises(SystemExit) as exit:
        commandline.run(evaluate.main)
    assert not exit.value.code
    assert output.buffer.getvalue().startswith(rb"\u30e2\u30c7\u30eb/model.ckpt-7: GAP ")


def test_a_checkpoint_without_its_files_is_named(work, monkeypatch, capsys):
    (work / "model.ckpt-7.index").unlink()
    for program in (train, evaluate):
        error = error_of(work, program, monkeypatch, capsys, [])
        assert "expected a file `checkpoint` that names one of these checkpoints: none" in error


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("program", [train, evaluate])
@pytest.mark.parametrize("name", ["pipe", "checkpoint", kept.FILE])
def test_pipes_are_not_waited_for(work, monkeypatch, capsys, program, name):
    if (work / name).exists():
        (work / name).unlink()
    os.mkfifo(name)
    error = error_of(work, program, monkeypatch, capsys, ["--checkpoint", name if name == "pipe" else "."])
    assert f"{name}: expected a file that can be read" in error


@pytest.mark.parametrize("flag", ["--checkpoint", "--digits"])
def test_addresses_are_refused(work, monkeypatch, capsys, flag):
    error = error_of(work, train, monkeypatch, capsys, [flag, "s3://bucket/c"])
    assert "s3://bucket/c: expected a file or a directory of this machine" in error


def test_a_slash_after_a_checkpoint_is_ignored(work, capsys):
    evaluate.main(["--checkpoint", "model.ckpt-7.index/"])
    assert capsys.readouterr().out.startswith("model.ckpt-7: GAP ")


def test_escapes_in_the_name_of_a_checkpoint_are_shown(work, capsys):
    strange = work / "a\x1b[31m\nb".replace("[", "")
    strange.mkdir()
    for file in [*work.glob("model.ckpt*"), work / kept.FILE]:
        shutil.copy(str(file), str(strange))
    evaluate.main(["--checkpoint", os.path.join(strange.name, "model.ckpt-7")])
    output = capsys.readouterr().out
    assert output.startswith(r"a\x1b31m\nb/model.ckpt-7: GAP ") and output.count("\n") == 1


def test_a_checkpoint_without_its_data_is_named(work, monkeypatch, capsys):
    for file in work.glob("*.data*"):
        file.unlink()
    error = error_of(work, evaluate, monkeypatch, capsys, [])
    assert error.endswith("model.ckpt-7.data-00000-of-00001; No such file or directory\n") and len(error) < 300


def test_the_name_of_a_checkpoint_is_not_a_directory_to_train_in(work, monkeypatch, capsys):
    error = error_of(work, train, monkeypatch, capsys, ["--checkpoint", "model.ckpt-7"])
    assert "model.ckpt-7: expected a directory, got a checkpoint" in error


def test_nothing_to_evaluate_is_an_error(work, monkeypatch, capsys):
    error = error_of(work, evaluate, monkeypatch, capsys, ["--checkpoint", "no", "--continuous", "--timeout", "0.1"])
    assert "no: no checkpoint within 0.1 seconds" in error


def test_a_cut_checkpoint_is_named(work, monkeypatch, capsys):
    for file in work.glob("*.data*"):
        file.write_bytes(file.read_bytes()[:100])
    assert "model.ckpt-7: " in error_of(work, evaluate, monkeypatch, capsys, [])


def error_of(work, program, monkeypatch, capsys, arguments):
    """The one line that a program writes to stderr. It writes nothing to stdout, and no files."""
    before = sorted(work.iterdir())
    monkeypatch.setattr(sys, "argv", [program.__file__, "--checkpoint", "."] + arguments)
    with pytest.raises(SystemExit) as exit:
        commandline.run(program.main)
    assert exit.value.code == 2
    output, error = capsys.readouterr()
    assert not output and ": error: " in error and error.count("\n") == 1
    assert sorted(work.iterdir()) == before
    return error
