"""Frame-level YouTube-8M records, read by tf.data."""

import glob
import os
import zlib

import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples.errors import PROBLEM, UserError, warn

FRAMING = 16  # bytes of a TFRecord beside its content: the length, and a checksum of each
LABELLED = 1000  # among so many videos one has to have labels, to train on them


def matching(patterns):
    """The files with these names or patterns, sorted. A name that exists is no pattern.

    Raises:
      UserError: if there is no such file.
    """
    found = set()
    for pattern in patterns:
        directory, name = os.path.split(pattern)
        if os.path.isdir(pattern):
            raise UserError(
                f"{pattern}: expected files, got a directory; its files may be {os.path.join(pattern, '*')}"
            )
        if tf.io.gfile.exists(pattern):
            matches = [pattern]
        elif os.path.isdir(directory or "."):
            matches = glob.glob(os.path.join(glob.escape(directory), name))
        else:
            matches = _matches(os.path.expanduser(pattern))
        matches = [match for match in matches if not os.path.isdir(match)]
        if not matches:
            raise UserError(f"{pattern}: no files match")
        found.update(matches)
    return sorted(found)


def _matches(pattern):
    try:
        return tf.io.gfile.glob(pattern)
    except tf.errors.NotFoundError:  # of the directory
        return []


def dataset(data, training=False, seed=0):
    """A tf.data.Dataset of batches of videos.

    Args:
      data: a `settings.Data`, with files.
      training: whether the videos are shuffled and repeated without end, and all batches are whole.
      seed: of the shuffling and of the sampling of frames. The same seed gives the same batches.

    Returns:
      A dataset of dicts of B videos. F is `data.max_frames` if all frames are taken, else `data.iterations`:
        id: string [B].
        frames: float32 [B, F, D], dequantised, the features side by side. Those that are sampled at random fill the
          list; otherwise there are zeros from `num_frames` on.
        num_frames: int32 [B], how many frames the videos have, F at most.
        labels: bool [B, V]. All are False where a record has no labels.

    Raises:
      UserError: if no files match.
      tf.errors.InvalidArgumentError: at run time, for bad records, with a message in which `errors.problem_of` finds
        file, video and cause.
    """
    shards = _Shards(data)
    videos = tf.data.Dataset.from_tensor_slices(shards.files)
    if training:
        videos = videos.shuffle(len(shards.files), seed=seed).repeat()
    readers = min(data.readers, len(shards.files))
    videos = videos.interleave(shards.videos, cycle_length=readers, num_parallel_calls=readers)
    if training:
        videos = videos.shuffle(data.shuffle_buffer, seed=seed)
    # Numbered, because then each video's sample depends on its number alone, and not on which thread draws first.
    videos = videos.apply(tf.data.experimental.enumerate_dataset())
    videos = videos.map(lambda number, video: _sampled(video, data, [seed, number]), os.cpu_count())
    videos = videos.batch(data.batch_size, drop_remainder=training)
    return _without_autotune(videos.map(lambda batch: _decoded(batch, data), 2).prefetch(2))


def check(data, labelled=True):
    """Reads a video, or with `labelled` one that has labels, so that wrong settings are found before anything is built.

    Raises:
      UserError: if no files match, or no video has labels.
      tf.errors.InvalidArgumentError: if a video is bad.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        shards = _Shards(data, report=lambda problem: None)
        videos = tf.data.Dataset.from_tensor_slices(shards.files).flat_map(shards.videos).take(LABELLED)
        if labelled:
            videos = videos.filter(lambda video: tf.reduce_any(video["labels"]))
        iterator = tf.data.make_initializable_iterator(_without_autotune(videos.take(1)))
        following = iterator.get_next()
        session.run(iterator.initializer)
        try:
            session.run(following)
        except tf.errors.OutOfRangeError as error:
            what = "videos with labels to train on" if labelled else "videos"
            raise UserError(f"{' '.join(data.files)}: expected {what}, got none") from error


class _Shards:
    """The files, each read as a dataset of its checked videos, and what was found wrong with them."""

    def __init__(self, data, report=warn):
        self.files = matching(data.files)
        self.data = data
        self.report = report
        self.skipped = set()  # damaged files and bad videos
        self.known = set()  # files whose content was looked at
        self.barren = set()  # files without a good video

    def videos(self, file):
        """A dataset of the videos of one file: dicts with id, labels [V] and frames, by feature the strings [N]."""
        compression = tf.numpy_function(_compression, [file], tf.string)
        compression.set_shape([])
        # A file ends early where it is damaged, and lacks what cannot be parsed. The bytes that came of it tell.
        records = _without_errors(tf.data.TFRecordDataset(file, compression).map(self._parsed))
        end = tf.data.Dataset.from_tensors(dict(self._parsed(tf.constant(b"")), is_end=True))
        records = records.map(lambda record: dict(record, is_end=False)).concatenate(end)
        start = np.int64(0), np.int64(0)
        videos = _scanned(records, start, lambda counts, record: self._checked(file, counts, record))
        return videos.map(self._raised).filter(lambda video, is_good: is_good).map(lambda video, is_good: video)

    def _parsed(self, serialized):
        context, lists = tf.io.parse_single_sequence_example(
            serialized,
            context_features={
                "id": tf.io.FixedLenFeature([], tf.string, ""),
                "video_id": tf.io.FixedLenFeature([], tf.string, ""),
                "labels": tf.io.VarLenFeature(tf.int64),
            },
            sequence_features={name: tf.io.VarLenFeature(tf.string) for name in self.data.feature_names},
        )
        return {
            "serialized": serialized,
            "id": tf.where(tf.equal(context["id"], ""), context["video_id"], context["id"]),
            "classes": context["labels"].values,
            "frames": {name: lists[name].values for name in self.data.feature_names},
        }

    def _checked(self, file, counts, record):
        """Adds up a file's bytes and good videos, and finds what is wrong with a video, or at the end with the file."""
        num_bytes, num_good = counts
        classes, num_classes = record["classes"], self.data.num_classes
        frames = [record["frames"][name] for name in self.data.feature_names]
        is_good = tf.not_equal(record["id"], "")
        is_good &= tf.reduce_all((classes >= 0) & (classes < num_classes))
        is_good &= tf.size(frames[0]) > 0
        for strings, size in zip(frames, self.data.feature_sizes):
            is_good &= tf.equal(tf.size(strings), tf.size(frames[0]))
            is_good &= tf.reduce_all(tf.equal(tf.strings.length(strings), size))
        serialized = record.pop("serialized")
        problem = tf.cond(
            is_good,
            lambda: tf.constant(b""),
            lambda: tf.cond(
                record["is_end"],
                lambda: tf.numpy_function(self._problem_of_file, [file, num_bytes, num_good], tf.string),
                lambda: tf.numpy_function(self._problem_of_video, [file, serialized], tf.string),
            ),
        )
        problem.set_shape([])
        num_bytes += FRAMING + tf.cast(tf.strings.length(serialized), tf.int64)
        del record["is_end"]
        return (num_bytes, num_good + tf.cast(is_good, tf.int64)), dict(record, problem=problem, is_good=is_good)

    def _raised(self, record):
        """The video with its labels [V], and whether it is good; or at run time an error, if a problem was found."""
        start, end = PROBLEM.split("{}")
        problem, classes, is_good = record.pop("problem"), record.pop("classes"), record.pop("is_good")
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(problem, ""), [start + problem + end])]):
            classes = tf.boolean_mask(
                classes, tf.broadcast_to(is_good, tf.shape(classes))
            )  # whose classes are in range
        marks = tf.scatter_nd(classes[:, tf.newaxis], tf.ones_like(classes), [self.data.num_classes])
        return dict(record, labels=marks > 0), is_good

    def _problem_of_file(self, file, num_bytes, num_good):
        """What is wrong with a file of whose records so many bytes were parsed, and of whose videos so many are good.

        Returns:
          The problem as bytes; nothing, if there is none or it may be skipped.
        """
        name, problem = file.decode("utf-8"), b""
        if num_good == 0:
            self.barren.add(name)
        try:
            with tf.io.gfile.GFile(name, "rb") as opened:
                opened.read(1)  # Raises an error if it cannot be read.
                size = opened.size()
            if size != num_bytes or size == 0:  # It may be compressed, hold a record that is not parsed, or be damaged.
                problem = self._problem_of_content(file, size)
        except tf.errors.OpError as error:
            problem = self._skipped(f"{name}: {error.message}", name, "it")
        # Otherwise a training would look for a video without end.
        if len(self.barren) == len(self.files):
            problem = problem or f"{name}: expected good videos, got none".encode("utf-8")
        return problem

    def _problem_of_content(self, file, size):
        name, num_bytes = file.decode("utf-8"), 0
        if name in self.known:
            return b""
        compression = _compression(file).decode("ascii")
        is_damaged = compression != "" and not _is_whole(name)
        try:
            for serialized in tf.io.tf_record_iterator(name, tf.io.TFRecordOptions(compression)):
                num_bytes += FRAMING + len(serialized)
                problem = self._problem_of_video(file, serialized)
                if problem:
                    return problem
        except tf.errors.DataLossError:
            is_damaged = True
        self.known.add(name)
        if is_damaged or num_bytes == 0 or (num_bytes != size and not compression):
            of_all = "" if compression else f" out of {size}"
            cause = f"corrupt or truncated: records were read of {num_bytes} bytes{of_all}"
            return self._skipped(f"{name}: {cause}", name, "the rest")
        return b""

    def _skipped(self, problem, key, what):
        """The problem as bytes; nothing, if it may be skipped."""
        if not self.data.skip_corrupt:
            return problem.encode("utf-8")
        if key not in self.skipped:
            self.skipped.add(key)
            self.report(f"{problem}; skipped {what}, {len(self.skipped)} such so far")
        return b""

    def _problem_of_video(self, file, serialized):
        """What is wrong with a video's record, as bytes; nothing, if nothing is or it may be skipped."""
        video, cause = _cause(serialized, self.data)
        if cause is None:
            return b""
        file = file.decode("utf-8")
        return self._skipped(f"{file}: video {video}: {cause}", (file, video), "it")


def _cause(serialized, data):
    """The name of a video, and what is wrong with its record, or None."""
    try:
        example = tf.train.SequenceExample.FromString(serialized)
    except Exception:  # Each version of protobuf has its own.
        return "?", "expected a SequenceExample, got other content"
    context, lists = example.context.feature, example.feature_lists.feature_list
    ids = [(key, _values(context[key], "bytes_list")) for key in ("id", "video_id") if key in context]
    names = [value.decode("utf-8", "replace") for _, values in ids for value in values or [] if value]
    name = names[0] if names else "?"
    for key, values in ids:
        if values is None or len(values) != 1:
            return name, f"expected one {key} of bytes, got {_shown(context[key])}"
    if not names:
        return name, "expected its name as id or video_id, got neither"
    if "labels" in context:
        labels = _values(context["labels"], "int64_list")
        if labels is None:
            return name, f"expected labels as integers, got {_shown(context['labels'])}"
        for label in labels:
            if not 0 <= label < data.num_classes:
                return name, f"expected labels from 0 to {data.num_classes - 1} (num_classes), got {label}"
    for feature, size in zip(data.feature_names, data.feature_sizes):
        if feature not in lists:
            of_videos = [key for key in sorted(context) if key not in ("id", "video_id", "labels")]
            got = ", ".join(sorted(lists)) or "none" + (
                f", but {', '.join(of_videos)} of the video" if of_videos else ""
            )
            return name, f"expected a feature {feature} (feature_names) of frames, got {got}"
        for frame in lists[feature].feature:
            values = _values(frame, "bytes_list")
            if values is None or len(values) != 1:
                return name, f"expected one value of bytes for each frame of feature {feature}, got {_shown(frame)}"
            if len(values[0]) != size:
                expected = f"{size} bytes for each frame of feature {feature} (feature_sizes)"
                return name, f"expected {expected}, got {len(values[0])}"
    counts = [len(lists[feature].feature) for feature in data.feature_names]
    if not any(counts):
        return name, "expected frames, got none"
    if len(set(counts)) == 1:
        return name, None
    counted = ", ".join(f"{count} of {feature}" for count, feature in zip(counts, data.feature_names))
    return name, f"expected as many frames of each feature, got {counted}"


def _values(feature, kind):
    """The values of a feature; None, if they are of another kind."""
    found = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if found in (None, kind) else None


def _shown(feature):
    kind = feature.WhichOneof("kind")
    if kind is None:
        return "no value"
    return f"{len(getattr(feature, kind).value)} of {kind.replace('_list', '')}"


def _compression(file):
    """TFRecordDataset's name of a file's compression, as bytes."""
    try:
        with tf.io.gfile.GFile(file.decode("utf-8"), "rb") as opened:
            head = opened.read(4096)
        zlib.decompressobj(47).decompress(head)  # 47: the format of gzip or that of zlib
    except (tf.errors.OpError, zlib.error):
        return b""
    if not head:
        return b""
    return b"GZIP" if head[:2] == b"\x1f\x8b" else b"ZLIB"


def _is_whole(file):
    """Whether a compressed file has its end, without which TensorFlow may take it for a shorter one."""
    decompressor = zlib.decompressobj(47)
    with tf.io.gfile.GFile(file, "rb") as opened:
        for piece in iter(lambda: opened.read(2**20), b""):
            try:
                decompressor.decompress(piece)
            except zlib.error:
                return False
    return decompressor.eof


def _without_errors(data):
    if hasattr(data, "ignore_errors"):
        return data.ignore_errors()
    return data.apply(tf.data.experimental.ignore_errors())


def _without_autotune(data):
    # In TensorFlow 1.15 it crashes the process when a session closes after an error.
    options = tf.data.Options()
    if hasattr(options, "autotune"):
        options.autotune.enabled = False
    else:
        options.experimental_optimization.autotune = False
    return data.with_options(options)


def _scanned(data, initial, step):
    if hasattr(data, "scan"):
        return data.scan(initial, step)
    return data.apply(tf.data.experimental.scan(initial, step))


def _sampled(video, data, seed):
    """A video with a fixed number of frames, and how many of them are real."""
    frames, size = video["frames"], data.max_frames
    num_frames = tf.minimum(tf.size(frames[data.feature_names[0]]), size)
    if data.frame_sampling == "all":
        places = tf.range(size)
    else:
        size = data.iterations
        draws = tf.random.stateless_uniform([size if data.frame_sampling == "random" else 1], seed)
    if data.frame_sampling == "random":
        # A product of floats below 1 and num_frames can round up to num_frames.
        places = tf.minimum(tf.cast(draws * tf.cast(num_frames, tf.float32), tf.int32), num_frames - 1)
    elif data.frame_sampling == "run":
        starts = tf.maximum(num_frames - size, 0) + 1
        places = tf.cast(draws * tf.cast(starts, tf.float32), tf.int32) + tf.range(size)
    # Beyond the last frame it is repeated, so that all strings have bytes to decode; zeros take their place later.
    places = tf.minimum(places, tf.size(frames[data.feature_names[0]]) - 1)
    return {
        "id": video["id"],
        "frames": {name: tf.gather(strings, places) for name, strings in frames.items()},
        "num_frames": tf.minimum(num_frames, size),
        "labels": video["labels"],
    }


def _decoded(batch, data):
    """The batch with its frames as numbers, in one tensor."""
    parts = [tf.io.decode_raw(batch["frames"][name], tf.uint8) for name in data.feature_names]
    frames = tf.cast(tf.concat(parts, axis=2), tf.float32) * (4 / 255) + (4 / 512 - 2)
    if data.frame_sampling != "random":
        is_real = tf.sequence_mask(batch["num_frames"], tf.shape(frames)[1])[:, :, tf.newaxis]
        frames = tf.where(tf.broadcast_to(is_real, tf.shape(frames)), frames, tf.zeros_like(frames))
    size = data.max_frames if data.frame_sampling == "all" else data.iterations
    frames.set_shape([None, size, sum(data.feature_sizes)])
    return dict(batch, frames=frames)
