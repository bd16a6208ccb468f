"""The memory that predict.py and ensemble.py take does not grow with the videos."""

import pathlib
import sys

import numpy as np
import predict
import pytest
import train
from support import child
from yt8m import submission, writing

FLAGS = "--preset mean --hidden-size 4 --feature-names rgb --feature-sizes 3 --num-classes 50 --max-frames 2".split()
FLAGS += ["--frame-sampling", "all", "--batch-size", "512"]
# A tenth of them, to compare with, has to fill what the input and TensorFlow's allocator keep.
FEW, MANY = 20000, 200000
SLACK = 2**25  # bytes; the predictions of the others alone take 72 MB, and their ids 10 MB

# Not by resource.getrusage, which tells a process of the memory that its parent had when it was started.
PEAK = """
import importlib, re, sys
file, directory, name, *arguments = sys.argv[1:]
sys.path.insert(0, directory)
importlib.import_module(name).main(arguments)
with open("/proc/self/status") as status, open(file, "w") as opened:
    opened.write(re.search("VmHWM: +([0-9]+) kB", status.read().replace("\\t", " ")).group(1))
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


def peak(program, *arguments):
    """The most memory that a program takes, in bytes."""
    child.run(PEAK, "peak", pathlib.Path(predict.__file__).resolve().parent, program, *arguments)
    return int(pathlib.Path("peak").read_text()) * 1024


def write_videos(path, count):
    frames = np.random.RandomState(1).randint(0, 256, [8, 2, 3]).astype(np.uint8)
    writing.write(
        path, (writing.example(b"video%06d" % number, {"rgb": frames[number % 8]}) for number in range(count))
    )


def test_predictions_take_no_more_memory_for_more_videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    videos = [writing.example(b"v%d" % number, {"rgb": np.ones([2, 3], np.uint8)}, [1]) for number in range(600)]
    writing.write("train.tfrecord", videos)
    train.main(["--data", "train.tfrecord", "--checkpoint", "c", "--steps", "1", *FLAGS])
    peaks = []
    for count in (FEW, MANY):
        write_videos("videos.tfrecord", count)
        peaks.append(peak("predict", "--data", "videos.tfrecord", "--checkpoint", "c", "--top", "50", *FLAGS))
    print("predict.py", peaks)
    assert sum(1 for _ in open("predictions.csv")) == MANY + 1
    assert peaks[1] < peaks[0] + SLACK, peaks


def test_averages_take_no_more_memory_for_more_videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, peaks = np.random.RandomState(1), []
    confidences = -np.sort(-rng.rand(8, 50))
    for count in (FEW, MANY):
        # The other has them in another order.
        for path, numbers in [("one.csv", range(count)), ("other.csv", reversed(range(count)))]:
            with submission.writer(path) as write:
                for number in numbers:
                    write(f"video{number:06}", rng.permutation(50), confidences[number % 8])
        peaks.append(peak("ensemble", "one.csv", "other.csv", "--output", "average.csv"))
    print("ensemble.py", peaks)
    assert sum(1 for _ in open("average.csv")) == MANY + 1
    assert peaks[1] < peaks[0] + SLACK, peaks
