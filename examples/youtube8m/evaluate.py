"""Evaluates a model on labelled videos: GAP, MAP, Hit@1, PERR and the loss.

Without --data, it evaluates on the validation digits.
"""

import json
import os

from yt8m import commandline, errors

commandline.prepare()

import tensorflow.compat.v1 as tf
from yt8m import checkpoints, digits, flags, inference
from yt8m.settings import settle


def main(argv=None):
    arguments = parser()
    options = arguments.parse_args(argv)
    if options.timeout is not None and not options.continuous:
        arguments.error("argument --timeout: expected --continuous with it")
    path = settle(options, saved=True).checkpoint
    if options.continuous and (os.path.isfile(path) or os.path.isfile(path + ".index")):
        raise errors.UserError(f"continuous: expected a directory of checkpoints, got {path}")
    following = tf.train.checkpoints_iterator(path, timeout=options.timeout) if options.continuous else [path]
    for checkpoint in following:
        settings = settle(options, saved=True)  # Each time: a training may have saved its settings only now.
        digits.provide(settings.data, "validate")
        result = inference.evaluate(settings, checkpoint, options.batch_statistics)
        print(json.dumps(result) if options.json else inference.line(result), flush=True)
        if options.continuous and checkpoints.is_last(checkpoint):
            return


def parser():
    result = flags.inference(__doc__, "validate")
    result.add_argument("--json", action="store_true", help="print each evaluation as a line of JSON")
    result.add_argument(
        "--continuous", action="store_true", help="evaluate each new checkpoint of the directory, until the last"
    )
    result.add_argument(
        "--timeout",
        type=commandline.not_negative,
        metavar="SECONDS",
        help="with --continuous, end after so many seconds without a new checkpoint (default: wait without end)",
    )
    return result


if __name__ == "__main__":
    commandline.run(main)
