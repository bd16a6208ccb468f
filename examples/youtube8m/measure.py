"""Measures training at the size of the published models, and how long a step waits for its input.

Writes synthetic shards, random bytes in the sizes of the real records, and trains a few steps of the preset on them.
The input is fetched apart from the step, so that the time of waiting for it can be told from the step's own.
"""

import os
import tempfile
import time

import commandline
import numpy as np
import presets
import records
import shards
import tensorflow.compat.v1 as tf
import train
import training


def main(argv=None):
    parser = train.parser()
    parser.description = __doc__
    parser.set_defaults(steps=5)
    parser.add_argument("--videos", type=commandline.positive, default=480, help="how many synthetic videos there are")
    parser.add_argument("--shards", type=commandline.positive, default=8, help="in how many shards")
    settings = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        if settings.data is None:
            settings.data = [os.path.join(directory, "*.tfrecord")]
        presets.settle(settings, "train")
        if settings.data[0].startswith(directory):
            write(directory, settings)
        settings.towers = settings.towers or max(1, training.count_gpus())
        steps, waits = measure(settings)
        alone = measure_input(settings)
    step, wait = np.median(steps), np.median(waits)
    videos = settings.batch_size
    print(f"{settings.preset}: {1 / (step + wait):.3f} steps/s, {videos / (step + wait):.1f} videos/s")
    print(f"a step takes {step:.3f} s and waits {wait:.3f} s for its input, {wait / (step + wait):.2%} of the time")
    print(f"the input alone: {videos / alone:.0f} videos/s, {step / alone:.1f} times as fast as the steps")


def write(directory, settings):
    """Writes random videos of the settings' sizes."""
    rng = np.random.RandomState(0)
    for shard in range(settings.shards):
        examples = []
        for number in range(shard, settings.videos, settings.shards):
            features = {
                name: rng.randint(0, 256, [settings.max_frames, size]).astype(np.uint8)
                for name, size in zip(settings.feature_names, settings.feature_sizes)
            }
            labels = rng.choice(settings.num_classes, 3, replace=False)
            examples.append(shards.example(b"video%06d" % number, features, labels))
        shards.write(os.path.join(directory, f"train{shard:04}.tfrecord"), examples)


def measure(settings):
    """The seconds that each step took, and waited for its input, two lists; after a step that is not counted."""
    with tf.Graph().as_default():
        iterator = tf.data.make_initializable_iterator(records.dataset(settings, training=True))
        following = iterator.get_next()
        batch = {name: tf.placeholder(value.dtype, value.shape, name) for name, value in following.items()}
        step = training.build(batch, settings).step
        steps, waits = [], []
        with tf.Session(config=training.config(settings)) as session:
            session.run([tf.global_variables_initializer(), iterator.initializer])
            for _ in range(settings.steps + 1):
                start = time.time()
                values = session.run(following)
                fetched = time.time()
                session.run(step, {batch[name]: values[name] for name in batch})
                waits.append(fetched - start)
                steps.append(time.time() - fetched)
    return steps[1:], waits[1:]


def measure_input(settings):
    """The seconds that the input takes for a batch where no step is run."""
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(records.dataset(settings, training=True))
        following = iterator.get_next()["frames"].op
        session.run(iterator.initializer)
        # What has been read ahead does not count.
        count = settings.steps + 5
        times = []
        for _ in range(count):
            session.run(following)
            times.append(time.time())
    return (times[-1] - times[4]) / (count - 5)


if __name__ == "__main__":
    commandline.run(main)
