"""Frame-level YouTube-8M records, read by tf.data."""

import codecs
import contextlib
import glob
import os
import zlib

import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples.errors import PROBLEM, UserError, warn
from loupe_examples.files import for_tensorflow, readable

FRAMING = 16  # bytes of a TFRecord besides its content: its length, and checksums of the length and the content
LABELLED = 1000  # how many videos are searched for one with labels before a training run


def matching(patterns):
    """The files with these names or patterns, sorted, or a `UserError`. A name that exists here is no pattern."""
    found = {}  # A file that has several names is read once.
    for pattern in patterns:
        if "://" in pattern:  # The files are not on this machine.
            try:
                matches = tf.io.gfile.glob(pattern)
            except tf.errors.OpError as error:
                raise UserError(f"{pattern}: {error.message}") from error
        else:
            path = for_tensorflow(pattern)
            directory, name = os.path.split(path)
            if os.path.isdir(path):
                raise UserError(f"{pattern}: expected files, got a directory; its files are {os.path.join(path, '*')}")
            directory = glob.escape(directory) if os.path.isdir(directory) else directory
            matches = [path] if os.path.exists(path) else glob.glob(os.path.join(directory, name))
            matches = [readable(for_tensorflow(match)) for match in sorted(matches) if not os.path.isdir(match)]
        if not matches:
            raise UserError(f"{pattern}: no files match")
        found.update({os.path.realpath(match): match for match in matches})
    return sorted(found.values())


def dataset(data, training=False, seed=0):
    """A tf.data.Dataset of batches of videos.

    Args:
      data: a `settings.Data`, with files.
      training: whether the videos are shuffled and repeated without end, and all batches are whole.
      seed: the seed of the shuffling and of the sampling of frames. The same seed gives the same batches.

    Returns:
      A dataset of dicts of B videos. F is `data.max_frames` if all frames are taken, else `data.iterations`:
        id: string [B].
        frames: float32 [B, F, D], dequantised, the features side by side. Frames sampled at random fill the
          list; otherwise there are zeros from `num_frames` on.
        num_frames: int32 [B], how many frames the videos have, F at most.
        labels: bool [B, V]. All are False where a record has no labels.

    Raises a `UserError` if no files match, and at run time a `tf.errors.InvalidArgumentError` for bad records, in which
    `errors.problem_of` finds file, video and cause.
    """
    shards = _Shards(data)
    videos = tf.data.Dataset.from_tensor_slices(shards.files)
    if training:
        videos = videos.shuffle(len(shards.files), seed=seed).repeat()
    readers = min(data.readers, len(shards.files))
    videos = videos.interleave(shards.videos, cycle_length=readers, num_parallel_calls=readers)
    if training:
        videos = videos.shuffle(data.shuffle_buffer, seed=seed)
    # Each video gets a number, so that its sample depends on this number alone, and not on which thread draws first.
    videos = videos.apply(tf.data.experimental.enumerate_dataset())
    videos = videos.map(lambda number, video: _sampled(video, data, [seed, number]), os.cpu_count())
    videos = videos.batch(data.batch_size, drop_remainder=training)
    return _without_autotune(videos.map(lambda batch: _decoded(batch, data), 2).prefetch(2))


def check(data, labelled=True):
    """Reads a video, or with `labelled` one that has labels, so that wrong settings are found before anything is built.

    Raises the errors of `dataset`, and a `UserError` if there is no such video.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        shards = _Shards(data, warns=False)
        videos = tf.data.Dataset.from_tensor_slices(shards.files).flat_map(shards.videos).take(LABELLED)
        videos = videos.filter(lambda video: tf.reduce_any(video["labels"]) if labelled else True).take(1)
        iterator = tf.data.make_initializable_iterator(_without_autotune(videos))
        following = iterator.get_next()
        session.run(iterator.initializer)
        try:
            session.run(following)
        except tf.errors.OutOfRangeError as error:
            what = " with labels to train on" if labelled else ""
            raise UserError(f"{' '.join(data.files)}: expected videos{what}, got none") from error


class _Shards:
    """The files, each read as a dataset of its good videos. A file with bad videos or damage is examined."""

    def __init__(self, data, warns=True):
        self.files = matching(data.files)
        self.data = data
        self.warns = warns  # whether stderr gets a line for each file or video that is skipped
        self.num_skipped = 0  # damaged files and bad videos
        self.examined = set()  # files

    def videos(self, file):
        """A dataset of the good videos of a file: dicts of id, labels [V] and frames, strings [N] by feature."""
        compression = tf.ensure_shape(tf.numpy_function(_compression, [file], tf.string), [])
        # This leaves out bad records and the rest of a damaged file. The sizes of the good videos then do not add up.
        videos = tf.data.TFRecordDataset(file, compression).map(self._video)
        videos = videos.apply(tf.data.experimental.ignore_errors())
        nothing = {name: tf.constant([], tf.string) for name in self.data.feature_names}
        end = {"id": "", "labels": tf.zeros([self.data.num_classes], tf.bool), "frames": nothing, "size": np.int64(0)}

        def add(num_bytes, video):
            num_bytes += video.pop("size")
            is_video = tf.cond(
                tf.equal(video["id"], ""),
                lambda: tf.numpy_function(self._examine, [file, num_bytes], tf.bool),
                lambda: tf.constant(True),
            )
            return num_bytes, (video, tf.ensure_shape(is_video, []))

        videos = videos.concatenate(tf.data.Dataset.from_tensors(end))
        videos = videos.apply(tf.data.experimental.scan(np.int64(0), add))
        return videos.filter(lambda video, is_video: is_video).map(lambda video, is_video: video)

    def _video(self, serialized):
        """A record's video, and its size in the file. A bad video gets an empty name and a size of 0."""
        name_or_nothing = tf.io.FixedLenFeature([], tf.string, "")
        context, lists = tf.io.parse_single_sequence_example(
            serialized,
            {"labels": tf.io.VarLenFeature(tf.int64), "id": name_or_nothing, "video_id": name_or_nothing},
            {name: tf.io.FixedLenSequenceFeature([], tf.string) for name in self.data.feature_names},
        )
        name = tf.where(tf.equal(context["id"], ""), context["video_id"], context["id"])
        classes = context["labels"].values
        of_range = tf.range(self.data.num_classes, dtype=tf.int64)
        labels = tf.reduce_any(tf.equal(classes[:, tf.newaxis], of_range), axis=0)
        count = tf.size(lists[self.data.feature_names[0]])
        is_good = tf.not_equal(name, "") & (count > 0)
        is_good &= tf.reduce_all((classes >= 0) & (classes < self.data.num_classes))
        for feature, size in zip(self.data.feature_names, self.data.feature_sizes):
            is_good &= tf.equal(tf.size(lists[feature]), count)
            is_good &= tf.reduce_all(tf.equal(tf.strings.length(lists[feature]), size))
        size = tf.where(is_good, FRAMING + tf.strings.length(serialized), 0)
        return {"id": tf.where(is_good, name, ""), "labels": labels, "frames": lists, "size": tf.cast(size, tf.int64)}

    def _examine(self, file, num_bytes):
        """Looks once for problems in a file whose good videos have `num_bytes` bytes. Returns False.

        Raises a ValueError, which TensorFlow turns into an InvalidArgumentError, for a problem that may not be skipped.
        """
        name = file.decode("utf-8")
        if name not in self.examined:
            self.examined.add(name)
            for problem, what in self._problems(name, num_bytes):
                if not self.data.skip_corrupt:
                    # `errors.problem_of` undoes this escaping.
                    escaped = codecs.escape_encode(problem.encode("utf-8"))[0].decode("ascii").replace("<", r"\x3c")
                    raise ValueError(PROBLEM.format(escaped))
                self.num_skipped += 1
                if self.warns:
                    warn(f"{problem}; skipped {what}, {self.num_skipped} so far")
        return False

    def _problems(self, file, num_good):
        """Yields each problem of a file whose good videos have `num_good` bytes, and the part to be skipped."""
        compression = _compression(file.encode("utf-8"))
        size, num_bytes = _size(file, compression), 0
        if size == num_good > 0:
            return
        with tf.Graph().as_default() as graph:
            serialized = tf.placeholder(tf.string, [])
            good_bytes = self._video(serialized)["size"]
        # The session has its own threads, because TensorFlow's may all be waiting for this function.
        session = tf.Session(graph=graph, config=tf.ConfigProto(use_per_session_threads=True, device_count={"GPU": 0}))
        with contextlib.closing(session), contextlib.suppress(tf.errors.OpError):  # The size shows what is unread.
            for content in tf.io.tf_record_iterator(file, tf.io.TFRecordOptions(compression.decode("ascii"))):
                num_bytes += FRAMING + len(content)
                try:
                    is_good = session.run(good_bytes, {serialized: content}) > 0
                except tf.errors.InvalidArgumentError:
                    is_good = False
                if not is_good:
                    example = _parsed(content)
                    _, expected, got = next(part for part in _requirements(example, self.data) if not part[0])
                    yield f"{file}: video {_name(example) or '?'}: expected {expected}, got {got}", "it"
        kind = _kind(file, compression) if num_bytes == 0 and size is not None else None
        if kind is not None:
            yield f"{file}: expected TFRecords, got {kind}", "it"
        elif num_bytes != size:
            read = f"{num_bytes} bytes" if size is None else f"{num_bytes} bytes out of {size}"
            yield f"{file}: corrupt or truncated: the readable records have {read}", "the rest"


def _parsed(serialized):
    """A SequenceExample; None, if something else is serialised."""
    try:
        example = tf.train.SequenceExample.FromString(serialized)
    except Exception:  # Each version of protobuf raises an error of its own.
        return None
    return example if example.HasField("context") or example.HasField("feature_lists") else None


def _compression(file):
    """TFRecordDataset's name of a file's compression, as bytes."""
    try:
        with tf.io.gfile.GFile(file.decode("utf-8"), "rb") as opened:
            head = opened.read(4096)
        zlib.decompressobj(47).decompress(head)  # 47: the format of gzip or that of zlib
    except (tf.errors.OpError, zlib.error):
        return b""
    return (b"GZIP" if head[:2] == b"\x1f\x8b" else b"ZLIB") if len(head) > 1 else b""


def _size(file, compression):
    """The size of a file's content, decompressed; None, if it cannot be read or decompressed to its end."""
    try:
        with tf.io.gfile.GFile(file, "rb") as opened:
            if not compression:
                return opened.size()
            content, size = opened.read(), 0
        while content:  # A file may hold several compressed streams.
            stream = zlib.decompressobj(47)
            size += len(stream.decompress(content))
            content = stream.unused_data
    except (tf.errors.OpError, zlib.error):
        return None
    return size if stream.eof else None


def _kind(file, compression):
    """What a file without TFRecords is; None, if that is not known."""
    with tf.io.gfile.GFile(file, "rb") as opened:
        content = opened.read(2**24)
    content = zlib.decompressobj(47).decompress(content) if compression else content
    if not content:
        return "an empty file"
    if _parsed(content):
        return "a SequenceExample or an Example outside of a TFRecord"
    return "a file of another format" if int.from_bytes(content[:8], "little") > 2**40 else None  # a record's length


def _requirements(example, data):
    """Yields for each requirement whether the video meets it, what is expected, and what there is instead."""
    yield example is not None, "a SequenceExample", "other content"
    context, lists = example.context.feature, example.feature_lists.feature_list
    labels = context["labels"]
    for key in ("id", "video_id"):
        yield _shown(context[key]) in ("no value", "1 of bytes"), f"one {key} of bytes", _shown(context[key])
    yield _name(example), "its name as id or video_id", "neither"
    yield labels.WhichOneof("kind") in (None, "int64_list"), "labels as integers", _shown(labels)
    for label in labels.int64_list.value:
        yield 0 <= label < data.num_classes, f"labels from 0 to {data.num_classes - 1} (num_classes)", label
    for feature, size in zip(data.feature_names, data.feature_sizes):
        found = ", ".join(sorted(lists)) or "none, as in video-level records"
        yield feature in lists, f"a feature {feature} (feature_names) of frames", found
        for frame in lists[feature].feature:
            shown = _shown(frame)
            yield shown == "1 of bytes", f"one value of bytes for each frame of feature {feature}", shown
            count = len(frame.bytes_list.value[0])
            yield count == size, f"{size} bytes for each frame of feature {feature} (feature_sizes)", count
    counts = {feature: len(lists[feature].feature) for feature in data.feature_names}
    yield any(counts.values()), "frames", "none"
    counted = ", ".join(f"{count} of {feature}" for feature, count in counts.items())
    yield len(set(counts.values())) == 1, "as many frames of each feature", counted
    yield False, "a SequenceExample that TensorFlow can read", "one with unknown or repeated parts"


def _name(example):
    """The name of a video; None, if it has none."""
    context = example.context.feature if example else {}
    names = [value for key in ("id", "video_id") if key in context for value in context[key].bytes_list.value if value]
    return names[0].decode("utf-8", "replace")[:100] if names else None


def _shown(feature):
    """How many values of which kind a feature has."""
    kind = feature.WhichOneof("kind")
    return f"{len(getattr(feature, kind).value)} of {kind.replace('_list', '')}" if kind else "no value"


def _without_autotune(data):
    # In TensorFlow 1.15, autotune crashes the process when a session closes after an error.
    options = tf.data.Options()
    if not hasattr(options, "autotune"):
        options.experimental_optimization.autotune = False
    return data.with_options(options)


def _sampled(video, data, seed):
    """A video with a fixed number of frames, and how many of them are real."""
    size = data.max_frames if data.frame_sampling == "all" else data.iterations
    num_frames = tf.minimum(tf.size(video["frames"][data.feature_names[0]]), data.max_frames)
    places = tf.range(size)
    if data.frame_sampling == "random":
        draws = tf.random.stateless_uniform([size], seed)
        places = tf.cast(draws * tf.cast(num_frames, tf.float32), tf.int32)
    elif data.frame_sampling == "run":
        starts = tf.maximum(num_frames - size, 0) + 1
        places += tf.cast(tf.random.stateless_uniform([1], seed) * tf.cast(starts, tf.float32), tf.int32)
    # A product of a float below 1 and num_frames can round up to num_frames. Places beyond the last frame get the last
    # frame, so that all strings have bytes to decode; `_decoded` replaces these frames with zeros.
    places = tf.minimum(places, num_frames - 1)
    frames = {name: tf.gather(strings, places) for name, strings in video["frames"].items()}
    return dict(video, frames=frames, num_frames=tf.minimum(num_frames, size))


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
