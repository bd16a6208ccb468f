"""The weighted average of submission files."""

import numpy as np
from loupe_examples import progress
from loupe_examples.errors import UserError

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
    with submission.writer(path) as add, submission.temporary_table() as sums:
        # disable=None: no progress bar in a log.
        with progress.bar(files, desc="read", unit="file", disable=None) as paths:
            count = add_up(sums, paths, shares, read_top, decimals)
        for video, classes, confidences in sums.execute("SELECT video, classes, confidences FROM sums ORDER BY number"):
            classes, confidences = np.frombuffer(classes, np.int64), np.frombuffer(confidences)
            best = np.lexsort([classes, -confidences])[:top_k]
            add(video, classes[best], confidences[best])
    return count


def add_up(sums, paths, weights, read_top=None, decimals=None):
    """Adds up submission files, weighted, in a table of a database: for each video, in the first file's order, its
    classes, int64, and their sums, float64. `read_top` and `decimals` are those of `submission.read`.

    Returns:
      How many videos there are.

    Raises:
      UserError: if a file is malformed or its videos are not those of the first file.
    """
    sums.execute(
        "CREATE TABLE sums (number INTEGER PRIMARY KEY, video TEXT UNIQUE, files INTEGER, classes BLOB, "
        "confidences BLOB)"
    )
    for number, (path, weight) in enumerate(zip(paths, weights)):
        rows = submission.read(path, read_top, decimals)
        if number == 0:
            first = path
            _begin(sums, rows, weight)
            continue
        strange = _add(sums, number, rows, weight)
        if strange is not None:
            raise UserError(f"{path}: expected the videos of {first}, got {strange}")
        (missing,) = sums.execute("SELECT min(video) FROM sums WHERE files <= ?", [number]).fetchone()
        if missing is not None:
            raise UserError(f"{path}: expected the videos of {first}, but {missing} is missing")
    return sums.execute("SELECT count(*) FROM sums").fetchone()[0]


def _begin(sums, rows, weight):
    for video, classes, confidences in rows:
        row = [video, *_packed(_weighted(classes, confidences, weight))]
        sums.execute("INSERT INTO sums (video, files, classes, confidences) VALUES (?, 1, ?, ?)", row)


def _add(sums, number, rows, weight):
    """Adds the rows of another file. Returns the first video that no file before it has, or None."""
    for video, classes, confidences in rows:
        query = "SELECT number, classes, confidences FROM sums WHERE video = ?"
        found = sums.execute(query, [video]).fetchone()
        if found is None:
            return video
        place, *packed = found
        total = _unpacked(*packed)
        for label, confidence in _weighted(classes, confidences, weight).items():
            total[label] = total.get(label, 0.0) + confidence
        row = [number + 1, *_packed({label: value for label, value in total.items() if value}), place]
        sums.execute("UPDATE sums SET files = ?, classes = ?, confidences = ? WHERE number = ?", row)
    return None


def _weighted(classes, confidences, weight):
    return {label: weight * confidence for label, confidence in zip(classes, confidences)}


def _packed(confidences):
    return np.array(list(confidences), np.int64).tobytes(), np.array(list(confidences.values()), np.float64).tobytes()


def _unpacked(classes, confidences):
    return dict(zip(np.frombuffer(classes, np.int64).tolist(), np.frombuffer(confidences).tolist()))
