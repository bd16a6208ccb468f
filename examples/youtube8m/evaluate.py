"""Evaluates a model on labelled videos: GAP, MAP, Hit@1, PERR and the loss.

Without --data, on the validation digits.
"""

import copy
import json

import commandline
import inference
import presets
import tensorflow.compat.v1 as tf
from metrics import Metrics
from tqdm import tqdm

TITLES = {"gap": "GAP", "map": "MAP", "hit_at_one": "Hit@1", "perr": "PERR", "loss": "loss"}


def main(argv=None):
    parser = inference.parser(__doc__, "validate")
    parser.add_argument("--json", action="store_true", help="print each evaluation as a line of JSON")
    parser.add_argument("--continuous", action="store_true", help="evaluate each new checkpoint of the directory")
    parser.add_argument(
        "--timeout",
        type=commandline.not_negative,
        metavar="SECONDS",
        help="with --continuous, end when so long no checkpoint has come; None: wait for ever",
    )
    flags = parser.parse_args(argv)
    settings = presets.settle(copy.copy(flags), "validate", saved=True)
    if settings.continuous:
        for checkpoint in tf.train.checkpoints_iterator(settings.checkpoint, timeout=settings.timeout):
            # The training may have kept its settings only now.
            settings = presets.settle(copy.copy(flags), "validate", saved=True)
            try:
                _report(evaluate(settings, checkpoint), settings)
            except commandline.UserError:
                # A training that goes on may have removed it.
                if tf.train.checkpoint_exists(checkpoint):
                    raise
                commandline.warn(f"{checkpoint}: is gone; waiting for the next")
    else:
        _report(evaluate(settings, settings.checkpoint), settings)


def evaluate(settings, checkpoint):
    """The metrics of a checkpoint on the records of the settings.

    Args:
      settings: the values of the flags of `inference.parser`, settled (see `presets.settle`).
      checkpoint: the checkpoint, or the directory whose latest it is.

    Returns:
      The dict of `metrics.Metrics.result`, and `checkpoint`.

    Raises:
      UserError: for bad input.
      tf.errors.InvalidArgumentError: for bad records (see `records.dataset`).
    """
    gathered = Metrics(settings.num_classes)
    model = inference.Inference(settings, checkpoint)
    with tqdm(desc="evaluate", unit="video", disable=None) as progress:
        for predictions, labels, loss in model.run("predictions", "labels", "loss"):
            gathered.add(predictions, labels, loss)
            progress.update(len(labels))
    if not gathered.num_labels:
        raise commandline.UserError(f"{' '.join(settings.data)}: expected videos with labels, came none")
    return dict(gathered.result(), checkpoint=model.checkpoint)


def _report(result, settings):
    if settings.json:
        line = json.dumps(result)
    else:
        figures = ", ".join(f"{title} {result[name]:.5f}" for name, title in TITLES.items())
        line = f"{result['checkpoint']}: {figures}, of {result['videos']} videos"
    print(line, flush=True)


if __name__ == "__main__":
    commandline.run(main)
