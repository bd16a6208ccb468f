"""examples/youtube8m/README.md: its commands run one after the other, and its tables and flags are the programs'."""

import importlib
import pathlib
import re
import shlex

import numpy as np
import pytest
from yt8m import commandline, errors, flags, presets, records, settings, submission

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "examples" / "youtube8m" / "README.md").read_text(encoding="utf-8")
GOLDENS = ROOT / "tests" / "goldens" / "youtube8m"
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S) for line in block.splitlines()]
PROGRAMS = ["train", "evaluate", "predict", "ensemble", "compare", "prepare_digits"]

# Of the golden model.
SMALL = "--clusters 4 --hidden-size 8 --num-classes 20"


def run(command, *changes):
    """Runs a command of the README in this process; what `changes` say counts more."""
    python, script, *arguments = shlex.split(command)
    assert python == "python" and script.startswith("examples/youtube8m/")
    program = importlib.import_module(pathlib.PurePosixPath(script).stem)
    program.main(arguments + [argument for change in changes for argument in change.split()])


def table(text, header):
    """The cells of the Markdown table of the text whose first title is `header`."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {header} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0]] + rows[2:]


def write_videos(directory, rng):
    directory.mkdir()
    for split, labels in [("train", [3, 19]), ("validate", [3]), ("test", None)]:
        videos = []
        for number in range(6):
            features = {"rgb": rng.randint(0, 256, [20, 1024]), "audio": rng.randint(0, 256, [20, 128])}
            features = {name: values.astype(np.uint8) for name, values in features.items()}
            videos.append(records.example(b"%s%d" % (split.encode("ascii"), number), features, labels))
        records.write(str(directory / (split + "00.tfrecord")), videos)


DIGITS_COMMANDS = COMMANDS[: next(number for number, command in enumerate(COMMANDS) if "--data" in command)]


def test_commands_on_the_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    install, *commands, _ = DIGITS_COMMANDS
    assert install == 'python -m pip install -e ".[examples]"'
    for command in commands:
        run(command, *["--steps 2"] if "train.py" in command else [])
    written = {path.stem: list(submission.read(str(path))) for path in map(pathlib.Path, tmp_path.glob("*.csv"))}
    assert sorted(written) == ["ensemble", "gated-netvlad", "netfv"]
    assert {len(rows) for rows in written.values()} == {257}


@pytest.mark.long
def test_comparison_of_the_digits(tmp_path, capsys, monkeypatch):
    """What has been trained before, with other steps and seeds, does not count."""
    monkeypatch.chdir(tmp_path)
    _, first, *_, comparison = DIGITS_COMMANDS
    run(first, "--steps 2")
    capsys.readouterr()
    run(comparison, "--presets gated-netvlad,mean --steps 60")
    rows = table(capsys.readouterr().out, "model")
    assert rows[0] == table(README, "model")[0]
    gaps = {row[0]: float(row[1]) for row in rows[1:]}
    assert list(gaps) == ["gated-netvlad", "mean"]  # no average of one
    assert gaps["gated-netvlad"] >= gaps["mean"] + 0.1


@pytest.mark.long
def test_digits_are_learnt_as_the_table_says(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(DIGITS_COMMANDS[-1])
    (titles, *rows), (_, *expected) = table(capsys.readouterr().out, "model"), table(README, "model")
    assert [row[0] for row in rows] == [row[0] for row in expected] == [*presets.PRESETS, "average of 7"]
    for row, known in zip(rows, expected):
        for title, came, figure in zip(titles[1:5], row[1:5], known[1:5]):
            assert abs(float(came) - float(figure)) <= 0.03, (row[0], title, came, figure)


def test_commands_on_records_of_the_real_sizes(tmp_path, capsys, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path / "data", rng)
    training, evaluation, prediction = [command for command in COMMANDS if "--data" in command][:3]
    released = next(command for command in COMMANDS if "--output released.csv" in command)
    run(training, SMALL, "--steps 2 --batch-size 3 --iterations 10")
    run(evaluation)
    run(prediction)
    assert [row[0] for row in submission.read("submission.csv")] == [f"test{number}" for number in range(6)]
    # The golden model in place of the released one.
    run(released, SMALL, "--checkpoint " + str(GOLDENS / "gated_netvlad" / "model.ckpt"))
    assert len(list(submission.read("released.csv"))) == 6


SUBMISSION_COMMANDS = [
    command
    for command in COMMANDS[len(DIGITS_COMMANDS) :]
    if "ensemble" in command or "validate*" in command and "train.py" in command or "--top 50" in command
]
# Of golden models, by preset.
SMALL_SUBMISSION = {
    "gated-netvlad": "--clusters 4 --hidden-size 8",
    "gated-netrvlad": "--clusters 4 --hidden-size 8",
    "gated-netfv": "--clusters 4 --hidden-size 8",
    "gated-soft-dbow": "--clusters 8 --hidden-size 8",
    "soft-dbow": "--clusters 8 --hidden-size 8",
    "gru": "--cells 8",
    "lstm": "--cells 8",
}


def test_submission_is_that_of_the_presets():
    *commands, average = SUBMISSION_COMMANDS
    assert len(commands) == 14 and average.split()[2:9] == [f"{preset}.csv" for preset in presets.SUBMISSION]
    rows = table(README, "training")[1:]
    assert [row[0].strip("`") for row in rows] == list(presets.SUBMISSION) == list(SMALL_SUBMISSION)
    for row, training, prediction in zip(rows, commands[:7], commands[7:]):
        preset = row[0].strip("`")
        options = [parse(shlex.split(command)[2:]) for command, parse in [
            (training, flags.training("").parse_args),
            (prediction.replace("--top 50 ", "").split(" --output")[0], flags.inference("", "test").parse_args),
        ]]  # fmt: skip
        assert [one.preset for one in options] == [preset] * 2 and f"--output {preset}.csv" in prediction
        trained, predicted = map(settings.settle, options)
        assert f"{trained.steps:,}" == row[2] and str(trained.batch_size) == row[3]
        assert (row[1] == "") == (trained.steps == dict(presets.PUBLISHED, **presets.PRESETS[preset])["steps"])
        assert str(predicted.batch_size) == row[4]
        assert predicted.batch_statistics == (preset not in ("gru", "lstm"))


@pytest.mark.long
def test_submission_on_small_models(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path / "data", rng)
    for command in SUBMISSION_COMMANDS[:-1]:
        preset = shlex.split(command)[3 + shlex.split(command)[2:].index("--preset")]
        run(
            command,
            SMALL_SUBMISSION[preset],
            "--num-classes 60",
            "--steps 2 --batch-size 3" if "train.py" in command else "",
        )
    run(SUBMISSION_COMMANDS[-1])
    assert all(len(classes) == 50 for _, classes, _ in submission.read("gru.csv"))
    rows = list(submission.read("submission.csv"))
    assert [row[0] for row in rows] == [f"test{number}" for number in range(6)]
    assert all(len(classes) == 20 for _, classes, _ in rows)


def test_own_features(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
    exec(compile(snippet, "README.md", "exec"), {})
    training, evaluation, prediction, released = [command for command in COMMANDS if "own/" in command]
    run(training, "--clusters 4 --hidden-size 8", "--steps 2 --batch-size 8 --iterations 10")
    run(evaluation)
    run(prediction)
    # The golden model in place of the released one.
    run(released, SMALL, "--checkpoint " + str(GOLDENS / "gated_netvlad" / "model.ckpt"))
    for file in ("own.csv", "own-released.csv"):
        assert [row[0] for row in submission.read(file)] == [f"video{number:03}" for number in range(80, 100)]


def test_measuring(capsys):
    (command,) = [command for command in COMMANDS if "measure.py" in command]
    run(command, SMALL, "--batch-size 2 --videos 4 --shards 1 --max-frames 4 --iterations 4 --steps 1")
    assert "waits" in capsys.readouterr().out


def test_all_commands_are_run():
    assert len(COMMANDS) == README.count("python examples/youtube8m/") + README.count("python -m pip")
    assert len(COMMANDS) == 32


def test_published_table_is_that_of_the_presets():
    rows = table(README, "preset")
    assert [row[0].strip("`") for row in rows[1:]] == list(presets.PRESETS)
    for row in rows[1:]:
        preset = dict(presets.PUBLISHED, **presets.PRESETS[row[0].strip("`")])
        assert row[2] == str(preset["clusters"] or preset["cells"] or "")
        words = {True: "yes", False: "no", None: ""}
        assert row[3:5] == [words[preset[name]] for name in ("gating", "probability_gating")]
        assert float(row[5]) == preset["moe_l2"]
        assert int(row[6].replace(",", "")) == preset["steps"]


def test_table_of_values_is_that_of_the_presets():
    header, *rows = table(README, "flag")
    assert header == ["flag", "published", "digits"]
    named = [row[0].strip("`").lstrip("-").replace("-", "_") for row in rows]
    assert set(presets.DIGITS) <= set(named) <= set(dict(presets.PUBLISHED, clusters=None))
    for name, (_, *cells) in zip(named, rows):
        for cell, digits in zip(cells, [{}, presets.DIGITS]):
            models = [dict(presets.PUBLISHED, **preset) for preset in presets.PRESETS.values()]
            values = {digits.get(name, model[name]) for model in models if model[name] is not None}
            if cell == "by preset":
                assert len(values) > 1, name
            else:
                (value,) = values
                assert cell == (",".join(map(str, value)) if isinstance(value, tuple) else str(value)), name


def test_digits_table_has_all_models():
    header, *rows = table(README, "model")
    assert [row[0] for row in rows] == [*presets.PRESETS, "average of 7"]
    gaps = {row[0]: float(row[header.index("GAP")]) for row in rows}
    assert gaps["gated-netvlad"] >= 0.97 and gaps["mean"] < 0.9
    assert gaps["average of 7"] >= max(gaps[preset] for preset in presets.SUBMISSION)


def test_flags_exist(capsys):
    known = set()
    for name in PROGRAMS:
        with pytest.raises(SystemExit, match="0"):
            importlib.import_module(name).main(["--help"])
        known.update(re.findall(r"--[a-z][a-z0-9-]+", capsys.readouterr().out))
    named = set(re.findall(r"(?<!\S)`?(--[a-z][a-z-]+)", README))
    assert len(named) > 10 and named <= known


@pytest.mark.parametrize(
    "arguments, cause",
    [
        (["--presets", "netfv,best"], "argument --presets: expected some of gated-netvlad"),
        (["--presets", "netfv,netfv"], "argument --presets: expected different names"),
        (["--steps", "0"], "argument --steps: expected a positive integer, got 0"),
    ],
)
def test_bad_arguments_of_compare_are_named(tmp_path, monkeypatch, capsys, arguments, cause):
    monkeypatch.chdir(tmp_path)
    compare = importlib.import_module("compare")
    monkeypatch.setattr("sys.argv", ["compare.py"] + arguments)
    with pytest.raises(SystemExit) as exit:
        commandline.run(compare.main)
    assert exit.value.code == 2
    output, error = capsys.readouterr()
    assert cause in error and error.count("\n") == 1 and not output
    assert not list(tmp_path.iterdir())


def test_comparing_again_trains_nothing_and_mixes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    compare = importlib.import_module("compare")
    arguments = ["--presets", "mean", "--steps", "2"]
    compare.main(arguments)
    first = capsys.readouterr().out
    compare.main(arguments)
    assert capsys.readouterr().out == first
    with pytest.raises(errors.UserError, match="expected a training with --seed 2, got one with --seed 1"):
        compare.main(arguments + ["--seed", "2", "--checkpoints", "checkpoints/seed-1"])
    with pytest.raises(errors.UserError, match="mean: expected a model of 1 steps, got one of 2"):
        compare.main(["--presets", "mean", "--steps", "1"])
