"""Pools handwritten digits, each a list of its patches: the mean against Soft-DBoW, NetRVLAD, NetVLAD and NetFV.

Each of scikit-learn's 1,797 digits of 8x8 pixels becomes the list of its 36 patches of 3x3 pixels. Nothing in the list
tells where a patch was, unless --positions adds it. With --lengths, blank patches are left out, which makes lists of
different lengths; they are filled up to --max-samples, and the layer is told how long each is, or not. A pooling layer
turns the list into one vector, and a linear classifier on it is trained with the layer. A quarter of the digits are
left out of the training and test it. The program prints the accuracy there, in inference mode, and the seconds of
training, and draws the accuracies as PNG. Runs with the same seed, on the same machine, give the same accuracies.
"""

import argparse
import collections
import math
import os
import time

from loupe_examples.commandline import Parser, above_zero, decay, positive, run, seed, writable
from loupe_examples.errors import UserError

METHODS = ["mean", "Soft-DBoW", "NetRVLAD", "NetVLAD", "NetFV"]
KINDS = ["plain", "gated"]
NUM_PATCHES = 36
NUM_CLASSES = 10

Data = collections.namedtuple(
    "Data", "train_lists test_lists train_lengths test_lengths train_labels test_labels has_lengths"
)
Result = collections.namedtuple("Result", "method gating accuracy seconds")


def main(argv=None):
    options = parsed(argv)
    # For GPUs; one thread, below, does the same for CPUs.
    os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    from loupe_examples.progress import bar

    data = digits(options.positions, options.lengths, options.max_samples)
    runs = [(method, gating) for method in options.methods for gating in options.gating]
    results = []
    print(f"{'pooling':<12}{'gating':<8}{'accuracy':>8}{'seconds':>10}")
    with bar(total=len(runs) * options.epochs, unit="epoch", disable=None) as progress:
        for method, gating in runs:
            progress.set_description(f"{method}, {gating}")
            results.append(trained(method, gating, data, options, progress))
            progress.write("{:<12}{:<8}{:>8.3f}{:>10.1f}".format(*results[-1]))
    try:
        write_chart(results, len(data.test_labels), options)
    except OSError as error:
        raise UserError(f"{options.output}: {error.strerror or error}") from error
    print(f"chart: {options.output}")


def digits(positions, lengths=None, max_samples=NUM_PATCHES):
    """The digits as lists of patches, float32 [digits, N, 9], or, with their positions, [digits, N, 11]."""
    import numpy as np
    from loupe_examples import patches
    from sklearn.model_selection import train_test_split

    images, labels = patches.digits()
    lists = patches.patches((images / 16).astype(np.float32)).reshape(-1, NUM_PATCHES, 9)
    is_kept = lists.any(axis=2) if lengths else np.ones(lists.shape[:2], bool)
    if positions:
        coordinates = np.array(patches.PLACES, np.float32) / 5  # [36, 2], from 0 to 1
        lists = np.concatenate([lists, np.broadcast_to(coordinates, lists.shape[:2] + (2,))], axis=2)
    counts = is_kept.sum(axis=1)
    filled = np.zeros((len(lists), max_samples, lists.shape[2]), np.float32)
    filled[np.arange(max_samples) < counts[:, np.newaxis]] = lists[is_kept]
    split = train_test_split(filled, counts, labels, test_size=0.25, stratify=labels, random_state=0)
    return Data(*split, has_lengths=lengths == "given")


def trained(method, gating, data, options, progress):
    """Trains a classifier of pooled digits, and returns its `Result`."""
    import loupe
    import numpy as np
    import tensorflow.compat.v1 as tf
    import tf_slim as slim
    from loupe_examples.pooling import MeanPooling
    from kmeans_start import assign, kmeans_start

    layers = dict(zip(METHODS, [MeanPooling, loupe.SoftDBoW, loupe.NetRVLAD, loupe.NetVLAD, loupe.NetFV]))
    num_train, max_samples, feature_size = data.train_lists.shape
    num_steps = options.epochs * math.ceil(num_train / options.batch_size)
    with tf.Graph().as_default():
        tf.set_random_seed(options.seed)
        lists = tf.placeholder(tf.float32, [None, max_samples, feature_size])
        lengths = tf.placeholder(tf.int64, [None])
        labels = tf.placeholder(tf.int64, [None])
        is_training = tf.placeholder_with_default(False, [])

        # In so few steps the moving averages would not arrive with the default decay, 0.999.
        with slim.arg_scope([slim.batch_norm], decay=options.decay):
            pooling = layers[method](
                feature_size=feature_size,
                max_samples=max_samples,
                cluster_size=feature_size if method == "mean" else options.clusters,
                output_dim=options.width,
                gating=gating == "gated",
                is_training=is_training,
            )
            pooled = pooling.forward(lists, lengths if data.has_lengths else None)  # [B, width]
        weights = tf.get_variable("logits/weights", [options.width, NUM_CLASSES])
        biases = tf.get_variable("logits/biases", [NUM_CLASSES], initializer=tf.zeros_initializer())
        logits = tf.matmul(pooled, weights) + biases

        loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
        step = tf.train.get_or_create_global_step()
        rate = tf.train.cosine_decay(options.learning_rate, step, num_steps)
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train = tf.train.AdamOptimizer(rate).minimize(loss, global_step=step)
        accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, axis=1), labels), tf.float32))

        order = np.random.RandomState(options.seed)
        start = time.time()
        with tf.Session(
            config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        ) as session:
            session.run(tf.global_variables_initializer())
            if options.start == "k-means" and method != "mean":
                is_real = np.arange(max_samples) < data.train_lengths[:, np.newaxis]
                patches = data.train_lists[is_real] if data.has_lengths else data.train_lists.reshape(-1, feature_size)
                assign(session, "", kmeans_start(patches, options.clusters, seed=options.seed))
            for _ in range(options.epochs):
                shuffled = order.permutation(num_train)
                for first in range(0, num_train, options.batch_size):
                    batch = shuffled[first : first + options.batch_size]
                    feed = {lists: data.train_lists[batch], lengths: data.train_lengths[batch]}
                    feed.update({labels: data.train_labels[batch], is_training: True})
                    session.run(train, feed)
                progress.update()
            seconds = time.time() - start
            feed = {lists: data.test_lists, lengths: data.test_lengths, labels: data.test_labels}
            tested = session.run(accuracy, feed)
    return Result(method, gating, float(tested), seconds)


def write_chart(results, num_test, options):
    """Writes the bar chart of the accuracies to options.output, whole or not at all."""
    import numpy as np
    from loupe_examples import charts

    title = "Handwritten digits, pooled from lists of patches"
    figure, axes = charts.bars(0.1, 0.78, title, caption(num_test, options))
    width = 0.8 / len(options.gating)
    for number, (gating, color) in enumerate(zip(KINDS, charts.COLORS)):
        accuracies = [result.accuracy for result in results if result.gating == gating]
        if accuracies:
            offset = (number - 0.5) * width if len(options.gating) == 2 else 0
            places = np.arange(len(accuracies)) + offset
            bars = axes.bar(places, accuracies, width * 0.95, color=color, label=gating)
            charts.labelled(axes, bars, 3)
    axes.set_xticks(range(len(options.methods)))
    axes.set_xticklabels(options.methods, fontsize=11)
    # By the logarithm of the errors, because otherwise all bars but the mean's would look alike.
    least = 0.5 / num_test
    axes.set_yscale("function", functions=(lambda y: -np.log10(np.maximum(1 - y, least)), lambda y: 1 - 10.0**-y))
    axes.set_ylim(0, 1 - max(least, 0.5 * (1 - max(result.accuracy for result in results))))
    ticks = [tick for tick in [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995] if tick <= axes.get_ylim()[1]]
    axes.set_yticks(ticks)
    axes.set_yticklabels([f"{tick:g}" for tick in ticks])
    axes.set_ylabel("test accuracy (errors on a log scale)")
    charts.legend(axes)
    charts.write(options.output, figure)


def caption(num_test, options):
    """What was pooled and trained, in a line."""
    count = f"up to {NUM_PATCHES}" if options.lengths else str(NUM_PATCHES)
    parts = [f"{count} patches of 3x3 pixels", "with positions" if options.positions else "without positions"]
    if options.lengths or options.max_samples > NUM_PATCHES:
        known = "lengths given" if options.lengths == "given" else "lengths not given"
        parts.append(f"filled up to {options.max_samples}, {known}")
    start = ", from k-means" if options.start == "k-means" else ""
    return f"{', '.join(parts)}; {num_test} test digits, {options.epochs} epochs{start}, seed {options.seed}"


def parsed(argv):
    parser = Parser(__doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="what pools")
    parser.add_argument("--gating", nargs="+", choices=KINDS, default=KINDS, help="which kinds")
    parser.add_argument("--positions", action="store_true", help="give each patch its row and column as two features")
    parser.add_argument(
        "--lengths",
        choices=["given", "filled"],
        help="leave out blank patches, and give the layer the lengths of the lists, or let the zeros filled in count",
    )
    parser.add_argument(
        "--max-samples",
        type=max_samples,
        default=NUM_PATCHES,
        help=f"what lists are filled up to, from {NUM_PATCHES} on",
    )
    parser.add_argument("--start", choices=["random", "k-means"], default="random", help="what the clusters start from")
    parser.add_argument("--epochs", type=positive, default=80, help="how often the training digits are seen")
    parser.add_argument("--batch-size", type=positive, default=128, help="digits in a step")
    parser.add_argument("--clusters", type=positive, default=32, help="cluster_size of the layers")
    parser.add_argument("--width", type=positive, default=64, help="output_dim of the layers")
    parser.add_argument("--learning-rate", type=above_zero, default=0.01, help="Adam's, at the start")
    parser.add_argument("--decay", type=decay, default=0.9, help="of batch norm's moving averages")
    parser.add_argument("--seed", type=seed, default=1, help="of the weights and of the order of the digits")
    parser.add_argument("--output", type=writable, default="digits.png", metavar="PNG", help="the chart")
    options = parser.parse_args(argv)
    # Once each, in the order of the table.
    options.methods = [method for method in METHODS if method in options.methods]
    options.gating = [gating for gating in KINDS if gating in options.gating]
    return options


def max_samples(text):
    """A number that no list exceeds, as a type of argparse."""
    value = positive(text)
    if value < NUM_PATCHES:
        raise argparse.ArgumentTypeError(f"expected at least {NUM_PATCHES}, got {value}")
    return value


if __name__ == "__main__":
    run(main)
