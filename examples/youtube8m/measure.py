"""Measures training at the size of the published models, and how long a step waits for its input.

Trains a few steps of the preset. Without --data, it first writes synthetic shards of random bytes in the real records'
sizes. The input is fetched before each step, so that the wait for it and the step itself are timed separately.
"""

import os
import tempfile
import time

from yt8m import commandline

commandline.prepare()

import numpy as np
import tensorflow.compat.v1 as tf
from yt8m import flags, records, step, writing
from yt8m.settings import settle


def main(argv=None):
    parser = flags.training(__doc__)
    parser.set_defaults(steps=5)
    parser.add_argument("--videos", type=commandline.positive, default=480, help="how many synthetic videos there are")
    parser.add_argument("--shards", type=commandline.positive, default=8, help="how many synthetic shards there are")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        is_synthetic = options.files is None
        options.files = options.files or [os.path.join(directory, "*.tfrecord")]
        settings = settle(options)
        step.settle_towers(settings)
        if is_synthetic:
            write_videos(directory, settings.data, options.videos, options.shards)
        steps, waits = time_steps(settings)
    seconds, wait, videos = np.median(steps), np.median(waits), settings.data.batch_size
    print(f"{settings.preset}: {1 / (seconds + wait):.3f} steps/s, {videos / (seconds + wait):.1f} videos/s")
    share = wait / (seconds + wait)
    print(f"a step takes {seconds:.3f} s and waits {wait:.3f} s for its input, {share:.2%} of the time")


def write_videos(directory, data, videos, shards):
    """Writes shards of random videos in the sizes of the data."""
    rng = np.random.RandomState(0)
    sizes = dict(zip(data.feature_names, data.feature_sizes))
    for shard in range(min(shards, videos)):
        examples = []
        for number in range(shard, videos, shards):
            frames = {name: rng.randint(0, 256, [data.max_frames, size], np.uint8) for name, size in sizes.items()}
            labels = rng.randint(data.num_classes, size=3)
            examples.append(writing.example(b"video%06d" % number, frames, labels))
        writing.write(os.path.join(directory, f"train{shard:04}.tfrecord"), examples)


def time_steps(settings):
    """Returns two lists: the seconds that each step took and waited for its input. The first step is left out."""
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


if __name__ == "__main__":
    commandline.run(main)
