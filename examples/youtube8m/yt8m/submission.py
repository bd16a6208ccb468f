"""The challenge's submission files: a CSV of each video's best classes and their confidences. Written, read, averaged.

::

    VideoId,LabelConfidencePairs
    aB3d,7 0.98 12 0.4
"""

import contextlib
import csv
import gzip
import os
import sqlite3

import numpy as np
from loupe_examples import progress
from loupe_examples.errors import UserError
from loupe_examples.files import whole

HEADER = ["VideoId", "LabelConfidencePairs"]

# By default csv refuses the line of a video with 10,000 classes.
csv.field_size_limit(2**31 - 1)


@contextlib.contextmanager
def writer(path):
    """A context whose value is a function ``write(video, classes, confidences)`` that adds a video to the file.

    The file appears at the end, complete. If the block fails, an older file stays as it was.

    Raises:
      UserError: if the file cannot be written.
    """
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(None, "expected a file, got a directory")
        # With the line ends of the challenge's own files, on every system.
        with whole(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(HEADER)

            def write(video, classes, confidences):
                # The text of a float32 is the shortest that gives the same number back.
                pairs = zip(classes, np.asarray(confidences, np.float32))
                rows.writerow([video, " ".join(f"{label} {confidence!s}" for label, confidence in pairs)])

            yield write
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def average(path, files, weights, top_k, read_top=None, decimals=None):
    """Writes the weighted average of submission files into another file, which may be one of them.

    Args:
      path: the file to write.
      files: a list of paths.
      weights: a number for each file, of which only the ratios matter.
      top_k: how many classes each video gets.
      read_top, decimals: as for `read`.

    Returns:
      How many videos there are.

    Raises:
      UserError: if a file is malformed, its videos are not those of the first one, or the output cannot be written.
    """
    with writer(path) as write, _database() as sums:
        sums.execute(
            "CREATE TABLE sums (number INTEGER PRIMARY KEY, video TEXT UNIQUE, files INTEGER, classes BLOB, "
            "confidences BLOB)"
        )
        # disable=None: no progress bar in a log.
        with progress.bar(files, desc="read", unit="file", disable=None) as shown:
            for number, file in enumerate(shown):
                share = weights[number] / sum(weights)
                _add(sums, file, number, share, files[0], read(file, read_top, decimals))
        count = 0
        for video, *packed in sums.execute("SELECT video, classes, confidences FROM sums ORDER BY number"):
            classes, confidences = _unpacked(*packed)
            best = np.lexsort([classes, -confidences])[:top_k]
            write(video, classes[best], confidences[best])
            count += 1
    return count


def read(path, top_k=None, decimals=None):
    """Yields ``(video, classes, confidences)`` for each row of the file: a str, and lists of ints and floats.

    Args:
      path: the file.
      top_k: how many of a video's best classes are read. Default None: all, in the order of the file.
      decimals: after how many decimals the confidences are cut off. Default None: they are not.

    Raises:
      UserError: if the file cannot be read or a line is malformed: it names file, line and cause.
    """
    try:
        with open(path, "rb") as file:
            opener = gzip.open if file.read(2) == b"\x1f\x8b" else open
        # Bytes that are not UTF-8 become characters that are not printable, and are found in their line.
        with opener(path, "rt", newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = csv.reader(file, strict=True)
            try:
                _require(next(rows, None) == HEADER, "expected the header " + ",".join(HEADER))
                for row in filter(None, rows):  # A blank line is an empty row.
                    video, classes, confidences = _parsed(row)
                    if top_k is not None:
                        pairs = sorted(zip(classes, confidences), key=lambda pair: -pair[1])[:top_k]
                        classes, confidences = [label for label, _ in pairs], [confidence for _, confidence in pairs]
                    if decimals is not None:
                        confidences = [int(confidence * 10**decimals) / 10**decimals for confidence in confidences]
                    yield video, classes, confidences
            except (ValueError, csv.Error, EOFError) as error:
                raise UserError(f"{path}, line {max(rows.line_num, 1)}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _database():
    """A context whose value is an empty SQLite database in a temporary file, so that memory does not limit the number
    of videos."""
    try:
        with contextlib.closing(sqlite3.connect("", isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN")
            yield database
    except sqlite3.Error as error:
        raise UserError(f"a temporary database: {error}") from error


def _add(sums, file, number, share, first, rows):
    """Adds the rows of a file, weighted by its share, to the sums of the `number` files before it."""
    for video, classes, confidences in rows:
        found = sums.execute("SELECT files, classes, confidences FROM sums WHERE video = ?", [video]).fetchone()
        if found is None and number > 0:
            raise UserError(f"{file}: expected the videos of {first}, got {video}")
        count, *packed = found or (0, b"", b"")
        if count > number:
            raise UserError(f"{file}: expected each video once, got {video} again")
        total = dict(zip(*map(np.ndarray.tolist, _unpacked(*packed))))
        for label, confidence in zip(classes, confidences):
            total[label] = total.get(label, 0.0) + share * confidence
        row = [number + 1, np.array(list(total), np.int64).tobytes(), np.array(list(total.values())).tobytes(), video]
        if found is None:
            sums.execute("INSERT INTO sums (files, classes, confidences, video) VALUES (?, ?, ?, ?)", row)
        else:
            sums.execute("UPDATE sums SET files = ?, classes = ?, confidences = ? WHERE video = ?", row)
    (missing,) = sums.execute("SELECT min(video) FROM sums WHERE files <= ?", [number]).fetchone()
    if missing is not None:
        raise UserError(f"{file}: expected the videos of {first}, but {missing} is missing")


def _unpacked(classes, confidences):
    return np.frombuffer(classes, np.int64), np.frombuffer(confidences)


def _parsed(row):
    _require(len(row) == 2 and row[0], "expected ID,class confidence class confidence ...")
    _require(row[0].isprintable(), f"expected an ID of printable UTF-8 characters, got {row[0]!a}")
    words = row[1].split()
    _require(len(words) % 2 == 0, f"expected pairs of class and confidence, got {len(words)} words")
    try:
        classes, confidences = [int(word) for word in words[::2]], [float(word) for word in words[1::2]]
    except ValueError as error:
        raise ValueError(f"expected pairs of class and confidence: {error}") from error
    _require(all(0 <= label < 2**31 for label in classes), "expected classes from 0 up")
    _require(len(set(classes)) == len(classes), "expected each class once")
    _require(all(0 <= confidence <= 1 for confidence in confidences), "expected confidences from 0 to 1")
    return row[0], classes, confidences


def _require(condition, message):
    if not condition:
        raise ValueError(message)
