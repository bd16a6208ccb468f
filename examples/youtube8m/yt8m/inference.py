"""A model on records, restored from a checkpoint and run over all of them."""

import contextlib

import numpy as np
import tensorflow.compat.v1 as tf
from loupe_examples.errors import UserError

from yt8m import checkpoints, model, records


class Inference:
    """A model on batches of records, with the variables of a checkpoint.

    Args:
      settings: settled (see `settings.settle`), with data.
      checkpoint: the checkpoint, or the directory whose latest it is; the attribute of that name is the former.

    Raises:
      UserError: if there is no such checkpoint, no files match, or the model cannot be built.
      tf.errors.InvalidArgumentError: if the first record is bad (see `records.dataset`).
    """

    def __init__(self, settings, checkpoint, batch_statistics=False):
        self.checkpoint = checkpoints.latest(checkpoint)
        records.check(settings.data)
        self._settings = settings
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._iterator = tf.data.make_initializable_iterator(records.dataset(settings.data))
            batch = self._iterator.get_next()
            built = model.build_on(batch, settings.data, settings.architecture, is_training=batch_statistics)
            self._fetches = dict(built._asdict(), id=batch["id"], labels=batch["labels"])

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
                checkpoints.restore(session, self.checkpoint, self._settings)
            session.run(self._iterator.initializer)
            while True:
                try:
                    batch = session.run({name: self._fetches[name] for name in names + ("predictions",)})
                except tf.errors.OutOfRangeError:
                    return
                if not np.isfinite(batch["predictions"]).all():
                    raise UserError(f"{self.checkpoint}: expected finite predictions, got NaN or infinity")
                yield [batch[name] for name in names]
