"""Frame-level YouTube-8M records, read by tf.data."""

import os

import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples.errors import PROBLEM, UserError, warn

FRAMING = 16  # bytes of a TFRecord beside its content: the length, and a checksum of each


def matching(patterns):
    """The files that the patterns match, sorted.

    Raises:
      UserError: if a pattern matches none.
    """
    found = set()
    for pattern in patterns:
        try:
            matches = tf.io.gfile.glob(pattern)
        except tf.errors.NotFoundError:  # of the directory
            matches = []
        if not matches:
            raise UserError(f"{pattern}: no files match")
        found.update(matches)
    return sorted(found)


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
      tf.errors.InvalidArgumentError: in the run, for bad records, with a message in which `errors.problem_of`
        finds file and cause.
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


def check(data):
    """Reads one video, so that wrong flags are found before anything is built or written.

    Raises:
      UserError: if no files match.
      tf.errors.InvalidArgumentError: if the video is bad.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        shards = _Shards(data, report=lambda problem: None)
        video = tf.data.Dataset.from_tensor_slices(shards.files).flat_map(shards.videos).take(1)
        iterator = tf.data.make_initializable_iterator(_without_autotune(video))
        following = iterator.get_next()
        session.run(iterator.initializer)
        session.run(following)


class _Shards:
    """The files, each read as a dataset of its checked videos, and what was found wrong with them."""

    def __init__(self, data, report=warn):
        self.files = matching(data.files)
        self.data = data
        self.report = report
        self.skipped = set()
        self.barren = set()

    def videos(self, file):
        """A dataset of the videos of one file: dicts with id, labels [V] and frames, by feature the strings [N]."""
        # A damaged file ends early. It is told from a whole one by the bytes that came of it, and so can be named.
        records = _without_errors(tf.data.TFRecordDataset(file).map(self._parsed))
        end = tf.data.Dataset.from_tensors(dict(self._parsed(tf.constant(b"")), is_end=True))
        records = records.map(lambda record: dict(record, is_end=False)).concatenate(end)
        records = _scanned(records, np.int64(0), lambda so_far, record: self._checked(file, so_far, record))
        return records.map(self._raised).filter(lambda record: tf.logical_not(record["is_end"]))

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

    def _checked(self, file, so_far, record):
        """Adds up a file's bytes, and finds what is wrong with a video, or at the end with the file."""
        classes, num_classes = record["classes"], self.data.num_classes
        frames = [record["frames"][name] for name in self.data.feature_names]
        is_good = tf.not_equal(record["id"], "")
        is_good &= tf.reduce_all((classes >= 0) & (classes < num_classes))
        is_good &= tf.size(frames[0]) > 0
        for strings, size in zip(frames, self.data.feature_sizes):
            is_good &= tf.equal(tf.size(strings), tf.size(frames[0]))
            is_good &= tf.reduce_all(tf.equal(tf.strings.length(strings), size))
        problem = tf.cond(
            record["is_end"],
            lambda: tf.numpy_function(self._problem_of_file, [file, so_far], tf.string),
            lambda: tf.cond(
                is_good,
                lambda: tf.constant(b""),
                lambda: tf.numpy_function(self._problem_of_video, [file, record["serialized"]], tf.string),
            ),
        )
        problem.set_shape([])
        so_far += FRAMING + tf.cast(tf.strings.length(record.pop("serialized")), tf.int64)
        return so_far, dict(record, problem=problem)

    def _raised(self, record):
        """The record with its labels [V]; or in the run an error, if a problem was found."""
        start, end = PROBLEM.split("{}")
        problem, classes = record.pop("problem"), record.pop("classes")
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(problem, ""), [start + problem + end])]):
            classes = tf.identity(classes)  # all are in range now
        marks = tf.scatter_nd(classes[:, tf.newaxis], tf.ones_like(classes), [self.data.num_classes])
        return dict(record, labels=marks > 0)

    def _problem_of_file(self, file, num_bytes):
        """What is wrong with a file of which records of so many bytes came, as bytes; nothing if it may be skipped."""
        file = file.decode("utf-8")
        try:
            with tf.io.gfile.GFile(file, "rb") as opened:
                size = opened.size()
                opened.read(1)
            if size == num_bytes > 0:
                return b""
            problem = f"{file}: corrupt or truncated: records were read of {num_bytes} bytes out of {size}"
        except tf.errors.OpError as error:  # such as of the right to read
            problem = f"{file}: {error.message}"
        if self.data.skip_corrupt:
            if file not in self.skipped:
                self.skipped.add(file)
                self.report(f"{problem}; skipped the rest, {len(self.skipped)} such so far")
            if num_bytes == 0:
                self.barren.add(file)
            # Else a training would look for a video for ever.
            if len(self.barren) < len(self.files):
                return b""
        return problem.encode("utf-8")

    def _problem_of_video(self, file, serialized):
        """What is wrong with a video's record, as bytes."""
        example = tf.train.SequenceExample.FromString(serialized)
        context = example.context.feature
        ids = [value for key in ["id", "video_id"] for value in context[key].bytes_list.value if value]
        name = ids[0].decode("utf-8", "replace") if ids else "?"
        return f"{file.decode('utf-8')}: video {name}: {self._cause(example, ids)}".encode("utf-8")

    def _cause(self, example, ids):
        data, lists = self.data, example.feature_lists.feature_list
        if not ids:
            return "expected its name as id or video_id, got neither"
        for label in example.context.feature["labels"].int64_list.value:
            if not 0 <= label < data.num_classes:
                return f"expected labels from 0 to {data.num_classes - 1} (num_classes), got {label}"
        for feature, size in zip(data.feature_names, data.feature_sizes):
            if feature not in lists:
                return f"expected a feature {feature} (feature_names), got {', '.join(sorted(lists)) or 'none'}"
            for frame in lists[feature].feature:
                sizes = [len(value) for value in frame.bytes_list.value]
                if sizes != [size]:
                    got = sizes[0] if sizes else 0
                    return f"expected {size} bytes a frame of feature {feature} (feature_sizes), got {got}"
        counts = [len(lists[feature].feature) for feature in data.feature_names]
        if not any(counts):
            return "expected frames, got none"
        counted = ", ".join(f"{count} of {feature}" for count, feature in zip(counts, data.feature_names))
        return f"expected as many frames of each feature, got {counted}"


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
