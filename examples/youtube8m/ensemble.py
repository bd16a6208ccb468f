"""Averages submission files into one, weighted.

A class that a file leaves out of a video's best counts as 0 there.
"""

from yt8m import commandline, flags, submission


def main(argv=None):
    parser = commandline.Parser(__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a submission file, as predict.py writes them")
    flags.add_output(parser, required=True)
    parser.add_argument(
        "--weights", type=commandline.weights, metavar="W,W...", help="a weight for each file (default: all equal)"
    )
    parser.add_argument(
        "--read-top", type=commandline.positive, metavar="N", help="how many classes of a video are read (default: all)"
    )
    parser.add_argument(
        "--decimals", type=commandline.positive, metavar="N", help="after how many decimals confidences are cut off"
    )
    options = parser.parse_args(argv)
    weights = options.weights or [1.0] * len(options.files)
    if len(weights) != len(options.files):
        parser.error(f"argument --weights: expected {len(options.files)}, one for each file, got {len(weights)}")
    num_videos = submission.average(
        options.output, options.files, weights, options.top, options.read_top, options.decimals
    )
    print(f"{options.output}: {num_videos} videos, averaged over {len(options.files)} files")


if __name__ == "__main__":
    commandline.run(main)
