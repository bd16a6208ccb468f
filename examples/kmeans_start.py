"""Starts a pooling layer from k-means: an assignment and centres that fit the samples, before the first step.

To be imported or copied: it needs NumPy and scikit-learn alone. For a layer that was built in the scope "pooling"::

    values = kmeans_start(samples, cluster_size=64)  # samples [T, D], some 1,000 for each cluster
    session.run(tf.global_variables_initializer())
    assign(session, "pooling", values)

It helps where steps are few; after many, a random start can end higher. The accuracies of examples/digits.py
--gating plain, with --start random -> k-means, seed 1:

    epochs   Soft-DBoW        NetVLAD          NetFV
         5   0.620 -> 0.780   0.729 -> 0.944   0.776 -> 0.958
        20   0.938 -> 0.887   0.960 -> 0.969   0.971 -> 0.969
        80   0.984 -> 0.909   0.984 -> 0.967   0.980 -> 0.969

Reference: Arandjelovic, Gronat, Torii, Pajdla, Sivic: NetVLAD: CNN architecture for weakly supervised place
recognition. CVPR 2016, section 3.1 and appendix A.
"""

import math
import numbers

import numpy as np
from sklearn.cluster import MiniBatchKMeans

RATIO = 100  # of a sample's largest assignment to its second largest, as in the paper
EPSILON = 0.001  # what slim's batch norm adds to the variance


def kmeans_start(samples, cluster_size, add_batch_norm=True, alpha=None, seed=0):
    """Values for a layer's variables, by which its soft assignment is that of the NetVLAD paper.

    With the centres c of k-means, that is ``a = softmax(-alpha |x - c|^2)`` (equation 2). The layer has it as
    ``softmax(x W + b)`` with ``W = 2 alpha (c - m)`` and ``b = -alpha (|c|^2 - |m|^2)``. m, the mean of the centres,
    cancels in the softmax, and keeps float32's rounding errors small. With batch norm, b is in its offset, and its
    moving averages are the statistics of x W, so that the assignment is the same in inference mode.

    Args:
      samples: what the layer will pool, an array [T, D], without the padding of lists. Normalise it as you do for the
        layer. Beside it, two arrays [T, K] of float64 are held.
      cluster_size: K, the number of clusters, a positive integer.
      add_batch_norm: that of the layer. Default True.
      alpha: how sharp the assignment is, a number above 0. Default None: so that a sample's largest assignment is 100
        times its second largest, in the geometric mean over the samples.
      seed: of k-means. Default 0.

    Returns:
      A dict of float32 arrays by the names of the variables: cluster_weights [D, K]; cluster_biases [K], or
      cluster_bn/gamma, cluster_bn/beta, cluster_bn/moving_mean and cluster_bn/moving_variance, each [K];
      cluster_weights2 [1, D, K], the centres; and for NetFV covar_weights [D, K], whose square is the standard
      deviation of the cluster's samples along each dimension, at least a tenth of that of all samples.

    Raises:
      TypeError: if `samples` are not real numbers or `cluster_size` is not an integer.
      ValueError: if an argument is out of its range, or samples are too few, too much alike, NaN or infinite.
    """
    samples = _checked_samples(samples, cluster_size)
    if alpha is not None and not 0 < alpha < float("inf"):
        raise ValueError(f"alpha: expected a number above 0, got {alpha!r}")
    kmeans = MiniBatchKMeans(cluster_size, batch_size=1024, n_init=3, random_state=seed).fit(samples)
    c = kmeans.cluster_centers_  # [K, D]
    if len(np.unique(c, axis=0)) < cluster_size:
        raise ValueError(f"samples: expected at least cluster_size = {cluster_size} different ones, got fewer")
    m = c.mean(axis=0)
    # |x - m|^2 - |x - c|^2, which is largest for the nearest centre. [T, K]
    nearness = 2 * samples @ (c - m).T - (np.square(c).sum(axis=1) - np.square(m).sum())
    if alpha is None:
        alpha = _alpha(nearness)
    weights, biases = 2 * alpha * (c - m).T, -alpha * (np.square(c).sum(axis=1) - np.square(m).sum())

    values = {"cluster_weights": weights}
    if add_batch_norm:
        activations = alpha * nearness - biases
        # Rounded before the others follow from it, so that it cancels.
        mean, variance = (np.float32(statistic(activations, axis=0)) for statistic in (np.mean, np.var))
        values["cluster_bn/gamma"] = np.sqrt(variance.astype(np.float64) + EPSILON)
        values["cluster_bn/beta"] = biases + mean
        values["cluster_bn/moving_mean"], values["cluster_bn/moving_variance"] = mean, variance
    else:
        values["cluster_biases"] = biases
    values["cluster_weights2"] = c.T[np.newaxis]
    values["covar_weights"] = np.sqrt(_deviations(samples, nearness.argmax(axis=1), cluster_size))
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def assign(session, scope, values):
    """Gives a layer's variables the values of `kmeans_start`, in a session. Nothing is added to its graph.

    Args:
      session: a ``tf.compat.v1.Session``. Run the initialisers before this: after it, they would overwrite the values.
      scope: the variable scope that the layer was built in, or its name; "" for none.
      values: what `kmeans_start` returned. cluster_weights2 and covar_weights are left out where the layer has none.

    Returns:
      The names of the variables that were assigned, sorted.

    Raises:
      ValueError: if the scope has no such layer, or the layer has batch norm and the values do not or the other way
        round, or a shape does not fit. Nothing is assigned then.
    """
    scope = getattr(scope, "name", scope)
    prefix = scope + "/" if scope else ""
    there = {variable.op.name: variable for variable in session.graph.get_collection("variables")}
    initializers, feed = {}, {}
    for name, value in values.items():
        variable = there.get(prefix + name)
        if variable is None:
            if name in ("cluster_weights2", "covar_weights"):
                continue
            got = ", ".join(sorted(other for other in there if other.startswith(prefix + "cluster_"))) or "none"
            raise ValueError(
                f"scope: expected a layer with the variable {prefix}{name}, got clusters with {got}. The arguments "
                "cluster_size and add_batch_norm of kmeans_start are to be those of the layer."
            )
        if variable.shape.as_list() != list(value.shape):
            raise ValueError(
                f"{prefix}{name}: expected values of the variable's shape {tuple(variable.shape.as_list())}, "
                f"got {value.shape}"
            )
        initializers[prefix + name] = variable.initializer
        feed[variable.initializer.inputs[1]] = value
    session.run(initializers, feed)
    return sorted(initializers)


def _checked_samples(samples, cluster_size):
    """The samples as float64 [T, D]."""
    if isinstance(cluster_size, bool) or not isinstance(cluster_size, numbers.Integral):
        raise TypeError(f"cluster_size: expected a positive integer, got {cluster_size!r}")
    if cluster_size <= 0:
        raise ValueError(f"cluster_size: expected a positive integer, got {cluster_size}")
    samples = np.asarray(samples)
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
    """By which the ratio of the two largest assignments, ``exp(alpha * gap)``, is 100 in the geometric mean.

    That is the rule of the paper's own code. The arithmetic mean would hang on the few samples of the largest gaps.
    """
    if nearness.shape[1] == 1:
        return 1.0
    largest = np.partition(nearness, -2, axis=1)[:, -2:]
    return math.log(RATIO) / np.mean(largest[:, 1] - largest[:, 0])


def _deviations(samples, nearest, cluster_size):
    """The standard deviation of each cluster's samples, at least a tenth of that of all, and above 0. [D, K]"""
    overall = samples.std(axis=0)
    least = np.maximum(0.1 * overall, max(1e-3 * overall.mean(), 1e-6))
    deviations = [least] * cluster_size
    for k in np.unique(nearest):
        deviations[k] = np.maximum(samples[nearest == k].std(axis=0), least)
    return np.stack(deviations, axis=1)
