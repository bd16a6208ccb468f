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
    parser = flags.inference(__doc__, "validate")
    parser.add_argument("--json", action="store_true", help="print each evaluation as a line of JSON")
    parser.add_argument(
        "--continuous", action="store_true", help="evaluate each new checkpoint of the directory, until the last"
    )
    parser.add_argument(
        "--timeout",
        type=commandline.not_negative,
        metavar="SECONDS",
        help="with --continuous, end after this many seconds without a new checkpoint (default: wait without end)",
    )
    options = parser.parse_args(argv)
    if options.timeout is not None and not options.continuous:
        parser.error("argument --timeout: expected --continuous with it")
    path = settle(options, saved=True).checkpoint
    if options.continuous and (os.path.isfile(path) or os.path.isfile(path + ".index")):
        raise errors.UserError(f"continuous: expected a directory of checkpoints, got {path}")
    settings = None
    following = tf.train.checkpoints_iterator(path, timeout=options.timeout) if options.continuous else [path]
    for checkpoint in following:
        settings = settle(options, saved=True)  # A training run may have saved them only now.
        digits.provide(settings.data, "validate")
        result = inference.evaluate(settings, checkpoint, options.batch_statistics)
        errors.show(json.dumps(result) if options.json else inference.line(result))
        if options.continuous and checkpoints.is_last(checkpoint):
            return
    if settings is None:
        raise errors.UserError(f"{path}: no checkpoint within {options.timeout:g} seconds")


if __name__ == "__main__":
    commandline.run(main)
