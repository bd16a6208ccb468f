"""A checkpoint's model on records: its predictions, their metrics, and the submission file."""

import contextlib

import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples import progress
from loupe_examples.errors import UserError, warn

from yt8m import checkpoints, metrics, model, records, submission

# The metrics of `evaluate` and the names under which they are printed.
TITLES = {"gap": "GAP", "map": "MAP", "hit_at_one": "Hit@1", "perr": "PERR", "loss": "loss"}


def run(settings, checkpoint, names, batch_statistics=False):
    """Runs the model of a checkpoint over all records once.

    Yields, for each batch of B videos, the values that `names` lists: id, bytes [B]; labels, bool [B, V]; predictions,
    float32 [B, V]; loss, a float32. With `batch_statistics`, batch norm uses the batch's statistics, not the moving
    averages. Raises a `UserError` if the checkpoint does not fit, a prediction is not finite, or a record is bad.
    """
    with tf.Graph().as_default() as graph, checkpoints.named(checkpoint):
        records.check(settings.data, labelled=False)
        iterator = tf.data.make_initializable_iterator(records.dataset(settings.data))
        batch = iterator.get_next()
        built = model.build_on(batch, settings.data, settings.architecture, is_training=batch_statistics)
        fetches = dict(built._asdict(), id=batch["id"], labels=batch["labels"])
        fetches = {name: fetches[name] for name in [*names, "predictions"]}
    # The session is not made the default, because a generator may never be continued.
    with contextlib.closing(tf.Session(graph=graph)) as session, checkpoints.named(checkpoint):
        with graph.as_default():
            checkpoints.restore(session, checkpoint, settings)
        session.run(iterator.initializer)
        with contextlib.suppress(tf.errors.OutOfRangeError):
            while True:
                values = session.run(fetches)
                if not np.isfinite(values["predictions"]).all():
                    raise UserError(f"{checkpoint}: expected finite predictions, got NaN or infinity")
                yield [values[name] for name in names]


def evaluate(settings, checkpoint, batch_statistics=False, seen=None):
    """The metrics of a checkpoint, or of a directory's latest: `metrics.Metrics.result` with the name as `checkpoint`.

    The errors are those of `run`. The predictions [B, V] and labels [B, V] of each batch are added to the list `seen`.
    """
    checkpoint = checkpoints.latest(checkpoint)
    gathered = metrics.Metrics(settings.data.num_classes)
    with progress.bar(desc="evaluate", unit="video") as shown:
        for predictions, labels, loss in run(settings, checkpoint, ["predictions", "labels", "loss"], batch_statistics):
            gathered.add(predictions, labels, loss)
            if seen is not None:
                seen.append((predictions, labels))
            shown.update(len(labels))
    if not gathered.num_labels:
        raise UserError(f"{' '.join(settings.data.files)}: expected videos with labels, got none")
    return dict(gathered.result(), checkpoint=checkpoint)


def evaluate_average(seen):
    """The metrics of the average of several models, whose lists `evaluate` has filled from batches of the same size."""
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
    """Writes a submission file with the `top_k` best classes of each video. The errors are those of `run`.

    An id that no submission file can have is an error, or skipped with `skip_corrupt`. Returns how many videos are
    written, and the checkpoint's name.
    """
    checkpoint, written = checkpoints.latest(settings.checkpoint), set()
    with submission.writer(path) as write, progress.bar(desc="predict", unit="video") as shown:
        for videos, predictions in run(settings, checkpoint, ["id", "predictions"], batch_statistics):
            for video, classes, confidences in zip(videos, *metrics.top_predictions(predictions, top_k)):
                text = video.decode("utf-8", "surrogateescape")
                if text.isprintable() and text not in written:
                    write(text, classes, confidences)
                    written.add(text)
                    continue
                expected = "each id once" if text in written else "an id of printable UTF-8"
                problem = f"video {text[:100]}: expected {expected}, as in submission files"
                if not settings.data.skip_corrupt:
                    raise UserError(f"{' '.join(settings.data.files)}: {problem}")
                warn(f"{problem}; skipped it")
            shown.update(len(videos))
    return len(written), checkpoint
