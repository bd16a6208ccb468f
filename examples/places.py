"""Finds places again by the mean of their descriptors, by VLAD, and by NetVLAD and related layers trained on triplets.

A place is a tile of one of the photographs that come with scikit-image and scikit-learn. A view of a place, through a
random homography and in another light, is a list of local descriptors (see photographs.py), which a layer pools into
one vector. Each query is a view, and the program searches for its place among the tiles. Recall at N is the share of
queries whose place is among the N nearest tiles. Layers are trained on some photographs and tested on others. The
stereo pair is a separate test: queries are views of the right photograph, their places are in the left one, and the
tiles of all other photographs are searched too.

Layers start from k-means (see kmeans_start.py) or at random. NeXtVLAD always starts at random, because it clusters
mapped descriptors. Each layer is tested with its vectors as they are, and with its vectors whitened by the PCA of the
training views. The program prints a table, draws it as PNG, and draws what the best row finds for five queries. Runs
with the same seed on the same machine have the same recalls.

Choose settings with --validate, which holds some of the training photographs out and tests on them. The default
learning rate and margin were chosen in this way. With seed 1, the mean recall at 1 over all rows of trained layers was
0.464; it was 0.457 with a learning rate of 0.005, 0.456 with a margin of 0.3, and 0.422 with 0.02 and 0.3.

References:
  Arandjelovic, Gronat, Torii, Pajdla, Sivic: NetVLAD: CNN architecture for weakly supervised place recognition.
  CVPR 2016. (triplets, hard negatives, k-means, PCA whitening)
  Jegou, Chum: Negative evidences and co-occurrences in image retrieval: the benefit of PCA and whitening. ECCV 2012.
"""

import collections
import os
import time

from loupe_examples import commandline

commandline.prepare()

import loupe
import numpy as np
import photographs
import tensorflow.compat.v1 as tf
import tf_slim as slim
from kmeans_start import assign, kmeans_start
from loupe_examples import charts
from loupe_examples.commandline import above_zero, positive, seed, writable
from loupe_examples.errors import UserError
from loupe_examples.progress import bar
from matplotlib.figure import Figure
from methods import GhostVLAD, NeXtVLAD
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

LAYERS = {"VLAD": loupe.NetVLAD, "NetVLAD": loupe.NetVLAD, "NetFV": loupe.NetFV, "Soft-DBoW": loupe.SoftDBoW}
LAYERS.update(GhostVLAD=GhostVLAD, NeXtVLAD=NeXtVLAD)
METHODS = ["mean", "VLAD", "NetVLAD", "NetFV", "Soft-DBoW", "GhostVLAD", "NeXtVLAD"]
STARTS = ["k-means", "random"]
RECALLED = [1, 5, 10]
FEATURES = 64  # The width of a descriptor after its PCA.
NEGATIVES = 5  # The number of negatives of each query in training.
CANDIDATES = 100  # The negatives are the nearest of this number of random views.
ANCHORS = 16  # The number of queries in a step.

# All places; the views for training, for the test, and of the stereo pair, which is None with --validate; and the seed.
Data = collections.namedtuple("Data", "places train test stereo seed")
Result = collections.namedtuple("Result", "method start whitening width test stereo seconds")

# The defaults of flags, without and with --quick.
USUAL = {"epochs": 12, "train_views": 5, "stride": 64, "clusters": 32}
QUICK = {"epochs": 3, "train_views": 3, "stride": 96, "clusters": 16}


def main(argv=None):
    options = parsed(argv)
    # This makes results repeatable on GPUs. On CPUs, the session's single thread does.
    os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    data = load(options)
    runs = chosen(options)
    results = []
    print(HEADING)
    epochs = options.epochs * sum(is_trained(method) for method, _ in runs)
    with bar(total=epochs, unit="epoch", disable=None) as progress:
        for method, start in runs:
            progress.set_description(f"{method}, {start}" if start else method)
            vectors, seconds = pooled(method, start, data, options, progress)
            for result, found in tested(method, start, vectors, seconds, data, options):
                results.append((result, found))
                progress.write(line(result))
    charts.write(options.output, chart([result for result, _ in results], caption(data, options)))
    charts.write(options.picture, picture(*max(results, key=lambda pair: pair[0].test), data))
    print(f"chart: {options.output}\npicture: {options.picture}")


def load(options):
    """The places and the views, with descriptors whitened by the PCA of the training tiles' descriptors."""
    with bar(total=len(photographs.PHOTOGRAPHS), unit="photograph", desc="views", disable=None) as progress:
        places, *views = photographs.load(
            options.directory, options.seed, options.train_views, options.stride, options.workers, progress
        )
    if options.validate:
        names = np.array([place.photograph for place in places])[views[0].place]
        is_held_out = np.isin(names, photographs.VALIDATION)
        views = [views[0].where(~is_held_out), views[0].where(is_held_out)]
    counts = [len(set(part.place)) for part in views]
    if counts[0] < ANCHORS or min(counts) == 0:
        raise UserError(
            f"--stride: expected at least {ANCHORS} places for training and one in each test, "
            f"got {', '.join(map(str, counts))} with {options.stride}"
        )
    tiles = views[0].where(views[0].number == 0)
    pca = PCA(FEATURES, whiten=True, svd_solver="full").fit(tiles.rows().astype(np.float64))
    views = [part.mapped(lambda rows: normalize(pca.transform(rows))) for part in views]
    train, test, stereo = views + [None] * (3 - len(views))
    return Data(places, train, test, stereo, options.seed)


def chosen(options):
    """The pairs of method and start that have rows in the table; the start of the mean is None."""
    runs = []
    for method in options.methods:
        starts = {"mean": [None], "VLAD": ["k-means"], "NeXtVLAD": ["random"]}.get(method, options.start)
        runs += [(method, start) for start in starts]
    return runs


def is_trained(method):
    return method not in ("mean", "VLAD")


def pooled(method, start, data, options, progress=None):
    """The vectors of all views, a dict of arrays [views, P] for train, test and stereo; and the seconds this took."""
    first = time.time()
    parts = {name: getattr(data, name) for name in ("train", "test", "stereo")}
    parts = {name: views for name, views in parts.items() if views is not None}
    if method == "mean":
        vectors = {name: mean(views) for name, views in parts.items()}
    else:
        with Network(method, data, options) as network:
            network.start(start, data, options.seed)
            if is_trained(method):
                network.train(data, options, progress)
            vectors = {name: network.vectors(views) for name, views in parts.items()}
    return vectors, time.time() - first


def mean(views):
    """The mean of each view's descriptors, of length 1. [views, D]"""
    return normalize(views.lists.sum(axis=1) / views.lengths[:, None])


class Network:
    """A layer of loupe in a session of its own. The vectors are its descriptors, without projection or gates."""

    def __init__(self, method, data, options):
        # With these numbers, all vectors but Soft-DBoW's have the same width, and Soft-DBoW has more than a few words.
        clusters = options.clusters * {"NetFV": 1, "Soft-DBoW": 8, "NeXtVLAD": 8}.get(method, 2) // 2
        size, features = data.train.lists.shape[1:]
        with tf.Graph().as_default() as graph:
            tf.set_random_seed(options.seed)
            self.lists = tf.placeholder(tf.float32, [None, size, features])
            self.lengths = tf.placeholder(tf.int64, [None])
            self.is_training = tf.placeholder_with_default(False, [])
            # With the default decay, 0.999, the moving averages would not settle in so few steps.
            with tf.variable_scope("pooling"), slim.arg_scope([slim.batch_norm], decay=0.9):
                layer = LAYERS[method](features, size, clusters, None, gating=False, is_training=self.is_training)
                self.pooled = layer.forward(self.lists, self.lengths)  # [B, P]
            self.clusters, self.ghosts = clusters, getattr(layer, "ghost_clusters", 0)

            # Each query is followed by its positive and its negatives.
            triplets = tf.reshape(tf.nn.l2_normalize(self.pooled, axis=1), [-1, 2 + NEGATIVES, self.pooled.shape[1]])
            squares = tf.reduce_sum(tf.squared_difference(triplets[:, :1], triplets[:, 1:]), axis=2)
            self.loss = tf.reduce_mean(tf.nn.relu(squares[:, :1] + options.margin - squares[:, 1:]))
            step = tf.train.get_or_create_global_step()
            steps_of_epoch = max(len(set(data.train.place)) // ANCHORS, 1)
            rate = tf.train.cosine_decay(options.learning_rate, step, options.epochs * steps_of_epoch)
            with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
                self.step = tf.train.AdamOptimizer(rate).minimize(self.loss, global_step=step)
            self.initializer = tf.global_variables_initializer()
        config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self.session = tf.Session(graph=graph, config=config)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.session.close()

    def start(self, start, data, seed):
        """Initialises the variables, from k-means of the training tiles' descriptors, or at random."""
        self.session.run(self.initializer)
        if start == "k-means":
            rows = data.train.where(data.train.number == 0).rows()
            rows = rows[np.random.RandomState(seed).permutation(len(rows))[: 1000 * self.clusters]]
            assign(self.session, "pooling", kmeans_start(rows, self.clusters, seed=seed, ghost_clusters=self.ghosts))

    def vectors(self, views):
        """The pooled views, in inference mode. [views, P]"""
        batches = [slice(first, first + 100) for first in range(0, len(views.lengths), 100)]
        feeds = [{self.lists: views.lists[batch], self.lengths: views.lengths[batch]} for batch in batches]
        return np.concatenate([self.session.run(self.pooled, feed) for feed in feeds])

    def train(self, data, options, progress=None):
        """Trains on triplets, whose hard negatives are searched again in each epoch. Returns the losses."""
        rng = np.random.RandomState(options.seed)
        losses = []
        for _ in range(options.epochs):
            vectors = self.vectors(data.train)
            for chosen in triplets(data, vectors, rng):
                feed = {self.lists: data.train.lists[chosen], self.lengths: data.train.lengths[chosen]}
                feed[self.is_training] = True
                losses.append(self.session.run([self.loss, self.step], feed)[0])
            if progress is not None:
                progress.update()
        return losses


def triplets(data, vectors, rng):
    """The views of each step of an epoch: for each of ANCHORS places, a query, a positive and its hard negatives.

    The negatives are the nearest of CANDIDATES random views by the current vectors [views, P], each of another place
    that does not overlap the query's.
    """
    place = data.train.place
    apart = ~overlaps(data.places)
    of_place = {one: np.flatnonzero(place == one) for one in np.unique(place)}
    order = rng.permutation(sorted(of_place))
    for first in range(0, max(len(order) - ANCHORS + 1, 1), ANCHORS):
        views = []
        for one in order[first : first + ANCHORS]:
            query, positive = rng.choice(of_place[one], 2, replace=False)
            candidates = rng.permutation(np.flatnonzero(apart[one][place]))[:CANDIDATES]
            nearest = candidates[np.argsort(-vectors[candidates] @ vectors[query], kind="stable")]
            _, firsts = np.unique(place[nearest], return_index=True)
            views += [query, positive] + nearest[np.sort(firsts)[:NEGATIVES]].tolist()
        yield np.array(views)


def overlaps(places):
    """Which pairs of places overlap; each place overlaps itself. bool [places, places]"""
    side = photographs.SIDE
    names, rows, columns = (np.array(values)[:, np.newaxis] for values in zip(*places))
    return (names == names.T) & (abs(rows - rows.T) < side) & (abs(columns - columns.T) < side)


def whitened(vectors, width, seed):
    """The vectors, whitened by the PCA of the training views and normalised to unit length; at most `width` wide."""
    width = min((width, vectors["train"].shape[1], len(vectors["train"]) - 1))
    solver = "full" if vectors["train"].shape[1] <= 2 * width else "randomized"
    pca = PCA(width, whiten=True, svd_solver=solver, random_state=seed).fit(vectors["train"])
    return {name: normalize(pca.transform(values)) for name, values in vectors.items()}


def tested(method, start, vectors, seconds, data, options):
    """The `Result` for the vectors as they are and for whitened ones, each with the places found for test queries."""
    results = []
    for whitening in ("", "PCA"):
        used = whitened(vectors, options.whitened_width, options.seed) if whitening else vectors
        found, truth = search(data.test, [data.test], used["test"], [used["test"]])
        stereo = None
        if data.stereo is not None:
            # The right photograph's tiles are not queries, because every method finds nearly all of them.
            parts = [data.stereo, data.test, data.train]
            tiles = [used[name] for name in ("stereo", "test", "train")]
            turned = data.stereo.number != 1
            stereo = recall(*search(data.stereo.where(turned), parts, used["stereo"][turned], tiles))
        width = used["test"].shape[1]
        results.append((Result(method, start, whitening, width, recall(found, truth), stereo, seconds), found))
    return results


def search(views, tiled, vectors, vectors_of_tiled):
    """Searches the tiles of `tiled`, by their vectors, for the places of the queries, which are all views but tiles.

    Returns:
      The places found, the nearest first [queries, largest of RECALLED], and the queries' own places [queries].
    """
    tiles = np.concatenate([own[part.number == 0] for part, own in zip(tiled, vectors_of_tiled)])
    places = np.concatenate([part.place[part.number == 0] for part in tiled])
    nearest = np.argsort(-vectors[views.number > 0] @ tiles.T, axis=1, kind="stable")[:, : max(RECALLED)]
    return places[nearest], views.place[views.number > 0]


def recall(found, truth):
    """The shares of queries whose place is among the first 1, 5 and 10 found."""
    return tuple(float((found[:, :count] == truth[:, None]).any(axis=1).mean()) for count in RECALLED)


HEADING = f"{'method':<11}{'start':<9}{'whitening':<11}{'width':>5}"
HEADING += f"{'recall@1':>10}{'@5':>7}{'@10':>7}{'stereo@1':>10}{'@5':>7}{'@10':>7}{'seconds':>9}"


def line(result):
    """A row of the table."""
    named = f"{result.method:<11}{result.start or '-':<9}{result.whitening or '-':<11}{result.width:>5}"
    recalls = ["{:>10.3f}{:>7.3f}{:>7.3f}".format(*recalls) for recalls in (result.test, result.stereo) if recalls]
    recalls += ["{:>10}{:>7}{:>7}".format(*"---")] * (2 - len(recalls))
    return named + "".join(recalls) + f"{result.seconds:>9.1f}"


def chart(results, caption):
    """A bar chart of the recall at 1 of each method, without and with whitening."""
    figure, axes = charts.bars(0.14, 0.78, "Places found again, by one vector for each view", caption)
    fontsize = min(9, 160 / len(results))  # So that the labels of neighbours do not overlap.
    for offset, whitening, color in zip((-0.2, 0.2), ("", "PCA"), charts.COLORS):
        own = [result for result in results if result.whitening == whitening]
        recalls = [result.test[0] for result in own]
        label = "PCA-whitened" if whitening else "as they are"
        bars = axes.bar(np.arange(len(own)) + offset, recalls, 0.38, color=color, label=label)
        charts.labelled(axes, bars, 2, fontsize)
    axes.set_xticks(range(len(own)))
    axes.set_xticklabels(["\n".join(filter(None, [result.method, result.start])) for result in own], fontsize=fontsize)
    axes.set_ylim(0, 1)
    axes.set_ylabel("recall at 1")
    charts.legend(axes)
    return figure


def caption(data, options):
    """A line that says what was trained and tested."""
    trained, tested = len(set(data.train.place)), len(set(data.test.place))
    queries = int((data.test.number > 0).sum())
    return (
        f"{trained} places to train, {tested} of other photographs with {queries} queries to test; "
        f"{options.epochs} epochs, seed {options.seed}"
    )


def picture(result, found, data):
    """A figure of five test queries, each of another photograph, with the first three places found."""
    queries = data.test.where(data.test.number > 0)
    names = np.array([data.places[place].photograph for place in queries.place])
    rng = np.random.RandomState(data.seed)
    shown = [rng.choice(np.flatnonzero(names == name)) for name in sorted(set(names))[:5]]
    figure = Figure(figsize=(6, 1.6 * len(shown) + 0.6), dpi=100)
    axes = figure.subplots(len(shown), 4, squeeze=False)
    for row, query in zip(axes, shown):
        images = [(queries.place[query], queries.number[query])] + [(place, 0) for place in found[query, :3]]
        for one, (place, number) in zip(row, images):
            one.imshow(photographs.image(data.places[place], number, data.seed), cmap="gray", vmin=0, vmax=1)
            one.set_xticks([])
            one.set_yticks([])
            is_right = place == queries.place[query]
            for spine in one.spines.values():
                spine.set_linewidth(1 if number else 4)
                spine.set_color("black" if number else "#2ca02c" if is_right else "#d62728")
    for one, title in zip(axes[0], ["query", "1st", "2nd", "3rd"]):
        one.set_title(title, fontsize=11)
    how = [result.method, f"from {result.start}" * bool(result.start), "PCA-whitened" * bool(result.whitening)]
    figure.suptitle(f"Found by {', '.join(filter(None, how))}: green is right, red is wrong", fontsize=11)
    figure.tight_layout()
    return figure


def parsed(argv):
    parser = commandline.Parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="use fewer views, epochs and clusters; takes a minute")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="the pooling methods")
    parser.add_argument("--start", nargs="+", choices=STARTS, default=STARTS, help="how trained layers start")
    for name, meaning in [
        ("epochs", "how often each place is a query in training"),
        ("train-views", "random views of each place for training"),
        ("stride", "pixels from one tile of a photograph to the next; a tile has 96"),
        ("clusters", "cluster_size of NetVLAD; NetFV has half as many, and Soft-DBoW and NeXtVLAD four times as many"),
    ]:
        usual, quick = (defaults[name.replace("-", "_")] for defaults in (USUAL, QUICK))
        parser.add_argument(f"--{name}", type=positive, help=f"{meaning} (default: {usual}, quick {quick})")
    parser.add_argument("--learning-rate", type=above_zero, default=0.01, help="Adam's learning rate at the start")
    parser.add_argument(
        "--margin", type=above_zero, default=0.2, help="the margin of the triplets, between squared distances"
    )
    parser.add_argument("--whitened-width", type=positive, default=256, help="the largest width of whitened vectors")
    parser.add_argument("--validate", action="store_true", help="hold some training photographs out and test on them")
    parser.add_argument("--workers", type=positive, help="processes that make the views (default: one for each core)")
    parser.add_argument("--seed", type=seed, default=1, help="the seed of views, k-means, weights and order")
    parser.add_argument("--directory", default="places", help="the cache of the views")
    parser.add_argument("--output", type=writable, default="places.png", metavar="PNG", help="the chart")
    parser.add_argument("--picture", type=writable, default="places_found.png", metavar="PNG", help="five queries")
    options = parser.parse_args(argv)
    for name, value in (QUICK if options.quick else USUAL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    # Each name once, in the order of the table.
    options.methods = [method for method in METHODS if method in options.methods]
    options.start = [start for start in STARTS if start in options.start]
    return options


if __name__ == "__main__":
    commandline.run(main)
