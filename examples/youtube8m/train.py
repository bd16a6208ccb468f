"""Trains a model on frame-level YouTube-8M records.

Without --data, on the handwritten digits, which are prepared first; then the values that the command line leaves open
suit the digits and not YouTube-8M. An interrupted training goes on from its last checkpoint when it is started again.
With TF_CONFIG it is one process of a cluster of parameter servers and workers, which share the directory of
checkpoints.
"""

from yt8m import commandline

commandline.prepare()

from yt8m import checkpoints, cluster, digits, flags, training
from yt8m.settings import settle


def main(argv=None):
    settings = settle(flags.training(__doc__).parse_args(argv))
    process = cluster.from_environment()
    if process and process.is_ps:
        process.serve(settings.training.wait_seconds)
        return

    def work():
        digits.provide(settings.data, "train")
        return training.train(settings, process)

    if process:
        before = process.run(work, settings.training.wait_seconds, lambda: training.is_complete(settings))
    else:
        before = work()
    if process is None or process.is_chief:
        checkpoint = checkpoints.latest(settings.checkpoint)
        if before < settings.training.steps:
            print(f"{checkpoint}: trained {settings.training.steps} steps")
        else:
            print(f"{checkpoint}: nothing was trained, it has had {before} of {settings.training.steps} steps already")


if __name__ == "__main__":
    commandline.run(main)
