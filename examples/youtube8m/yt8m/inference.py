"""A checkpoint's model on records: its predictions, their metrics, and the submission file."""

import contextlib

import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples import progress
from loupe_examples.errors import UserError

from yt8m import checkpoints, metrics, model, records, submission

# The metrics of `evaluate` with their names for people.
TITLES = {"gap": "GAP", "map": "MAP", "hit_at_one": "Hit@1", "perr": "PERR", "loss": "loss"}


class Inference:
    """A model on batches of records, with the variables of a checkpoint.

    Args:
      settings: a `settings.Settings`, with files.
      checkpoint: the checkpoint, or the directory of which the latest is taken. The attribute `checkpoint` is its name.
      batch_statistics: whether batch norm uses the statistics of each batch, and not its moving averages.

    Raises:
      UserError: if there is no such checkpoint, no files match, the first record is bad or the model cannot be built.
    """

    def __init__(self, settings, checkpoint, batch_statistics=False):
        self.checkpoint = checkpoints.latest(checkpoint)
        self._settings = settings
        self._graph = tf.Graph()
        with self._graph.as_default(), checkpoints.named(self.checkpoint):
            records.check(settings.data, labelled=False)
            self._iterator = tf.data.make_initializable_iterator(records.dataset(settings.data))
            batch = self._iterator.get_next()
            built = model.build_on(batch, settings.data, settings.architecture, is_training=batch_statistics)
            self._fetches = dict(built._asdict(), id=batch["id"], labels=batch["labels"])

    def run(self, *names):
        """Restores the checkpoint, and runs the model over all records once.

        Args:
          *names: the tensors to return for each batch of B videos: id, bytes [B]; labels, bool [B, V]; predictions,
            float32 [B, V]; loss, a float32.

        Yields:
          For each batch, the list of their values.

        Raises:
          UserError: if the checkpoint is damaged or of another architecture, its predictions are not finite, or a
            record is bad.
        """
        fetches = {name: self._fetches[name] for name in names + ("predictions",)}
        # Not the default session, because a generator may never be continued.
        with contextlib.closing(tf.Session(graph=self._graph)) as session, checkpoints.named(self.checkpoint):
            with self._graph.as_default():
                checkpoints.restore(session, self.checkpoint, self._settings)
            session.run(self._iterator.initializer)
            while True:
                try:
                    batch = session.run(fetches)
                except tf.errors.OutOfRangeError:
                    return
                if not np.isfinite(batch["predictions"]).all():
                    raise UserError(f"{self.checkpoint}: expected finite predictions, got NaN or infinity")
                yield [batch[name] for name in names]


def evaluate(settings, checkpoint, batch_statistics=False, seen=None):
    """The metrics of a checkpoint on labelled records.

    Args:
      settings, checkpoint, batch_statistics: as for `Inference`.
      seen: a list, to which the predictions [B, V] and labels [B, V] of each batch are added. Default None.

    Returns:
      The dict of `metrics.Metrics.result`, and `checkpoint`.

    Raises:
      UserError: for bad input.
    """
    gathered = metrics.Metrics(settings.data.num_classes)
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
    """The metrics of the average of several models' predictions, the dict of `metrics.Metrics.result`.

    Args:
      seen: for each model the list that `evaluate` has filled, all on the same records in batches of the same size.
    """
    gathered = None
    for batches in zip(*seen):
        labels, predictions = batches[0][1], np.mean([predictions for predictions, _ in batches], axis=0)
        gathered = gathered or metrics.Metrics(labels.shape[1])
        entropies = np.log(np.where(labels, predictions, 1 - predictions) + 1e-5)
        gathered.add(predictions, labels, -entropies.sum(axis=1).mean())
    return gathered.result()


def line(result):
    """The result of `evaluate` as a line of text."""
    figures = ", ".join(f"{title} {result[name]:.5f}" for name, title in TITLES.items())
    return f"{result['checkpoint']}: {figures}, of {result['videos']} videos"


def predict(settings, path, top_k, batch_statistics=False):
    """Writes a submission file with the `top_k` best classes of each video.

    Returns:
      How many videos there are, and the checkpoint's name.

    Raises:
      UserError: for bad input.
    """
    inference = Inference(settings, settings.checkpoint, batch_statistics)
    count = 0
    # disable=None: no progress bar in a log.
    with submission.writer(path) as write, progress.bar(desc="predict", unit="video", disable=None) as shown:
        for videos, predictions in inference.run("id", "predictions"):
            for video, classes, confidences in zip(videos, *metrics.top_predictions(predictions, top_k)):
                write(_text(video, settings.data.files), classes, confidences)
            count += len(videos)
            shown.update(len(videos))
    return count, inference.checkpoint


def _text(video, files):
    text = video.decode("utf-8", "surrogateescape")
    if not text.isprintable():
        problem = f"expected the ids of videos in printable UTF-8, as submission files are, got {video}"
        raise UserError(f"{' '.join(files)}: {problem}")
    return text
