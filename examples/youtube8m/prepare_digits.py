"""Writes scikit-learn's handwritten digits as frame-level YouTube-8M records: four shards to train on, two to validate
and two to test.

A digit is a video, and its patches of 3x3 pixels that are not blank are the frames.
"""

from yt8m import commandline, flags


def main(argv=None):
    parser = commandline.Parser(__doc__)
    flags.add_digits(parser)
    directory = parser.parse_args(argv).digits
    from yt8m import digits  # After the parser, because TensorFlow takes seconds to import.

    files = digits.prepare(directory, again=True)
    print(f"{directory}: {', '.join(f'{len(names)} shards {split}' for split, names in files.items())}")


if __name__ == "__main__":
    commandline.run(main)
