"""The submission file of a checkpoint's predictions."""

from loupe_examples import progress
from loupe_examples.errors import UserError

from yt8m import submission
from yt8m.inference import Inference
from yt8m.metrics import top_predictions


def predict(settings, path, top_k, batch_statistics=False):
    """Writes the predictions of the videos of the settings.

    Args:
      settings: settled (see `settings.settle`), with data.
      path: the submission file to write.
      top_k: how many classes each video gets.

    Returns:
      How many videos there are, and the checkpoint's name.

    Raises:
      UserError: for bad input.
      tf.errors.InvalidArgumentError: for bad records (see `records.dataset`).
    """
    inference = Inference(settings, settings.checkpoint, batch_statistics)
    count = 0
    # disable=None: no progress bar in a log.
    with submission.writer(path) as add, progress.bar(desc="predict", unit="video", disable=None) as shown:
        for videos, predictions in inference.run("id", "predictions"):
            for video, classes, confidences in zip(videos, *top_predictions(predictions, top_k)):
                add(_text(video, settings), classes, confidences)
            count += len(videos)
            shown.update(len(videos))
    return count, inference.checkpoint


def _text(video, settings):
    try:
        return video.decode("utf-8")
    except UnicodeDecodeError as error:
        data = " ".join(settings.data.files)
        raise UserError(f"{data}: expected the ids of videos in UTF-8, as submission files are, got {video}") from error
