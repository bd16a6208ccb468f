"""Starts a pooling layer from k-means, so that its assignment and centres fit the samples before the first step.

Import or copy this file; it needs only NumPy and scikit-learn. For a layer that was built in the scope "pooling"::

    values = kmeans_start(samples, cluster_size=64)  # samples [T, D], some 1,000 for each cluster
    session.run(tf.global_variables_initializer())
    assign(session, "pooling", values)

For a `PoolingLayer` or a `PoolingModule` of tf2.py, in place of the last two lines::

    assign(layer, "", values)

This start helps a short training; after many steps, a random start can be better. The table has the accuracies of
examples/digits.py --gating plain with --start random -> k-means, seed 1:

    epochs   Soft-DBoW        NetVLAD          NetFV
         5   0.620 -> 0.780   0.729 -> 0.944   0.776 -> 0.958
        20   0.938 -> 0.887   0.960 -> 0.969   0.971 -> 0.969
        80   0.984 -> 0.909   0.984 -> 0.967   0.980 -> 0.969

Reference: Arandjelovic, Gronat, Torii, Pajdla, Sivic: NetVLAD: CNN architecture for weakly supervised place
recognition. CVPR 2016, section 3.1 and appendix A.
"""

import math
import numbers
import re

import numpy as np
from sklearn.cluster import MiniBatchKMeans

RATIO = 100  # The ratio of a sample's largest to its second largest assignment, as in the paper.
EPSILON = 0.001  # What slim's batch norm adds to the variance.


@np.errstate(over="ignore", invalid="ignore")  # The values are checked at the end.
def kmeans_start(samples, cluster_size, add_batch_norm=True, alpha=None, seed=0, ghost_clusters=0):
    """Returns values for a layer's variables with which its soft assignment is that of the NetVLAD paper.

    With the centres c of k-means, this is ``a = softmax(-alpha |x - c|^2)`` (equation 2). The layer computes it as
    ``softmax(x W + b)`` with ``W = 2 alpha (c - m)`` and ``b = -alpha (|c|^2 - |m|^2)``. m, the mean of the centres,
    cancels in the softmax and keeps float32's rounding errors small. In a layer with batch norm, beta holds b, and the
    moving averages are the statistics of x W, so that the assignment is the same in inference mode.

    Args:
      samples: samples as the layer will pool them, normalised in the same way: an array [T, D] without padding. The
        function needs memory for two more arrays [T, K] of float64.
      cluster_size: K, the number of clusters, a positive integer.
      add_batch_norm: as for the layer. Default True.
      alpha: how sharp the assignment is, a number above 0. By default the ratio of a sample's largest to its second
        largest assignment has a geometric mean of 100 over the samples.
      seed: the seed of k-means. Default 0.
      ghost_clusters: the number of ghosts of `GhostVLAD` in methods.py. They start near the mean of the centres, so
        that samples far from all centres are assigned to them. Default 0.

    Returns:
      A dict of float32 arrays by the names of the variables, with G = ghost_clusters: cluster_weights [D, K + G];
      cluster_biases [K + G], or cluster_bn/gamma, cluster_bn/beta, cluster_bn/moving_mean and
      cluster_bn/moving_variance, each [K + G];
      cluster_weights2 [1, D, K], the centres; and for NetFV covar_weights [D, K], whose square is the standard
      deviation of the cluster's samples along each dimension, at least a tenth of that of all samples.

    Raises:
      TypeError: if `samples` are not real numbers, or another argument is of another type than those above.
      ValueError: if an argument is out of its range, or if the samples are too few, too similar, NaN or infinite.
    """
    samples = _checked_samples(samples, cluster_size)
    _check_integer("ghost_clusters", ghost_clusters, "an integer from 0", least=0)
    if add_batch_norm not in (True, False):
        raise TypeError(f"add_batch_norm: expected a bool, got {add_batch_norm!r}")
    _check_integer("seed", seed, f"an integer from 0 to {2**32 - 1}", least=0, limit=2**32)
    if alpha is not None and (isinstance(alpha, bool) or not isinstance(alpha, numbers.Real)):
        raise TypeError(f"alpha: expected a number above 0, got {alpha!r}")
    if alpha is not None and not 0 < alpha < float("inf"):
        raise ValueError(f"alpha: expected a number above 0, got {alpha!r}")
    kmeans = MiniBatchKMeans(cluster_size, batch_size=1024, n_init=3, random_state=seed).fit(samples)
    c = kmeans.cluster_centers_  # [K, D]
    if len(np.unique(c, axis=0)) < cluster_size:
        raise ValueError(f"samples: expected at least cluster_size = {cluster_size} different ones, got fewer")
    m = c.mean(axis=0)
    near = samples[np.random.RandomState(seed).choice(len(samples), ghost_clusters)]  # [G, D]
    every = np.concatenate([c, m + 0.1 * (near - m)])  # The centres, then the ghosts. [K + G, D]
    offsets = np.square(every).sum(axis=1) - np.square(m).sum()
    # |x - m|^2 - |x - c|^2, which is largest for the nearest centre. [T, K + G]
    nearness = 2 * samples @ (every - m).T - offsets
    if alpha is None:
        alpha = _alpha(nearness[:, :cluster_size])
    weights, biases = 2 * alpha * (every - m).T, -alpha * offsets

    values = {"cluster_weights": weights}
    if add_batch_norm:
        activations = alpha * nearness - biases
        # The statistics are rounded to float32 here, so that exactly these values cancel in the layer.
        mean, variance = (np.float32(statistic(activations, axis=0)) for statistic in (np.mean, np.var))
        values["cluster_bn/gamma"] = np.sqrt(variance.astype(np.float64) + EPSILON)
        values["cluster_bn/beta"] = biases + mean
        values["cluster_bn/moving_mean"], values["cluster_bn/moving_variance"] = mean, variance
    else:
        values["cluster_biases"] = biases
    values["cluster_weights2"] = c.T[np.newaxis]
    values["covar_weights"] = np.sqrt(_deviations(samples, nearness[:, :cluster_size].argmax(axis=1), cluster_size))
    values = {name: np.asarray(value, np.float32) for name, value in values.items()}
    if not all(np.isfinite(value).all() for value in values.values()):
        raise ValueError(f"alpha, samples: expected numbers whose products fit in float32, got alpha = {alpha!r}")
    return values


def assign(session, scope, values, suffix=None):
    """Assigns the values of `kmeans_start` to a layer's variables.

    Args:
      session: a ``tf.compat.v1.Session``; or a `PoolingLayer` or `PoolingModule` of tf2.py. Run a session's
        initialisers before `assign`, because they overwrite the values. The function adds nothing to the graph.
      scope: the variable scope that the layer was built in, or its name; "" for no scope, and for TensorFlow 2.
      values: the result of `kmeans_start`. cluster_weights2 and covar_weights are ignored where the layer has none.
      suffix: the end of the variables' names, such as "_video", for a method that has one, such as those of
        forks/soccernet_multimodal.py. By default the function finds it, if the scope has only one.

    Returns:
      The names of the variables that were assigned, sorted.

    Raises:
      TypeError: if `session` or `scope` is something else.
      ValueError: if there is no such layer, if only one of the layer and the values has batch norm, or if a shape does
        not fit. In this case nothing is assigned.
    """
    scope = getattr(scope, "name", scope)
    if not isinstance(scope, str):
        raise TypeError(f"scope: expected a variable scope or its name, got {scope!r}")
    prefix = scope.rstrip("/")
    prefix += "/" if prefix else ""
    is_session = not hasattr(session, "variables_by_name")
    if not is_session:
        variables = session.variables_by_name
    elif hasattr(session, "graph") and hasattr(session, "run"):
        variables = {variable.op.name: variable for variable in session.graph.get_collection("variables")}
    else:
        raise TypeError(
            f"session: expected a tf.compat.v1.Session, or a PoolingLayer or PoolingModule of tf2.py, got {session!r}"
        )
    if suffix is None:
        suffix = _suffix(prefix, variables)
    assigned = {}
    for name, value in values.items():
        first, slash, rest = name.partition("/")
        full_name = prefix + first + suffix + slash + rest
        parts = _parts(full_name, variables)
        if parts:
            assigned.update(zip(parts, _pieces(full_name, value, [variables[part] for part in parts])))
        elif name not in ("cluster_weights2", "covar_weights"):
            raise ValueError(_missing(full_name, variables))
    if is_session:
        initializers = [variables[name].initializer for name in assigned]
        session.run(initializers, {op.inputs[1]: piece for op, piece in zip(initializers, assigned.values())})
    else:
        for name, piece in assigned.items():
            variables[name].assign(piece)
    return sorted(assigned)


def _parts(name, variables):
    """The names of the parts into which a partitioner has split a variable, in order; its own name if there are none.

    TensorFlow appends a number to a name that another op of the graph already has.
    """
    found = [other for other in variables if re.fullmatch(re.escape(name) + r"(/part_\d+)?(_\d+)?", other)]
    return [name] if name in found else sorted(found, key=lambda other: [int(n) for n in re.findall(r"_(\d+)", other)])


def _suffix(prefix, variables):
    """The end of the variables' names, if the scope has only one layer."""
    normed = re.compile(re.escape(prefix) + r"cluster_(?:biases|bn)(_[^/]+)?(/gamma)?(/part_\d+)?")
    suffixes = sorted({match.group(1) or "" for match in map(normed.fullmatch, variables) if match})
    if len(suffixes) > 1 and "" not in suffixes:
        raise ValueError(f"suffix: expected one of {', '.join(suffixes)}, which all occur in the scope, got None")
    return suffixes[0] if suffixes else ""


def _pieces(name, value, parts):
    """The value, split along one dimension in the same way as the variables `parts`."""
    shapes = [tuple(int(size) for size in part.shape) for part in parts]
    for axis in range(value.ndim):
        pieces = np.split(value, np.cumsum([shape[axis] for shape in shapes])[:-1], axis)
        if [piece.shape for piece in pieces] == shapes:
            return pieces
    raise ValueError(
        f"{name}: expected values of the variable's shape {' + '.join(map(str, shapes))}, got {value.shape}. "
        "The samples, cluster_size and ghost_clusters of kmeans_start have to be those of the layer"
    )


def _missing(name, variables):
    """The message of the error that there is no variable of this name."""
    cluster = re.compile(r"(.*/)?cluster_(weights|biases|bn)(_[^/]+)?(/gamma|/part_\d+)?")
    found = [other for other in sorted(variables) if cluster.fullmatch(other)]
    return (
        f"scope: expected a layer with the variable {name}, got {', '.join(found) or 'none'}. "
        "The scope, and add_batch_norm of kmeans_start, have to be those of the layer"
    )


def _check_integer(name, value, expected, least, limit=math.inf):
    """Raises an error that says what is expected, unless the value is an integer from `least` to below `limit`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected {expected}, got {value!r}")
    if not least <= value < limit:
        raise ValueError(f"{name}: expected {expected}, got {value}")


def _checked_samples(samples, cluster_size):
    """The samples as float64 [T, D]."""
    _check_integer("cluster_size", cluster_size, "a positive integer", least=1)
    if np.ma.isMaskedArray(samples):
        raise TypeError("samples: expected an array of the real samples alone, got a masked array")
    try:
        samples = np.asarray(samples)
    except ValueError as error:
        raise TypeError(
            f"samples: expected an array of shape [T, D], got {type(samples).__name__} ({error})"
        ) from error
    if samples.dtype.kind not in "fiub":
        raise TypeError(f"samples: expected an array of real numbers, got {samples.dtype}")
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise ValueError(f"samples: expected shape [T, D], without the padding of lists, got {samples.shape}")
    if len(samples) < cluster_size:
        raise ValueError(f"samples: expected at least cluster_size = {cluster_size}, got {len(samples)}")
    if not np.isfinite(samples).all():
        raise ValueError("samples: expected finite numbers, got NaN or infinity among them")
    return samples.astype(np.float64)


def _alpha(nearness):
    """The alpha for which the ratio of the two largest assignments, ``exp(alpha * gap)``, has a geometric mean of 100.

    The paper's own code has this rule. An arithmetic mean would depend on the few samples with the largest gaps.
    """
    if nearness.shape[1] == 1:
        return 1.0
    largest = np.partition(nearness, -2, axis=1)[:, -2:]
    return math.log(RATIO) / np.mean(largest[:, 1] - largest[:, 0])


def _deviations(samples, nearest, cluster_size):
    """The standard deviation of each cluster's samples, above 0 and at least a tenth of that of all samples. [D, K]"""
    overall = samples.std(axis=0)
    least = np.maximum(0.1 * overall, max(1e-3 * overall.mean(), 1e-6))
    deviations = [least] * cluster_size
    for k in np.unique(nearest):
        deviations[k] = np.maximum(samples[nearest == k].std(axis=0), least)
    return np.stack(deviations, axis=1)
