"""Writes, reads and averages the challenge's submission files: CSV of each video's best classes and their confidences.

::

    VideoId,LabelConfidencePairs
    aB3d,7 0.98 12 0.4
"""

import contextlib
import csv
import gzip
import io
import itertools
import os
import sqlite3
import zlib

import numpy as np
from loupe_examples import progress
from loupe_examples.errors import UserError
from loupe_examples.files import expanded, whole

HEADER = ["VideoId", "LabelConfidencePairs"]

# By default csv refuses the line of a video with 10,000 classes.
csv.field_size_limit(2**31 - 1)


@contextlib.contextmanager
def writer(path):
    """A context whose value is a function ``write(video, classes, confidences)`` that adds a video to the file.

    The file appears at the end, complete. If the block fails, an older file stays as it was.
    """
    path = expanded(path)
    if os.path.isdir(path or os.curdir) or path.endswith(("/", os.sep)):
        raise UserError(f"{path or os.curdir}: expected a file, got a directory")
    # The line ends are those of the challenge's own files, on every system.
    with whole(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)

        def write(video, classes, confidences):
            # The text of a float32 is the shortest that gives the same number back.
            pairs = zip(classes, np.asarray(confidences, np.float32))
            rows.writerow([video, " ".join(f"{label} {confidence!s}" for label, confidence in pairs)])

        yield write


def average(path, files, weights, top_k, read_top=None, decimals=None):
    """Writes the weighted average of submission files, with `top_k` classes for each video, into the file `path`.

    Only the ratios of the weights matter. With `read_top`, only that many of a video's best classes are read. With
    `decimals`, confidences are cut off after that many decimals. Returns how many videos there are. Raises a
    `UserError` if a file is malformed, or the files do not have the same videos.
    """
    count = 0
    # In a database in a temporary file, so that memory does not limit the number of videos.
    with writer(path) as write, contextlib.closing(sqlite3.connect("")) as rows:
        rows.execute("CREATE TABLE rows (video, file, classes, confidences, PRIMARY KEY (video, file)) WITHOUT ROWID")
        for number, file in enumerate(progress.bar(files, desc="read", unit="file")):
            share = weights[number] / sum(weights)
            for video, classes, confidences in read(file):
                classes, confidences = np.array(classes, np.int64), np.array(confidences)
                best = np.argsort(-confidences, kind="stable")[:read_top]
                if decimals is not None:
                    scale = 10.0 ** min(decimals, 300)  # More would overflow.
                    confidences = np.floor(confidences * scale) / scale
                row = [video, number, classes[best].tobytes(), (share * confidences[best]).tobytes()]
                try:
                    rows.execute("INSERT INTO rows VALUES (?, ?, ?, ?)", row)
                except sqlite3.IntegrityError as error:
                    raise UserError(f"{file}: expected each video once, got {video} again") from error
        in_order = rows.execute("SELECT * FROM rows ORDER BY video, file")
        for video, of_video in itertools.groupby(in_order, key=lambda row: row[0]):
            _, numbers, classes, confidences = zip(*of_video)
            missing = [file for number, file in enumerate(files) if number not in numbers]
            if missing:
                raise UserError(f"{missing[0]}: expected the videos of {files[numbers[0]]}, but {video} is missing")
            classes, places = np.unique(np.frombuffer(b"".join(classes), np.int64), return_inverse=True)
            confidences = np.bincount(places, np.frombuffer(b"".join(confidences)), len(classes))
            best = np.lexsort([classes, -confidences])[:top_k]
            write(video, classes[best], confidences[best])
            count += 1
    return count


def read(path):
    """Yields ``(video, classes, confidences)`` for each row of the file: a str, and lists of ints and floats.

    Raises a `UserError` that names the file, the line and the cause if a line is malformed.
    """
    with open(expanded(path), "rb") as file:
        content = gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == b"\x1f\x8b" else file
        # Bytes that are not UTF-8 become characters that are not printable, which `_parsed` refuses.
        text = io.TextIOWrapper(content, newline="", encoding="utf-8-sig", errors="surrogateescape")
        rows = csv.reader(text, strict=True)
        try:
            _require(next(rows, None) == HEADER, "expected the header " + ",".join(HEADER))
            for row in filter(None, rows):  # A blank line is an empty row.
                yield _parsed(row)
        except (ValueError, csv.Error, EOFError, OSError, zlib.error) as error:  # gzip raises the last three.
            raise UserError(f"{path}, line {max(rows.line_num, 1)}: {error}") from error


def _parsed(row):
    _require(len(row) == 2 and row[0], "expected ID,class confidence class confidence ...")
    _require(row[0].isprintable(), f"expected an ID of printable UTF-8 characters, got {row[0]!a}")
    words = row[1].split()
    _require(len(words) % 2 == 0, f"expected pairs of class and confidence, got {len(words)} words")
    try:
        classes, confidences = [int(word) for word in words[::2]], [float(word) for word in words[1::2]]
    except ValueError as error:
        raise ValueError(f"expected pairs of class and confidence: {error}") from error
    _require(all(0 <= label < 2**31 for label in classes), f"expected classes from 0 to {2**31 - 1}")
    _require(len(set(classes)) == len(classes), "expected each class once")
    _require(all(0 <= confidence <= 1 for confidence in confidences), "expected confidences from 0 to 1")
    return row[0], classes, confidences


def _require(condition, message):
    if not condition:
        raise ValueError(message)
