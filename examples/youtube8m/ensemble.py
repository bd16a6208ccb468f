"""Averages submission files into one, weighted.

A class that a file leaves out of a video's best counts as 0 there.
"""

import argparse
import array

import numpy as np
import submission
from commandline import Parser, UserError, not_negative, positive, run
from metrics import TOP_K
from scipy import sparse
from tqdm import tqdm


def main(argv=None):
    parser = Parser(__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a submission file, as predict.py writes them")
    parser.add_argument("--output", required=True, metavar="FILE", help="the submission file to write")
    parser.add_argument(
        "--weights",
        type=weights,
        metavar="W,W...",
        help="a weight for each file, with commas between; only their ratios matter; None: all equal",
    )
    parser.add_argument("--top", type=positive, default=TOP_K, metavar="N", help="how many classes a video gets")
    flags = parser.parse_args(argv)
    shares = np.array(flags.weights or [1.0] * len(flags.files))
    if len(shares) != len(flags.files):
        parser.error(f"argument --weights: expected {len(flags.files)}, one for each file, came {len(shares)}")
    with submission.writer(flags.output) as write:
        # disable=None: no progress bar in a log.
        with tqdm(flags.files, desc="read", unit="file", disable=None) as paths:
            videos, confidences = average(paths, shares / shares.sum())
        for video, start, end in zip(videos, confidences.indptr[:-1], confidences.indptr[1:]):
            best = np.argsort(-confidences.data[start:end], kind="stable")[: flags.top]
            write(video, confidences.indices[start:end][best], confidences.data[start:end][best])
    print(f"{flags.output}: {len(videos)} videos, averaged over {len(flags.files)} files")


def average(paths, weights):
    """The weighted sum of submission files.

    Returns:
      The list of videos, in the first file's order, and their confidences, a sparse CSR matrix [videos, classes].

    Raises:
      UserError: if a file is malformed or its videos are not those of the first file.
    """
    total = None
    for path, weight in zip(paths, weights):
        videos, confidences = load(path)
        if total is None:
            first, total, rows = path, weight * confidences, {video: row for row, video in enumerate(videos)}
            continue
        strange = next((video for video in videos if video not in rows), None)
        if strange is not None:
            raise UserError(f"{path}: expected the videos of {first}, came {strange}")
        if len(videos) < len(rows):
            missing = min(rows.keys() - set(videos))
            raise UserError(f"{path}: expected the videos of {first}, but {missing} is missing")
        order = np.argsort([rows[video] for video in videos])
        num_classes = max(total.shape[1], confidences.shape[1])
        for matrix in (total, confidences):
            matrix.resize(len(videos), num_classes)
        total = total + weight * confidences[order]
    return list(rows), total


def load(path):
    """A submission file's videos, a list, and confidences, a sparse CSR matrix [videos, classes]."""
    videos, ends, classes, confidences = [], array.array("q", [0]), array.array("i"), array.array("d")
    for video, labels, scores in submission.read(path):
        videos.append(video)
        classes.extend(labels)
        confidences.extend(scores)
        ends.append(len(classes))
    num_classes = max(classes) + 1 if classes else 1
    matrix = sparse.csr_matrix((confidences, classes, ends), shape=[len(videos), num_classes])
    matrix.sort_indices()
    return videos, matrix


def weights(text):
    """Numbers of at least 0 with commas between, not all 0, as a type of argparse."""
    values = [not_negative(weight) for weight in text.split(",")]
    if not any(values):
        raise argparse.ArgumentTypeError("expected a weight above 0, came " + text)
    return values


if __name__ == "__main__":
    run(main)
