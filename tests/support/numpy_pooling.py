"""The formulas of the layers, stated in float64 NumPy as sums over samples, clusters and dimensions."""

import numpy as np

# B lists of N samples of D features, K clusters, as b, n, d and k.


def pool(configuration, lists, values, with_projection=True, num_samples=None):
    """What a layer computes.

    Args:
      configuration: the `Configuration` of the layer.
      lists: the samples [B, N, D].
      values: the values of the layer's variables, a dict by name.
      with_projection: whether the layer projects its descriptor, that is, has an output_dim.
      num_samples: how many leading samples of each list are real, or None if all are.

    Returns:
      The output [B, O], and the values of the moving averages after one run of the update ops, a dict by name.
    """
    lists = np.asarray(lists, np.float64)
    values = {name: np.asarray(value, np.float64) for name, value in values.items()}
    moved = {}

    def normalized(activations, scope):
        if not configuration.add_batch_norm:
            return activations + values[scope + "_biases"]
        beta, gamma, mean, variance = (
            values[f"{scope}_bn/{name}"] for name in ("beta", "gamma", "moving_mean", "moving_variance")
        )
        if configuration.is_training and len(activations):
            rows = len(activations)
            batch_mean = activations.sum(axis=0) / rows
            deviations = np.square(activations - batch_mean).sum(axis=0)
            moved[scope + "_bn/moving_mean"] = 0.999 * mean + 0.001 * batch_mean
            moved[scope + "_bn/moving_variance"] = 0.999 * variance + 0.001 * deviations / max(rows - 1, 1)
            mean, variance = batch_mean, deviations / rows
        return gamma * (activations - mean) / np.sqrt(variance + 0.001) + beta

    batch, samples, _ = lists.shape
    lengths = np.full(batch, samples) if num_samples is None else np.asarray(num_samples)
    is_real = np.arange(samples) < lengths[:, None]
    lists = np.where(is_real[:, :, None], lists, 0)
    assignment = np.zeros([batch, samples, values["cluster_weights"].shape[1]])
    assignment[is_real] = softmax(normalized(lists[is_real] @ values["cluster_weights"], "cluster"))
    y = DESCRIPTORS[configuration.method](lists, assignment, values)
    if with_projection:
        y = y @ values["hidden1_weights"]
    if configuration.gating:
        y = y / (1 + np.exp(-normalized(y @ values["gating_weights"], "gating")))
    return y, moved


def softmax(activations):
    exponentials = np.exp(activations - activations.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def unit(v, axis):
    """v, l2-normalised along an axis."""
    return v / np.sqrt(np.maximum(np.square(v).sum(axis=axis, keepdims=True), 1e-12))


def flat_unit(v):
    return unit(v.reshape(len(v), -1), axis=1)


def netvlad(lists, assignment, values):
    residuals = lists[:, :, :, None] - values["cluster_weights2"]  # [B, N, D, K]
    return flat_unit(unit(np.einsum("bnk,bndk->bdk", assignment, residuals), axis=1))


def netrvlad(lists, assignment, values):
    return flat_unit(unit(np.einsum("bnk,bnd->bdk", assignment, lists), axis=1))


def soft_dbow(lists, assignment, values):
    return flat_unit(assignment.sum(axis=1))


def netfv(lists, assignment, values):
    covariances = np.square(values["covar_weights"]) + 1e-6
    deviations = (lists[:, :, :, None] - values["cluster_weights2"]) / covariances  # [B, N, D, K]
    means = np.einsum("bnk,bndk->bdk", assignment, deviations)
    variances = np.einsum("bnk,bndk->bdk", assignment, np.square(deviations) - 1)
    return np.concatenate([flat_unit(unit(means, axis=1)), flat_unit(variances)], axis=1)


DESCRIPTORS = {"NetVLAD": netvlad, "NetRVLAD": netrvlad, "SoftDBoW": soft_dbow, "NetFV": netfv}
