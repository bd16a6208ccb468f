"""Measures training at the size of the published models, and how long a step waits for its input.

Writes synthetic shards, random bytes in the sizes of the real records, and trains a few steps of the preset on them.
The input is fetched apart from the step, so that the time of waiting for it can be told from the step's own.
"""

import os
import tempfile

from yt8m import commandline, flags
from yt8m.settings import settle


def main(argv=None):
    parser = flags.training(__doc__)
    parser.set_defaults(steps=5)
    parser.add_argument("--videos", type=commandline.positive, default=480, help="how many synthetic videos there are")
    parser.add_argument("--shards", type=commandline.positive, default=8, help="in how many shards")
    options = parser.parse_args(argv)
    import numpy as np
    from yt8m import timing  # After the flags, because TensorFlow takes seconds to import.

    with tempfile.TemporaryDirectory() as directory:
        is_synthetic = options.files is None
        if is_synthetic:
            options.files = [os.path.join(directory, "*.tfrecord")]
        settings = settle(options)
        if is_synthetic:
            timing.write_videos(directory, settings.data, options.videos, options.shards)
        steps, waits = timing.time_steps(settings)
        alone = timing.time_input(settings)
    step, wait = np.median(steps), np.median(waits)
    videos = settings.data.batch_size
    print(f"{settings.preset}: {1 / (step + wait):.3f} steps/s, {videos / (step + wait):.1f} videos/s")
    print(f"a step takes {step:.3f} s and waits {wait:.3f} s for its input, {wait / (step + wait):.2%} of the time")
    print(f"the input alone: {videos / alone:.0f} videos/s, {step / alone:.1f} times as fast as the steps")


if __name__ == "__main__":
    commandline.run(main)
