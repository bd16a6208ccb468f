"""The commands of examples/youtube8m/README.md run one after the other, on small models and records."""

import importlib
import pathlib
import re
import shlex
import shutil

import numpy as np
import pytest
from support.youtube8m import GOLDENS
from yt8m import submission, writing

README = pathlib.Path(__file__).resolve().parents[2] / "examples" / "youtube8m" / "README.md"
TEXT = README.read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S) for line in block.splitlines()]

SMALL = "--clusters 4 --hidden-size 8 --num-classes 20"  # like the golden model
FEW = "--batch-size 3 --iterations 10 --steps 2"


def changes(command):
    """The flags that make a command small. They override its own."""
    if "compare.py" in command:
        return "--presets mean,netfv --steps 2"
    if "measure.py" in command:
        return f"{SMALL} {FEW} --videos 4 --shards 1 --max-frames 4"
    if "--checkpoint gated" in command:
        return f"{SMALL} --checkpoint {GOLDENS / 'gated_netvlad' / 'model.ckpt'}"
    if "train.py" in command:
        return f"{SMALL} {FEW}" if "--data" in command else "--steps 2"
    return ""


def run(command):
    python, script, *arguments = shlex.split(command)
    assert python == "python" and script.startswith("examples/youtube8m/")
    importlib.import_module(pathlib.PurePosixPath(script).stem).main(arguments + changes(command).split())


def videos_of(file):
    return [row[0] for row in submission.read(file)]


def write_videos(rng):
    pathlib.Path("data").mkdir()
    for split, labels in [("train", [3, 19]), ("validate", [3]), ("test", None)]:
        videos = []
        for number in range(6):
            features = {"rgb": rng.randint(0, 256, [20, 1024]), "audio": rng.randint(0, 256, [20, 128])}
            features = {name: values.astype(np.uint8) for name, values in features.items()}
            videos.append(writing.example(b"%s%d" % (split.encode("ascii"), number), features, labels))
        writing.write(f"data/{split}00.tfrecord", videos)


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.long
def test_commands_on_the_digits(work):
    install, *commands = COMMANDS
    assert install == 'python -m pip install -e ".[examples]"'
    for command in commands[: next(number for number, command in enumerate(commands) if "--data" in command)]:
        run(command)
    assert len(videos_of("gated-netvlad.csv")) == len(videos_of("netfv.csv")) == len(videos_of("ensemble.csv")) == 257


@pytest.mark.long
def test_commands_on_records_of_the_real_sizes(work, rng):
    write_videos(rng)
    commands = [command for command in COMMANDS if "data/" in command or "measure.py" in command]
    assert len(commands) == 7
    for command in commands:
        run(command)
    for file in ("submission.csv", "gated-netvlad.csv", "released.csv"):
        assert videos_of(file) == [f"test{number}" for number in range(6)]
    average = next(command for command in COMMANDS if "lstm.csv" in command)
    for file in average.split()[3:9]:
        shutil.copy("gated-netvlad.csv", file)
    run(average)
    assert {row[0]: len(row[1]) for row in submission.read("submission.csv")} == dict.fromkeys(videos_of("gru.csv"), 20)


@pytest.mark.long
def test_commands_on_features_of_the_users(work):
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    exec(compile(snippet, "README.md", "exec"), {})
    for command in [command for command in COMMANDS if "own/" in command]:
        run(command)
    for file in ("own.csv", "own-released.csv"):
        assert videos_of(file) == [f"video{number:03}" for number in range(80, 100)]


def test_flags_exist(capsys):
    known = set()
    for name in ("train", "evaluate", "predict", "ensemble", "compare"):
        with pytest.raises(SystemExit, match="0"):
            importlib.import_module(name).main(["--help"])
        known.update(re.findall(r"--[a-z][a-z0-9-]+", capsys.readouterr().out))
    named = set(re.findall(r"(?<!\S)`?(--[a-z][a-z-]+)", TEXT))
    assert len(named) > 10 and named <= known
