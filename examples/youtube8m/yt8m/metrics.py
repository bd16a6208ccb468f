"""The YouTube-8M challenge's metrics: GAP, MAP, Hit@1 and PERR, over batches of predictions."""

import numpy as np
from sklearn.metrics import average_precision_score

TOP_K = 20  # How many predictions of a video count in the challenge.


class Metrics:
    """Gathers batches of predictions, then gives the metrics of all of them.

    Keeps the score, the class and the truth of each video's `top_k` best predictions, 7 bytes each, and nothing else:
    160 MB for the 1.1 million videos of a YouTube-8M split. `num_videos` and `num_labels` are how many there were.

    Args:
      num_classes: V, the size of the vocabulary, a positive integer.
      top_k: how many predictions of each video count, a positive integer. Default 20.
    """

    def __init__(self, num_classes, top_k=TOP_K):
        self.num_classes = num_classes
        self.top_k = min(top_k, num_classes)
        self.num_videos = 0
        self.num_labels = 0
        self._top = []  # of each batch: classes, scores and whether they are true, each [videos, top_k]
        self._num_true = np.zeros(num_classes, np.int64)
        self._hits_at_one = self._precisions = self._losses = 0.0

    def add(self, predictions, labels, loss=None):
        """Takes in a batch.

        Args:
          predictions: confidences, a float array [videos, V].
          labels: which classes are true, a bool array [videos, V].
          loss: the mean loss of the batch's videos, a number. Default None: unknown.

        Raises:
          ValueError: if the shapes differ or are not [videos, V], or a prediction is not finite.
        """
        predictions, labels = np.asarray(predictions), np.asarray(labels, bool)
        if predictions.ndim != 2 or predictions.shape[1] != self.num_classes:
            raise ValueError(f"predictions: expected shape [videos, {self.num_classes}], got {predictions.shape}")
        if labels.shape != predictions.shape:
            raise ValueError(f"labels: expected the predictions' shape {predictions.shape}, got {labels.shape}")
        if not np.isfinite(predictions).all():
            raise ValueError("predictions: expected finite numbers, got NaN or infinity")
        if len(predictions) == 0:
            return
        counts = labels.sum(axis=1)  # [videos]
        classes, scores = top_predictions(predictions, max(self.top_k, counts.max()))
        is_true = np.take_along_axis(labels, classes, axis=1)
        self.num_videos += len(predictions)
        self.num_labels += int(counts.sum())
        self._num_true += labels.sum(axis=0)
        self._hits_at_one += is_true[:, 0].sum()
        # Precision at as many predictions as the video has labels. A prediction of zero predicts nothing.
        within = np.arange(classes.shape[1]) < counts[:, np.newaxis]
        self._precisions += ((is_true & within & (scores > 0)).sum(axis=1) / np.maximum(counts, 1)).sum()
        self._losses += np.nan if loss is None else float(loss) * len(predictions)
        kept = [
            classes.astype(np.min_scalar_type(self.num_classes - 1)),
            scores.astype(np.float32),
            is_true,
        ]
        # Copies, because a view would keep the whole batch alive.
        self._top.append([column[:, : self.top_k].copy() for column in kept])

    def average_precisions(self):
        """The average precision of each class, a float array [V]; NaN for classes that no video has."""
        classes, scores, is_true = self._columns()
        order = np.argsort(classes, kind="stable")
        ends = np.cumsum(np.bincount(classes, minlength=self.num_classes))
        parts = np.split(order, ends[:-1])
        return np.array(
            [_average_precision(scores[part], is_true[part], num_true) for part, num_true in zip(parts, self._num_true)]
        )

    def gap(self):
        """Global average precision: of all kept predictions in one ranking."""
        _, scores, is_true = self._columns()
        return _average_precision(scores, is_true, self.num_labels)

    def result(self):
        """The metrics so far, a dict of floats.

        `gap`; `map`, the mean of the average precisions of the classes that occur; `hit_at_one`, the share of videos
        whose best prediction is true; `perr`, the mean precision at the video's number of labels; `loss`, the mean over
        videos, NaN if a batch came without; and the int `videos`.

        Raises:
          ValueError: if there are no videos.
        """
        has_labels = self._num_true > 0
        average_precisions = self.average_precisions()[has_labels]
        return {
            "gap": self.gap(),
            "map": float(np.mean(average_precisions)) if has_labels.any() else np.nan,
            "hit_at_one": float(self._hits_at_one / self.num_videos),
            "perr": float(self._precisions / self.num_videos),
            "loss": float(self._losses / self.num_videos),
            "videos": self.num_videos,
        }

    def _columns(self):
        """All kept classes, scores and truths, each [videos * top_k]."""
        if not self._top:
            raise ValueError("metrics: expected at least one video, got none")
        return [np.concatenate([part.ravel() for part in parts]) for parts in zip(*self._top)]


def gap(predictions, labels, top_k=TOP_K):
    """The global average precision of one batch; arguments as for `Metrics.add`."""
    metrics = Metrics(np.shape(predictions)[1], top_k)
    metrics.add(predictions, labels)
    return metrics.gap()


def top_predictions(predictions, top_k=TOP_K):
    """The best predictions of each video, best first.

    Args:
      predictions: confidences, a float array [videos, V].
      top_k: how many, a positive integer; all, if there are no more than that. Default 20.

    Returns:
      The classes and the confidences, arrays [videos, min(top_k, V)].
    """
    top_k = min(top_k, predictions.shape[1])
    # Sorting all classes of a video would take longer than the rest of an evaluation's metrics together.
    classes = np.argpartition(predictions, predictions.shape[1] - top_k, axis=1)[:, -top_k:]
    order = np.argsort(-np.take_along_axis(predictions, classes, axis=1), axis=1, kind="stable")
    classes = np.take_along_axis(classes, order, axis=1)
    return classes, np.take_along_axis(predictions, classes, axis=1)


def _average_precision(scores, is_true, num_true):
    """Average precision with all `num_true` labels as the denominator, also those that the predictions missed."""
    if num_true == 0:
        return np.nan
    found = np.count_nonzero(is_true)
    if found == 0:
        return 0.0
    # Scikit-learn's denominator is the number found.
    return float(average_precision_score(is_true, scores) * found / num_true)
