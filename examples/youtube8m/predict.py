"""Predicts the classes of videos, and writes the submission file of the challenge.

Without --data, it predicts the test digits.
"""

from yt8m import commandline, errors

commandline.prepare()

from yt8m import digits, flags, inference
from yt8m.settings import settle


def main(argv=None):
    parser = flags.inference(__doc__, "test")
    flags.add_output(parser, default="predictions.csv")
    options = parser.parse_args(argv)
    settings = settle(options, saved=True)
    digits.provide(settings.data, "test")
    count, checkpoint = inference.predict(settings, options.output, options.top, options.batch_statistics)
    errors.show(f"{options.output}: {count} videos, by {checkpoint}")


if __name__ == "__main__":
    commandline.run(main)
