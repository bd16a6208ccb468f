"""The challenge's submission files: a CSV of each video's best classes and their confidences.

::

    VideoId,LabelConfidencePairs
    aB3d,7 0.98 12 0.4
"""

import contextlib
import csv
import os
import sqlite3

import numpy as np
from loupe_examples import files
from loupe_examples.errors import UserError

HEADER = ["VideoId", "LabelConfidencePairs"]


@contextlib.contextmanager
def writer(path):
    """A context whose value is a function ``write(video, classes, confidences)`` that adds a video to the file.

    The file comes to be at the end, whole. If the block fails, there is none, and an older one stays as it was.

    Raises:
      UserError: if the file cannot be written.
    """
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(None, "expected a file, got a directory")
        # With the line ends of the challenge's own files, on every system.
        with files.whole(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(HEADER)

            def write(video, classes, confidences):
                # The text of a float32 is the shortest that gives the same number back.
                pairs = zip(classes, np.asarray(confidences, np.float32))
                rows.writerow([video, " ".join(f"{label} {confidence!s}" for label, confidence in pairs)])

            yield write
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


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
        # Bytes that are no UTF-8 become characters that are not printable, and are found in their line.
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file, temporary_table() as seen:
            seen.execute("CREATE TABLE videos (video TEXT PRIMARY KEY) WITHOUT ROWID")
            rows = csv.reader(file, strict=True)
            try:
                _require(next(rows, None) == HEADER, "expected the header " + ",".join(HEADER))
                for row in rows:
                    video, classes, confidences = _parsed(row)
                    is_new = seen.execute("INSERT OR IGNORE INTO videos VALUES (?)", [video]).rowcount
                    _require(is_new, f"expected each video once, got {video} again")
                    if top_k is not None:
                        pairs = sorted(zip(classes, confidences), key=lambda pair: -pair[1])[:top_k]
                        classes, confidences = [label for label, _ in pairs], [confidence for _, confidence in pairs]
                    if decimals is not None:
                        confidences = [int(confidence * 10**decimals) / 10**decimals for confidence in confidences]
                    yield video, classes, confidences
            except (ValueError, csv.Error) as error:
                raise UserError(f"{path}, line {max(rows.line_num, 1)}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


@contextlib.contextmanager
def temporary_table():
    """A context whose value is a connection to an empty SQLite database on disk, of which nothing stays behind: what is
    known of each video needs no memory there.

    Raises:
      UserError: if there is no room for it.
    """
    try:
        with contextlib.closing(sqlite3.connect("", isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN")
            yield database
    except sqlite3.Error as error:
        raise UserError(f"a temporary database: {error}") from error


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
