"""Predicts the classes of videos, and writes the submission file of the challenge.

Without --data, of the test digits.
"""

from yt8m import commandline, flags
from yt8m.settings import settle


def main(argv=None):
    parser = flags.inference(__doc__, "test")
    flags.add_output(parser, default="predictions.csv")
    options = parser.parse_args(argv)
    settings = settle(options, saved=True)
    from yt8m import digits, prediction  # After the flags, because TensorFlow takes seconds to import.

    digits.provide(settings.data, "test")
    count, checkpoint = prediction.predict(settings, options.output, options.top, options.batch_statistics)
    print(f"{options.output}: {count} videos, by {checkpoint}")


if __name__ == "__main__":
    commandline.run(main)
