"""Scikit-learn's handwritten digits as frame-level YouTube-8M records.

A digit of 8x8 pixels is a video, and its 3x3 patches that are not blank are the frames: `rgb` is the 9 pixels, `audio`
the sums of the 3 rows and of the 3 columns, as bytes. A seventh of the 1797 digits is for validation, and a seventh for
tests. The shards of the test split have no labels, like those of YouTube-8M.
"""

import os

import numpy as np
from loupe_examples import patches
from loupe_examples.files import for_tensorflow

from yt8m import writing

NUM_SHARDS = {"train": 4, "validate": 2, "test": 2}


def provide(data, split):
    """If `data` has no files, gives it those of a split of the digits, which are first written if they are missing."""
    if data.files is not None:
        return
    directory = for_tensorflow(data.digits)
    files = {
        name: [os.path.join(directory, f"{name}{number:02}.tfrecord") for number in range(count)]
        for name, count in NUM_SHARDS.items()
    }
    if not all(map(os.path.exists, sum(files.values(), []))):
        os.makedirs(directory, exist_ok=True)
        for name, examples in _examples().items():
            for number, file in enumerate(files[name]):
                writing.write(file, examples[number :: len(files[name])])
    data.files = files[split]


def _examples():
    """For each split, the list of its serialised examples."""
    images, labels = patches.digits()
    # A seeded shuffle, because neighbouring digits are by the same writer.
    order = np.random.RandomState(0).permutation(len(images))
    examples = {split: [] for split in NUM_SHARDS}
    for place, number in enumerate(order):
        split = {0: "test", 1: "validate"}.get(place % 7, "train")
        known = None if split == "test" else [labels[number]]
        examples[split].append(writing.example(b"digit%04d" % number, _features(images[number]), known))
    return examples


def _features(image):
    """The features of a digit, a dict of uint8 arrays [frames, size] by name."""
    frames = patches.patches(image)
    frames = frames[frames.any(axis=(1, 2))]
    profiles = np.concatenate([frames.sum(axis=2), frames.sum(axis=1)], axis=1)
    return {"rgb": _quantised(frames.reshape(-1, 9), 16), "audio": _quantised(profiles, 48)}


def _quantised(values, largest):
    return np.round(values * (255 / largest)).astype(np.uint8)
