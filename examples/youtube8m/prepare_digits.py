"""Writes scikit-learn's handwritten digits as frame-level YouTube-8M records.

A digit of 8x8 pixels is a video, and its 3x3 patches that are not blank are the frames: `rgb` is the 9 pixels, `audio`
the sums of the 3 rows and of the 3 columns, as bytes. A seventh of the 1797 digits validates, a seventh tests, whose
shards have no labels, as in the YouTube-8M test split.
"""

import os

import numpy as np
import shards
from commandline import Parser, UserError, run
from sklearn.datasets import load_digits

FEATURES = {"rgb": 9, "audio": 6}  # bytes a frame
NUM_CLASSES = 10
MAX_FRAMES = 36
NUM_SHARDS = {"train": 4, "validate": 2, "test": 2}


def main(argv=None):
    parser = Parser(__doc__)
    parser.add_argument("--digits", default="digits", metavar="DIRECTORY", help="where the shards are written")
    directory = parser.parse_args(argv).digits
    files = prepare(directory, again=True)
    print(f"{directory}: {', '.join(f'{len(names)} shards {split}' for split, names in files.items())}")


def prepare(directory, again=False):
    """Writes the shards into the directory, unless they are all there, or `again`.

    Returns:
      For each split, train, validate and test, the list of its files.

    Raises:
      UserError: if they cannot be written.
    """
    files = {
        split: [os.path.join(directory, f"{split}{number:02}.tfrecord") for number in range(count)]
        for split, count in NUM_SHARDS.items()
    }
    if again or not all(os.path.exists(file) for names in files.values() for file in names):
        try:
            os.makedirs(directory, exist_ok=True)
            for split, examples in _examples().items():
                for number, file in enumerate(files[split]):
                    shards.write(file, examples[number :: len(files[split])])
        except OSError as error:
            raise UserError(f"{directory}: {error.strerror or error}") from error
    return files


def _examples():
    """For each split, the list of its serialised examples."""
    digits = load_digits()
    # A seeded shuffle, because neighbours are of the same writer.
    order = np.random.RandomState(0).permutation(len(digits.images))
    examples = {split: [] for split in NUM_SHARDS}
    for place, number in enumerate(order):
        split = {0: "test", 1: "validate"}.get(place % 7, "train")
        labels = None if split == "test" else [digits.target[number]]
        name = f"digit{number:04}".encode("ascii")
        examples[split].append(shards.example(name, _features(digits.images[number]), labels))
    return examples


def _features(image):
    """The features of a digit, by name a uint8 array [frames, size]."""
    patches = np.array([image[row : row + 3, column : column + 3] for row in range(6) for column in range(6)])
    patches = patches[patches.any(axis=(1, 2))]
    profiles = np.concatenate([patches.sum(axis=2), patches.sum(axis=1)], axis=1)
    return {"rgb": _quantised(patches.reshape(-1, 9), 16), "audio": _quantised(profiles, 48)}


def _quantised(values, largest):
    return np.round(values * (255 / largest)).astype(np.uint8)


if __name__ == "__main__":
    run(main)
