"""The YouTube-8M challenge's metrics: GAP, MAP, Hit@1 and PERR, over batches of predictions."""

import numpy as np
from sklearn.metrics import average_precision_score

TOP_K = 20  # How many predictions of a video count in the challenge.


class Metrics:
    """Gathers batches of predictions, and computes the metrics of all of them.

    Keeps the score, the class and the truth of each video's 20 best predictions, 7 bytes each, and nothing else: 160 MB
    for the 1.1 million videos of a YouTube-8M split. `num_videos` and `num_labels` count the videos and labels so far,
    and `num_classes` is V, the size of the vocabulary.
    """

    def __init__(self, num_classes):
        self.num_classes = num_classes
        self.num_videos = self.num_labels = 0
        self._top = []  # of each batch: classes, scores and whether they are true, each [videos, 20]
        self._num_true = np.zeros(num_classes, np.int64)
        self._hits_at_one = self._precisions = self._losses = 0.0

    def add(self, predictions, labels, loss=np.nan):
        """Adds a batch: finite confidences [videos, V], bools [videos, V], and the mean loss of the videos."""
        counts = labels.sum(axis=1)  # [videos]
        classes, scores = top_predictions(predictions, max(TOP_K, counts.max()))
        is_true = np.take_along_axis(labels, classes, axis=1)
        self.num_videos += len(predictions)
        self.num_labels += int(counts.sum())
        self._num_true += labels.sum(axis=0)
        self._hits_at_one += is_true[:, 0].sum()
        # The precision of the video's best predictions, as many as it has labels. A prediction of zero does not count.
        within = np.arange(classes.shape[1]) < counts[:, np.newaxis]
        self._precisions += ((is_true & within & (scores > 0)).sum(axis=1) / np.maximum(counts, 1)).sum()
        self._losses += float(loss) * len(predictions)
        kept = [classes.astype(np.min_scalar_type(self.num_classes - 1)), scores.astype(np.float32), is_true]
        # Copies, because a view would keep the whole batch alive.
        self._top.append([column[:, :TOP_K].copy() for column in kept])

    def average_precisions(self):
        """The average precision of each class, a float array [V]; NaN for classes that no video has."""
        classes, scores, is_true = self._columns()
        order = np.argsort(classes, kind="stable")
        ends = np.cumsum(np.bincount(classes, minlength=self.num_classes))
        parts = zip(np.split(order, ends[:-1]), self._num_true)
        return np.array([_average_precision(scores[part], is_true[part], num_true) for part, num_true in parts])

    def gap(self):
        """The global average precision, of all kept predictions in one ranking."""
        _, scores, is_true = self._columns()
        return _average_precision(scores, is_true, self.num_labels)

    def result(self):
        """The metrics so far, a dict of floats.

        `gap`; `map`, the mean of the average precisions of the classes that occur; `hit_at_one`, the share of videos
        whose best prediction is true; `perr`, the mean precision of a video's best predictions, as many as it has
        labels; `loss`, the mean over videos; and the int `videos`.
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
        """All kept classes, scores and truths, each [videos * 20]."""
        return [np.concatenate([part.ravel() for part in parts]) for parts in zip(*self._top)]


def gap(predictions, labels):
    """The global average precision of one batch; arguments as for `Metrics.add`."""
    metrics = Metrics(predictions.shape[1])
    metrics.add(predictions, labels)
    return metrics.gap()


def top_predictions(predictions, top_k):
    """The `top_k` best predictions of each video of [videos, V], or all V: classes and confidences, best first."""
    top_k = min(top_k, predictions.shape[1])
    # Sorting all classes of a video would take longer than the rest of an evaluation's metrics together.
    classes = np.argpartition(predictions, predictions.shape[1] - top_k, axis=1)[:, -top_k:]
    order = np.argsort(-np.take_along_axis(predictions, classes, axis=1), axis=1, kind="stable")
    classes = np.take_along_axis(classes, order, axis=1)
    return classes, np.take_along_axis(predictions, classes, axis=1)


def _average_precision(scores, is_true, num_true):
    """Average precision with all `num_true` labels as the denominator, including labels that the predictions missed."""
    if num_true == 0:
        return np.nan
    found = np.count_nonzero(is_true)
    if found == 0:
        return 0.0
    # Scikit-learn divides by the number of labels found.
    return float(average_precision_score(is_true, scores) * found / num_true)
