"""The formulas of the layers, stated in float64 NumPy as sums over samples, clusters and dimensions."""

import numpy as np

# B lists of N samples of D features, K clusters, as b, n, d and k.


class Batch:
    """Lists of samples, the values of a layer's variables, and the steps that the formulas of the methods share.

    Attributes:
      lists: the samples, with zeros for padding. [B, N, D]
      rows: the T real samples alone. [T, D]
      is_real: which samples are not padding. bool [B, N]
      values: the values of the layer's variables, a dict by name.
      moved: the moving averages after one run of the update ops, a dict by name. Batch norms add to it.
    """

    def __init__(self, configuration, lists, values, num_samples=None, noise=None):
        lists = np.asarray(lists, np.float64)
        batch, size, _ = lists.shape
        lengths = np.full(batch, size) if num_samples is None else np.asarray(num_samples)
        self.configuration = configuration
        self.noise = noise
        self.is_real = np.arange(size) < lengths[:, None]
        self.lists = np.where(self.is_real[:, :, None], lists, 0)
        self.rows = lists[self.is_real]
        self.values = {name: np.asarray(value, np.float64) for name, value in values.items()}
        self.moved = {}

    def normalized(self, activations, scope):
        """Activations [R, C] after the layer's batch norm, or with biases if it has none."""
        if self.configuration.add_batch_norm:
            return self.batch_normalized(activations, scope + "_bn")
        return activations + self.values[scope + "_biases"]

    def batch_normalized(self, activations, scope, is_fused=True):
        """Activations [R, C] after a batch norm. A fused one moves its variance with Bessel's correction."""
        beta, gamma, mean, variance = (
            self.values[f"{scope}/{name}"] for name in ("beta", "gamma", "moving_mean", "moving_variance")
        )
        activations = self.rounded(activations)
        if self.configuration.is_training and len(activations):
            rows = len(activations)
            batch_mean = activations.sum(axis=0) / rows
            deviations = np.square(activations - batch_mean).sum(axis=0)
            self.moved[scope + "/moving_mean"] = 0.999 * mean + 0.001 * batch_mean
            self.moved[scope + "/moving_variance"] = 0.999 * variance + 0.001 * deviations / max(rows - is_fused, 1)
            mean, variance = batch_mean, deviations / rows
        return gamma * (self.rounded(activations) - mean) / np.sqrt(variance + 0.001) + beta

    def rounded(self, values):
        """The values with noise like float32's rounding, if there is any."""
        return values if self.noise is None else values * (1 + 1e-7 * self.noise.standard_normal(values.shape))

    def scattered(self, rows):
        """Rows [T, ...] at the places of the real samples, with zeros for padding. [B, N, ...]"""
        scattered = np.zeros(self.is_real.shape + rows.shape[1:])
        scattered[self.is_real] = rows
        return scattered

    def soft_assignment(self):
        """The samples' assignment to as many clusters as there are cluster weights. [B, N, K]"""
        return self.scattered(softmax(self.normalized(self.rows @ self.values["cluster_weights"], "cluster")))


def pool(configuration, lists, values, with_projection=True, num_samples=None, noise=None):
    """What a layer computes.

    Args:
      configuration: the `Configuration` of the layer.
      lists: the samples [B, N, D].
      values: the values of the layer's variables, a dict by name.
      with_projection: whether the layer projects its descriptor, that is, has an output_dim.
      num_samples: how many leading samples of each list are real, or None if all are.
      noise: a RandomState for errors like float32's within each batch norm, which magnifies them where the rows are
        nearly alike; or None.

    Returns:
      The output [B, O], and the values of the moving averages after one run of the update ops, a dict by name.
    """
    batch = Batch(configuration, lists, values, num_samples, noise)
    y = configuration.row.statement(batch)
    if with_projection:
        y = y @ batch.values["hidden1_weights"]
    if configuration.gating:
        y = y * sigmoid(batch.normalized(y @ batch.values["gating_weights"], "gating"))
    return y, batch.moved


def sigmoid(activations):
    return 1 / (1 + np.exp(-activations))


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


def nextvlad(batch):
    values, groups = batch.values, batch.configuration.row.own["groups"]
    has_batch_norm = batch.configuration.add_batch_norm
    y = batch.rows @ values["fully_connected/weights"] + values["fully_connected/biases"]  # [T, L D]
    attention = sigmoid(y @ values["fully_connected_1/weights"] + values["fully_connected_1/biases"])  # [T, G]
    activations = y @ values["cluster_weights"]  # [T, G K]
    if has_batch_norm:
        activations = batch.batch_normalized(activations, "cluster_bn", is_fused=False)
    else:
        activations = activations + values["cluster_biases"]
    v = 0
    for g, (part, activation) in enumerate(zip(np.split(y, groups, axis=1), np.split(activations, groups, axis=1))):
        a = attention[:, g, None] * softmax(activation)  # [T, K]
        residuals = part[:, :, None] - values["cluster_weights2"]  # [T, L D / G, K]
        v = v + batch.scattered(a[:, None, :] * residuals).sum(axis=1)
    v = unit(v, axis=1).reshape(len(v), -1)
    if not has_batch_norm:
        return unit(v, axis=1)
    has_samples = batch.is_real.any(axis=1)
    descriptors = np.zeros(v.shape)
    descriptors[has_samples] = batch.batch_normalized(v[has_samples], "vlad_bn", is_fused=False)
    return descriptors


def ghostvlad(batch):
    clusters = batch.values["cluster_weights2"].shape[2]
    return netvlad(batch.lists, batch.soft_assignment()[:, :, :clusters], batch.values)


DESCRIPTORS = {"NetVLAD": netvlad, "NetRVLAD": netrvlad, "SoftDBoW": soft_dbow, "NetFV": netfv}


def statement_of(method):
    """The statement of a method of 2017, whose descriptor follows from the soft assignment."""
    return lambda batch: DESCRIPTORS[method](batch.lists, batch.soft_assignment(), batch.values)
