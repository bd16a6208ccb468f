"""What evaluate.py and predict.py share: a model on records, restored from a checkpoint and run over all of them."""

import contextlib

import checkpoints
import models
import numpy as np
import presets
import records
import tensorflow.compat.v1 as tf
from commandline import Parser, UserError, add_data_flags, add_model_flags


def parser(description, split):
    """A parser with the flags that the two programs share."""
    result = Parser(description)
    result.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="a checkpoint, or the directory whose latest it is; None: checkpoints/PRESET",
    )
    result.add_argument(
        "--batch-statistics",
        action="store_true",
        help="normalise by the statistics of each batch, as the published program's inference did, and not by the "
        "moving averages; then the videos of a batch influence each other, and --batch-size matters: it had 1024",
    )
    add_data_flags(result, split)
    add_model_flags(result, presets.PRESETS)
    return result


class Inference:
    """A model on batches of records, with the variables of a checkpoint.

    Args:
      settings: the values of the flags of `parser`, settled (see `presets.settle`).
      checkpoint: the checkpoint, or the directory whose latest it is; the attribute of that name is the former.

    Raises:
      UserError: if there is no such checkpoint, no files match, or the model cannot be built.
      tf.errors.InvalidArgumentError: if the first record is bad (see `records.dataset`).
    """

    def __init__(self, settings, checkpoint):
        self.checkpoint = checkpoints.latest(checkpoint)
        records.check(settings)
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._iterator = tf.data.make_initializable_iterator(records.dataset(settings))
            batch = self._iterator.get_next()
            model = models.build_on(batch, settings, is_training=settings.batch_statistics)
            self._fetches = dict(model._asdict(), id=batch["id"], labels=batch["labels"])

    def run(self, *names):
        """Restores the checkpoint, and runs the model over all records once.

        Args:
          *names: what is wanted of each batch of B videos: id, bytes [B]; labels, bool [B, V]; predictions, float32
            [B, V]; loss, a float32.

        Yields:
          For each batch, the list of what is wanted.

        Raises:
          UserError: if the checkpoint is of another architecture, or its predictions are not finite.
          tf.errors.InvalidArgumentError: for bad records (see `records.dataset`).
        """
        # Not the default session, because a generator may be left for ever.
        with contextlib.closing(tf.Session(graph=self._graph)) as session:
            with self._graph.as_default():
                checkpoints.restore(session, self.checkpoint)
            session.run(self._iterator.initializer)
            while True:
                try:
                    batch = session.run({name: self._fetches[name] for name in names + ("predictions",)})
                except tf.errors.OutOfRangeError:
                    return
                if not np.isfinite(batch["predictions"]).all():
                    raise UserError(f"{self.checkpoint}: expected finite predictions, came NaN or infinity")
                yield [batch[name] for name in names]
