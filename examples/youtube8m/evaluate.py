"""Evaluates a model on labelled videos: GAP, MAP, Hit@1, PERR and the loss.

Without --data, it evaluates on the validation digits.
"""

import json

from yt8m import commandline, errors

commandline.prepare()

from yt8m import checkpoints, digits, flags, inference
from yt8m.settings import settle


def main(argv=None):
    arguments = parser()
    options = arguments.parse_args(argv)
    if options.timeout is not None and not options.continuous:
        arguments.error("argument --timeout: expected --continuous beside it")
    directory = settle(options, saved=True).checkpoint

    def evaluate(checkpoint):
        settings = settle(options, saved=True)  # Each time, because a training may have kept its settings only now.
        digits.provide(settings.data, "validate")
        result = inference.evaluate(settings, checkpoint or settings.checkpoint, options.batch_statistics)
        print(json.dumps(result) if options.json else inference.line(result), flush=True)

    if not options.continuous:
        evaluate(None)
        return
    for checkpoint in checkpoints.following(directory, options.timeout):
        try:
            evaluate(checkpoint)
        except errors.UserError:
            # A training that goes on may have removed it.
            if checkpoints.exists(checkpoint):
                raise
            errors.warn(f"{checkpoint}: is gone; waiting for the next")
            continue
        if checkpoints.is_last(checkpoint):
            return


def parser():
    result = flags.inference(__doc__, "validate")
    result.add_argument("--json", action="store_true", help="print each evaluation as a line of JSON")
    result.add_argument(
        "--continuous",
        action="store_true",
        help="evaluate each new checkpoint of the directory, until the training's last",
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
