"""Frame-level YouTube-8M records, written from NumPy arrays."""

import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples import files
from loupe_examples.errors import UserError


def write(path, examples):
    """Writes a shard of serialised examples (see `example`), whole or not at all."""
    try:
        with files.whole(path) as partial, tf.io.TFRecordWriter(partial) as writer:
            for serialized in examples:
                writer.write(serialized)
    except tf.errors.OpError as error:
        raise UserError(f"{path}: {error.message}") from error


def example(video, features, labels=None, key="id"):
    """A video as a serialised SequenceExample.

    Args:
      video: the video's id, bytes.
      features: a dict of uint8 arrays [frames, size] by name.
      labels: ints. Default None: the record has none, as in the test split.
      key: id, or video_id as in 2017.

    Raises:
      TypeError: if a feature is not of uint8; `quantised` makes it so.
      ValueError: if a feature is not [frames, size].
    """
    for name, frames in features.items():
        if getattr(frames, "dtype", None) != np.uint8:
            got = getattr(frames, "dtype", type(frames).__name__)
            raise TypeError(f"features: expected uint8, as `quantised` returns it, got {got} for {name}")
        if frames.ndim != 2:
            raise ValueError(f"features: expected shape [frames, size], got {frames.shape} for {name}")
    context = {key: _bytes(video)}
    if labels is not None:
        context["labels"] = tf.train.Feature(int64_list=tf.train.Int64List(value=labels))
    lists = {name: tf.train.FeatureList(feature=map(_bytes, frames)) for name, frames in features.items()}
    return tf.train.SequenceExample(
        context=tf.train.Features(feature=context), feature_lists=tf.train.FeatureLists(feature_list=lists)
    ).SerializeToString()


def quantised(values):
    """Floats as bytes for records, where the byte q stands for ``q * 4/255 + 4/512 - 2``. Same shape, uint8

    Floats below -2 and above 2 get the nearest byte, as in the published features.

    Raises a ValueError if a float is not finite.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("values: expected finite numbers, got NaN or infinity")
    return np.clip(np.round((values - (4 / 512 - 2)) * (255 / 4)), 0, 255).astype(np.uint8)


def _bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes(value)]))
