"""Trains a model on frame-level YouTube-8M records.

Without --data, it trains on the handwritten digits, which it writes first if they are missing; the defaults then suit
the digits and not YouTube-8M. An interrupted training continues from its last checkpoint when it is started again. With
TF_CONFIG set, the program is one process of a cluster of parameter servers and workers. All workers have to reach the
directory of checkpoints.
"""

from yt8m import commandline, errors

commandline.prepare()

from yt8m import checkpoints, cluster, digits, flags, training
from yt8m.settings import settle


def main(argv=None):
    settings = settle(flags.training(__doc__).parse_args(argv))
    process = cluster.from_environment(settings.training.wait_seconds)
    steps = settings.training.steps

    def work():
        digits.provide(settings.data, "train")
        before = training.train(settings, interrupts, process)
        if process is None or process.is_chief:
            trained = f"not trained further, because it already had {before} of {steps} steps"
            if before < steps:
                trained = f"trained {steps} steps"
            errors.show(f"{checkpoints.latest(settings.checkpoint)}: {trained}")

    with training.Interrupts() as interrupts:
        if process is None:
            work()
        elif process.is_ps:
            process.serve(interrupts)
        else:
            process.run(work, interrupts, lambda: checkpoints.newest(settings.checkpoint)[1] >= steps)


if __name__ == "__main__":
    commandline.run(main)
