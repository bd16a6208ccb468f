"""The memory that ensemble.py takes does not grow with the videos."""

import pathlib
import sys

import ensemble
import numpy as np
import pytest
from support import child
from yt8m import submission

# Even the few videos have to be enough to fill the buffers of the input and of TensorFlow's allocator.
FEW, MANY = 20000, 200000
SLACK = 2**25  # bytes; the confidences of the additional videos alone take 72 MB, and their ids 10 MB

# resource.getrusage would not do: it starts at the memory that the parent process had.
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


def peak(*arguments):
    """The most memory that ensemble.py takes, in bytes."""
    child.run(PEAK, "peak", pathlib.Path(ensemble.__file__).resolve().parent, "ensemble", *arguments)
    return int(pathlib.Path("peak").read_text()) * 1024


def test_averages_take_no_more_memory_for_more_videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, peaks = np.random.RandomState(1), []
    confidences = -np.sort(-rng.rand(8, 50))
    for count in (FEW, MANY):
        # The other file has the videos in another order.
        for path, numbers in [("one.csv", range(count)), ("other.csv", reversed(range(count)))]:
            with submission.writer(path) as write:
                for number in numbers:
                    write(f"video{number:06}", rng.permutation(50), confidences[number % 8])
        peaks.append(peak("one.csv", "other.csv", "--output", "average.csv"))
    print("ensemble.py", peaks)
    assert sum(1 for _ in open("average.csv")) == MANY + 1
    assert peaks[1] < peaks[0] + SLACK, peaks
