"""Classifies handwritten digits, pooled from lists of patches by the mean and by the methods of loupe and methods.py.

Each of scikit-learn's 1,797 digits of 8x8 pixels becomes the list of its 36 patches of 3x3 pixels. Nothing in the list
says where a patch was, unless --positions adds it. With --lengths, blank patches are left out, which makes lists of
different lengths; they are padded up to --max-samples. "--lengths given" passes the lengths to the layer. The layer
turns the list into one vector, and is trained together with a linear classifier of this vector, on three quarters of
the digits. The program prints the accuracy on the other quarter, in inference mode, and the seconds of training, and
draws the accuracies as PNG. Runs with the same seed on the same machine have the same accuracies.
"""

import argparse
import collections
import functools
import math
import os
import time

from loupe_examples import commandline

commandline.prepare()

import loupe
import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim as slim
from kmeans_start import assign, kmeans_start
from loupe_examples import charts, patches
from loupe_examples.commandline import above_zero, decay, positive, seed, writable
from loupe_examples.pooling import MeanPooling
from loupe_examples.progress import bar
from methods import GhostVLAD, NeXtVLAD
from sklearn.model_selection import train_test_split

METHODS = collections.OrderedDict(
    [
        ("mean", MeanPooling),
        ("Soft-DBoW", loupe.SoftDBoW),
        ("NetRVLAD", loupe.NetRVLAD),
        ("NetVLAD", loupe.NetVLAD),
        ("NetFV", loupe.NetFV),
        ("GhostVLAD", GhostVLAD),
        # NeXtVLAD widens the samples to 18 or, with positions, 22 features, which cannot be cut into eight groups.
        ("NeXtVLAD", functools.partial(NeXtVLAD, groups=2)),
    ]
)
KINDS = ["plain", "gated"]
NUM_PATCHES = 36
NUM_CLASSES = 10

Data = collections.namedtuple(
    "Data", "train_lists test_lists train_lengths test_lengths train_labels test_labels has_lengths"
)
Classifier = collections.namedtuple("Classifier", "lists lengths labels is_training train accuracy")
Result = collections.namedtuple("Result", "method gating accuracy seconds")


def main(argv=None):
    options = parsed(argv)
    # This makes results repeatable on GPUs. On CPUs, the session's single thread does.
    os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    data = digits(options.positions, options.lengths, options.max_samples)
    runs = [(method, gating) for method in options.methods for gating in options.gating]
    results = []
    print(f"{'pooling':<12}{'gating':<8}{'accuracy':>8}{'seconds':>10}")
    with bar(total=len(runs) * options.epochs, unit="epoch", disable=None) as progress:
        for method, gating in runs:
            progress.set_description(f"{method}, {gating}")
            results.append(trained(method, gating, data, options, progress))
            progress.write("{:<12}{:<8}{:>8.3f}{:>10.1f}".format(*results[-1]))
    charts.write(options.output, chart(results, len(data.test_labels), options))
    print(f"chart: {options.output}")


def digits(positions, lengths=None, max_samples=NUM_PATCHES):
    """The `Data`: lists of patches, float32 [digits, N, 9] or, with positions, [digits, N, 11]; lengths and labels."""
    images, labels = patches.digits()
    lists = patches.patches((images / 16).astype(np.float32)).reshape(-1, NUM_PATCHES, 9)
    is_kept = lists.any(axis=2) if lengths else np.ones(lists.shape[:2], bool)
    if positions:
        coordinates = np.array(patches.PLACES, np.float32) / 5  # [36, 2], from 0 to 1
        lists = np.concatenate([lists, np.broadcast_to(coordinates, lists.shape[:2] + (2,))], axis=2)
    counts = is_kept.sum(axis=1)
    padded = np.zeros((len(lists), max_samples, lists.shape[2]), np.float32)
    padded[np.arange(max_samples) < counts[:, np.newaxis]] = lists[is_kept]
    split = train_test_split(padded, counts, labels, test_size=0.25, stratify=labels, random_state=0)
    return Data(*split, has_lengths=lengths == "given")


def classifier(method, gating, data, options):
    """Builds the graph of a classifier of pooled digits, with its training step."""
    num_train, max_samples, feature_size = data.train_lists.shape
    lists = tf.placeholder(tf.float32, [None, max_samples, feature_size])
    lengths = tf.placeholder(tf.int64, [None])
    labels = tf.placeholder(tf.int64, [None])
    is_training = tf.placeholder_with_default(False, [])

    # With the default decay, 0.999, the moving averages would not settle in so few steps.
    with slim.arg_scope([slim.batch_norm], decay=options.decay):
        pooling = METHODS[method](
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
    num_steps = options.epochs * math.ceil(num_train / options.batch_size)
    rate = tf.train.cosine_decay(options.learning_rate, step, num_steps)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.AdamOptimizer(rate).minimize(loss, global_step=step)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, axis=1), labels), tf.float32))
    return Classifier(lists, lengths, labels, is_training, train, accuracy)


def trained(method, gating, data, options, progress):
    """Trains a classifier of pooled digits and tests it. Returns its `Result`."""
    order = np.random.RandomState(options.seed)
    one_thread = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Graph().as_default(), tf.Session(config=one_thread) as session:
        tf.set_random_seed(options.seed)
        model = classifier(method, gating, data, options)
        start = time.time()
        session.run(tf.global_variables_initializer())
        if options.start == "k-means" and method not in ("mean", "NeXtVLAD"):
            is_real = np.arange(options.max_samples) < data.train_lengths[:, np.newaxis]
            samples = data.train_lists[is_real if data.has_lengths else np.ones_like(is_real)]
            ghosts = 1 if method == "GhostVLAD" else 0
            assign(session, "", kmeans_start(samples, options.clusters, seed=options.seed, ghost_clusters=ghosts))
        for _ in range(options.epochs):
            shuffled = order.permutation(len(data.train_lists))
            for first in range(0, len(shuffled), options.batch_size):
                batch = shuffled[first : first + options.batch_size]
                feed = {
                    model.lists: data.train_lists[batch],
                    model.lengths: data.train_lengths[batch],
                    model.labels: data.train_labels[batch],
                    model.is_training: True,
                }
                session.run(model.train, feed)
            progress.update()
        seconds = time.time() - start
        test = {model.lists: data.test_lists, model.lengths: data.test_lengths, model.labels: data.test_labels}
        accuracy = session.run(model.accuracy, test)
    return Result(method, gating, float(accuracy), seconds)


def chart(results, num_test, options):
    """A bar chart of the accuracies."""
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
    # The scale is logarithmic in the errors. On a linear one, all bars but the mean's would look alike.
    least = 0.5 / num_test
    axes.set_yscale("function", functions=(lambda y: -np.log10(np.maximum(1 - y, least)), lambda y: 1 - 10.0**-y))
    axes.set_ylim(0, 1 - max(least, 0.5 * (1 - max(result.accuracy for result in results))))
    ticks = [tick for tick in [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995] if tick <= axes.get_ylim()[1]]
    axes.set_yticks(ticks)
    axes.set_yticklabels([f"{tick:g}" for tick in ticks])
    axes.set_ylabel("test accuracy (errors on a log scale)")
    charts.legend(axes)
    return figure


def caption(num_test, options):
    """A line that says what was pooled and trained."""
    count = f"up to {NUM_PATCHES}" if options.lengths else str(NUM_PATCHES)
    parts = [f"{count} patches of 3x3 pixels", "with positions" if options.positions else "without positions"]
    if options.lengths or options.max_samples > NUM_PATCHES:
        known = "lengths given" if options.lengths == "given" else "lengths not given"
        parts.append(f"filled up to {options.max_samples}, {known}")
    start = ", from k-means" if options.start == "k-means" else ""
    return f"{', '.join(parts)}; {num_test} test digits, {options.epochs} epochs{start}, seed {options.seed}"


def parsed(argv):
    parser = commandline.Parser(__doc__)
    methods = list(METHODS)
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods, help="the pooling methods")
    parser.add_argument("--gating", nargs="+", choices=KINDS, default=KINDS, help="without or with Context Gating")
    parser.add_argument("--positions", action="store_true", help="give each patch its row and column as two features")
    parser.add_argument(
        "--lengths",
        choices=["given", "filled"],
        help="leave out blank patches; give the layer the lengths of the lists, or let the padding count as samples",
    )
    parser.add_argument(
        "--max-samples",
        type=max_samples,
        default=NUM_PATCHES,
        help=f"the length that lists are padded to, at least {NUM_PATCHES}",
    )
    parser.add_argument(
        "--start",
        choices=["random", "k-means"],
        default="random",
        help="how the clusters start; NeXtVLAD, which pools mapped samples, always starts at random",
    )
    parser.add_argument("--epochs", type=positive, default=80, help="passes over the training digits")
    parser.add_argument("--batch-size", type=positive, default=128, help="digits in a step")
    parser.add_argument("--clusters", type=positive, default=32, help="cluster_size of the layers")
    parser.add_argument("--width", type=positive, default=64, help="output_dim of the layers")
    parser.add_argument("--learning-rate", type=above_zero, default=0.01, help="Adam's learning rate at the start")
    parser.add_argument("--decay", type=decay, default=0.9, help="the decay of batch norm's moving averages")
    parser.add_argument("--seed", type=seed, default=1, help="the seed of the weights and of the order of the digits")
    parser.add_argument("--output", type=writable, default="digits.png", metavar="PNG", help="the chart")
    options = parser.parse_args(argv)
    # Each name once, in the order of the table.
    options.methods = [method for method in METHODS if method in options.methods]
    options.gating = [gating for gating in KINDS if gating in options.gating]
    return options


def max_samples(text):
    """A number of samples that no list exceeds, as a type of argparse."""
    value = positive(text)
    if value < NUM_PATCHES:
        raise argparse.ArgumentTypeError(f"expected at least {NUM_PATCHES}, got {value}")
    return value


if __name__ == "__main__":
    commandline.run(main)
