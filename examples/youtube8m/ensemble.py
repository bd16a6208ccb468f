"""Writes the weighted average of submission files.

Where a file does not list a class for a video, its confidence there counts as 0.
"""

from yt8m import commandline, errors, flags, submission


def main(argv=None):
    parser = commandline.Parser(__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a submission file, such as predict.py writes")
    flags.add_output(parser, required=True)
    parser.add_argument(
        "--weights", type=commandline.weights, metavar="W,W...", help="a weight for each file (default: all equal)"
    )
    parser.add_argument(
        "--read-top", type=commandline.positive, metavar="N", help="read only a video's N best classes (default: all)"
    )
    parser.add_argument(
        "--decimals", type=commandline.positive, metavar="N", help="cut confidences off after N decimals"
    )
    options = parser.parse_args(argv)
    weights = options.weights or [1.0] * len(options.files)
    if len(weights) != len(options.files):
        parser.error(f"argument --weights: expected {len(options.files)}, one for each file, got {len(weights)}")
    num_videos = submission.average(
        options.output, options.files, weights, options.top, options.read_top, options.decimals
    )
    errors.show(f"{options.output}: {num_videos} videos, averaged over {len(options.files)} files")


if __name__ == "__main__":
    commandline.run(main)
