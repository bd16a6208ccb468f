"""Writes frame-level YouTube-8M records."""

import files
import tensorflow.compat.v1 as tf


def example(video, features, labels=None, key="id"):
    """A video as a serialised SequenceExample.

    Args:
      video: the video's id, bytes.
      features: by name, a uint8 array [frames, size].
      labels: ints. Default None: the record has none, as in the test split.
      key: id, or video_id as in 2017.
    """
    context = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[video]))}
    if labels is not None:
        context["labels"] = tf.train.Feature(int64_list=tf.train.Int64List(value=labels))
    lists = {name: tf.train.FeatureList(feature=map(_frame, frames)) for name, frames in features.items()}
    return tf.train.SequenceExample(
        context=tf.train.Features(feature=context), feature_lists=tf.train.FeatureLists(feature_list=lists)
    ).SerializeToString()


def _frame(values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[values.tobytes()]))


def write(path, examples):
    """Writes a shard of serialised examples, whole or not at all."""
    with files.whole(path) as partial, tf.io.TFRecordWriter(partial) as writer:
        for serialized in examples:
            writer.write(serialized)
