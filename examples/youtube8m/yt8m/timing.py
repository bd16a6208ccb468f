"""How long training steps take, and how long they wait for their input."""

import os
import time

import numpy as np
import tensorflow.compat.v1 as tf

from yt8m import records, step


def write_videos(directory, data, videos, shards):
    """Writes shards of random videos in the sizes of the data."""
    rng = np.random.RandomState(0)
    for shard in range(shards):
        examples = []
        for number in range(shard, videos, shards):
            features = {
                name: rng.randint(0, 256, [data.max_frames, size]).astype(np.uint8)
                for name, size in zip(data.feature_names, data.feature_sizes)
            }
            labels = rng.choice(data.num_classes, 3, replace=False)
            examples.append(records.example(b"video%06d" % number, features, labels))
        records.write(os.path.join(directory, f"train{shard:04}.tfrecord"), examples)


def time_steps(settings):
    """The seconds that each step took, and waited for its input, two lists; after a step that is not counted."""
    settings.training.towers = settings.training.towers or max(1, step.count_gpus())
    with tf.Graph().as_default():
        iterator = tf.data.make_initializable_iterator(records.dataset(settings.data, training=True))
        following = iterator.get_next()
        batch = {name: tf.placeholder(value.dtype, value.shape, name) for name, value in following.items()}
        train = step.build(batch, settings).train
        steps, waits = [], []
        with tf.Session(config=step.config(settings.training.towers)) as session:
            session.run([tf.global_variables_initializer(), iterator.initializer])
            for _ in range(settings.training.steps + 1):
                start = time.time()
                values = session.run(following)
                fetched = time.time()
                session.run(train, {batch[name]: values[name] for name in batch})
                waits.append(fetched - start)
                steps.append(time.time() - fetched)
    return steps[1:], waits[1:]


def time_input(settings):
    """The seconds that the input takes for a batch where no step is run."""
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(records.dataset(settings.data, training=True))
        following = iterator.get_next()["frames"].op
        session.run(iterator.initializer)
        # What has been read ahead does not count.
        count = settings.training.steps + 5
        times = []
        for _ in range(count):
            session.run(following)
            times.append(time.time())
    return (times[-1] - times[4]) / (count - 5)
