"""The weighted average of submission files."""

import array

import numpy as np
from common import progress
from common.errors import UserError
from scipy import sparse

from yt8m import submission


def write(path, files, weights, top_k, read_top=None, decimals=None):
    """Writes the weighted average of submission files into another, which may be one of them.

    Args:
      path: the file to write.
      files: a list of paths.
      weights: a number for each, of which only the ratios matter.
      top_k: how many classes each video gets.
      read_top, decimals: what is read of the files, as `submission.read` has it.

    Returns:
      How many videos there are.

    Raises:
      UserError: if a file is malformed, its videos are not those of the first one, or the output cannot be written.
    """
    shares = np.array(weights) / np.sum(weights)
    with submission.writer(path) as add:
        # disable=None: no progress bar in a log.
        with progress.bar(files, desc="read", unit="file", disable=None) as paths:
            videos, confidences = average(paths, shares, read_top, decimals)
        for video, start, end in zip(videos, confidences.indptr[:-1], confidences.indptr[1:]):
            best = np.argsort(-confidences.data[start:end], kind="stable")[:top_k]
            add(video, confidences.indices[start:end][best], confidences.data[start:end][best])
    return len(videos)


def average(paths, weights, read_top=None, decimals=None):
    """The weighted sum of submission files, with `read_top` and `decimals` as for `submission.read`.

    Returns:
      The list of videos, in the first file's order, and their confidences, a sparse CSR matrix [videos, classes].

    Raises:
      UserError: if a file is malformed or its videos are not those of the first file.
    """
    total = None
    for path, weight in zip(paths, weights):
        videos, confidences = load(path, read_top, decimals)
        if total is None:
            first, total, rows = path, weight * confidences, {video: row for row, video in enumerate(videos)}
            continue
        strange = next((video for video in videos if video not in rows), None)
        if strange is not None:
            raise UserError(f"{path}: expected the videos of {first}, got {strange}")
        if len(videos) < len(rows):
            missing = min(rows.keys() - set(videos))
            raise UserError(f"{path}: expected the videos of {first}, but {missing} is missing")
        order = np.argsort([rows[video] for video in videos])
        num_classes = max(total.shape[1], confidences.shape[1])
        for matrix in (total, confidences):
            matrix.resize(len(videos), num_classes)
        total = total + weight * confidences[order]
    return list(rows), total


def load(path, read_top=None, decimals=None):
    """A submission file's videos, a list, and confidences, a sparse CSR matrix [videos, classes].

    `read_top` and `decimals` are those of `submission.read`.
    """
    videos, ends, classes, confidences = [], array.array("q", [0]), array.array("i"), array.array("d")
    for video, labels, scores in submission.read(path, read_top, decimals):
        videos.append(video)
        classes.extend(labels)
        confidences.extend(scores)
        ends.append(len(classes))
    num_classes = max(classes) + 1 if classes else 1
    matrix = sparse.csr_matrix((confidences, classes, ends), shape=[len(videos), num_classes])
    matrix.sort_indices()
    return videos, matrix
