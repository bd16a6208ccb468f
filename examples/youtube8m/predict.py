"""Predicts the classes of videos, and writes the submission file of the challenge.

Without --data, of the test digits.
"""

import commandline
import inference
import presets
import submission
from metrics import TOP_K, top_predictions
from tqdm import tqdm


def main(argv=None):
    parser = inference.parser(__doc__, "test")
    parser.add_argument("--output", default="predictions.csv", metavar="FILE", help="the submission file to write")
    parser.add_argument(
        "--top", type=commandline.positive, default=TOP_K, metavar="N", help="how many classes a video gets"
    )
    settings = presets.settle(parser.parse_args(argv), "test", saved=True)
    model = inference.Inference(settings, settings.checkpoint)
    count = 0
    with submission.writer(settings.output) as write, tqdm(desc="predict", unit="video", disable=None) as progress:
        for videos, predictions in model.run("id", "predictions"):
            for video, classes, confidences in zip(videos, *top_predictions(predictions, settings.top)):
                write(video.decode("utf-8"), classes, confidences)
            count += len(videos)
            progress.update(len(videos))
    print(f"{settings.output}: {count} videos, by {model.checkpoint}")


if __name__ == "__main__":
    commandline.run(main)
