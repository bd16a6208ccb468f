"""The metrics of a checkpoint on labelled videos."""

import numpy as np
from loupe_examples import progress
from loupe_examples.errors import UserError

from yt8m.inference import Inference
from yt8m.metrics import Metrics

TITLES = {"gap": "GAP", "map": "MAP", "hit_at_one": "Hit@1", "perr": "PERR", "loss": "loss"}


def evaluate(settings, checkpoint, batch_statistics=False, seen=None):
    """The metrics of a checkpoint on the records of the settings.

    Args:
      settings: settled (see `settings.settle`), with data.
      checkpoint: the checkpoint, or the directory whose latest it is.
      seen: a list, to which the predictions [B, V] and labels [B, V] of each batch are added. Default None.

    Returns:
      The dict of `metrics.Metrics.result`, and `checkpoint`.

    Raises:
      UserError: for bad input.
      tf.errors.InvalidArgumentError: for bad records (see `records.dataset`).
    """
    gathered = Metrics(settings.data.num_classes)
    inference = Inference(settings, checkpoint, batch_statistics)
    # disable=None: no progress bar in a log.
    with progress.bar(desc="evaluate", unit="video", disable=None) as shown:
        for predictions, labels, loss in inference.run("predictions", "labels", "loss"):
            gathered.add(predictions, labels, loss)
            if seen is not None:
                seen.append((predictions, labels))
            shown.update(len(labels))
    if not gathered.num_labels:
        raise UserError(f"{' '.join(settings.data.files)}: expected videos with labels, got none")
    return dict(gathered.result(), checkpoint=inference.checkpoint)


def evaluate_average(seen):
    """The metrics of the average of several models' predictions, a dict as of `metrics.Metrics.result`.

    Args:
      seen: what `evaluate` has seen of each model, all on the same records in batches of the same size, a list.
    """
    gathered = None
    for batches in zip(*seen):
        labels, predictions = batches[0][1], np.mean([predictions for predictions, _ in batches], axis=0)
        gathered = gathered or Metrics(labels.shape[1])
        entropies = np.log(np.where(labels, predictions, 1 - predictions) + 1e-5)
        gathered.add(predictions, labels, -entropies.sum(axis=1).mean())
    return gathered.result()


def line(result):
    """The result of `evaluate` as a line of text."""
    figures = ", ".join(f"{title} {result[name]:.5f}" for name, title in TITLES.items())
    return f"{result['checkpoint']}: {figures}, of {result['videos']} videos"
