"""Trains every preset on the digits, and prints a table of their metrics on the validation digits, in Markdown.

The last row is for the average of the models that belong to the published submission, if there are two or more. Models
that are trained already are not trained again.
"""

import argparse
import os
import sys

from yt8m import commandline, errors

commandline.prepare()

from yt8m import digits, flags, inference, training
from yt8m.presets import PRESETS, SUBMISSION
from yt8m.settings import settle


def main(argv=None):
    parser = commandline.Parser(__doc__)
    parser.add_argument(
        "--presets", type=flags.presets, default=",".join(PRESETS), metavar="NAME,NAME...", help="names to compare"
    )
    parser.add_argument(
        "--checkpoints", metavar="DIRECTORY", help="where the models are kept (default: checkpoints/seed-SEED)"
    )
    flags.add_digits(parser)
    parser.add_argument(
        "--steps", type=commandline.positive, help="how many steps each model is trained (default: as in train.py)"
    )
    parser.add_argument("--seed", type=commandline.seed, default=1, help="the seed of all training runs")
    options = parser.parse_args(argv)
    directory = options.checkpoints or os.path.join("checkpoints", f"seed-{options.seed}")
    results, averaged = {}, []
    for preset in options.presets:
        print(f"{preset}:", file=sys.stderr)
        given = argparse.Namespace(preset=preset, digits=options.digits, steps=options.steps, seed=options.seed)
        given.checkpoint = os.path.join(directory, preset)
        settings = settle(given)
        digits.provide(settings.data, "train")
        before, steps = training.train(settings), settings.training.steps
        if before > steps:
            raise errors.UserError(f"{given.checkpoint}: expected a model of {steps} steps, got one of {before}")
        settings.data.files = None
        digits.provide(settings.data, "validate")
        seen = []
        results[preset] = inference.evaluate(settings, given.checkpoint, seen=seen)
        if preset in SUBMISSION:
            averaged.append(seen)
    if len(averaged) > 1:
        results[f"average of {len(averaged)}"] = inference.evaluate_average(averaged)
    titles = ["model"] + list(inference.TITLES.values())
    rows = [[name] + [f"{result[key]:.3f}" for key in inference.TITLES] for name, result in results.items()]
    for row in [titles, ["---"] * len(titles)] + rows:
        print("| {} |".format(" | ".join(row)))


if __name__ == "__main__":
    commandline.run(main)
