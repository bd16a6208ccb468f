"""Trains every preset on the digits, and prints a table of their metrics on the validation digits, in Markdown.

What is trained already is not trained again.
"""

import argparse
import contextlib
import os
import sys

import commandline
import evaluate
import inference
import presets
import train


def main(argv=None):
    parser = commandline.Parser(__doc__)
    parser.add_argument(
        "--presets", type=_presets, default=",".join(presets.PRESETS), metavar="NAME,NAME...", help="which"
    )
    parser.add_argument("--checkpoints", default="checkpoints", metavar="DIRECTORY", help="where the models are kept")
    parser.add_argument("--digits", default="digits", metavar="DIRECTORY", help="where the digits are, or shall be")
    parser.add_argument("--steps", type=commandline.positive, help="how many steps each is trained; None: as train.py")
    parser.add_argument("--seed", type=int, default=1, help="of the trainings")
    flags = parser.parse_args(argv)
    rows = []
    for preset in flags.presets:
        shared = ["--preset", preset, "--digits", flags.digits]
        shared += ["--checkpoint", os.path.join(flags.checkpoints, preset)]
        print(f"{preset}:", file=sys.stderr)
        with contextlib.redirect_stdout(sys.stderr):
            steps = [] if flags.steps is None else ["--steps", str(flags.steps)]
            train.main(shared + steps + ["--seed", str(flags.seed)])
        settings = inference.parser("", "validate").parse_args(shared)
        settings = presets.settle(settings, "validate", saved=True)
        rows.append([preset] + _figures(evaluate.evaluate(settings, settings.checkpoint)))
    for row in [["model"] + list(evaluate.TITLES.values()), ["---"] * (1 + len(evaluate.TITLES))] + rows:
        print("| {} |".format(" | ".join(row)))


def _figures(result):
    return [f"{result[name]:.3f}" for name in evaluate.TITLES]


def _presets(text):
    names = commandline.names(text)
    for name in names:
        if name not in presets.PRESETS:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(presets.PRESETS)}, came {name}")
    return names


if __name__ == "__main__":
    commandline.run(main)
