"""The pooling layers in PyTorch, as a user of PyTorch writes them."""

import math

import torch
from torch import nn
from torch.nn import functional


class Pooling(nn.Module):
    """The method of this name, with projection, Context Gating and batch norm. [B, N, D] -> [B, O]"""

    def __init__(self, method, features, clusters, outputs):
        super().__init__()
        self.pooled = getattr(self, method)
        width = {"SoftDBoW": clusters, "NetFV": 2 * features * clusters}.get(method, features * clusters)
        self.cluster_weights = _parameter(features, clusters, stddev=1 / math.sqrt(features))
        if method in ("NetVLAD", "NetFV"):
            self.cluster_weights2 = _parameter(1, features, clusters, stddev=1 / math.sqrt(features))
        if method == "NetFV":
            self.covar_weights = _parameter(features, clusters, stddev=1 / math.sqrt(features), mean=1.0)
        self.cluster_bn = nn.BatchNorm1d(clusters, eps=0.001, momentum=0.001)
        self.hidden1_weights = _parameter(width, outputs, stddev=1 / math.sqrt(clusters))
        self.gating_weights = _parameter(outputs, outputs, stddev=1 / math.sqrt(outputs))
        self.gating_bn = nn.BatchNorm1d(outputs, eps=0.001, momentum=0.001)

    def forward(self, x):
        batch, samples, features = x.shape
        activation = self.cluster_bn(x.reshape(batch * samples, features) @ self.cluster_weights)
        a = torch.softmax(activation, dim=1).reshape(batch, samples, -1)  # [B, N, K]
        y = self.pooled(x, a) @ self.hidden1_weights
        return y * torch.sigmoid(self.gating_bn(y @ self.gating_weights))

    def NetVLAD(self, x, a):  # noqa: N802
        return _normalized_twice(x.transpose(1, 2) @ a - a.sum(dim=1, keepdim=True) * self.cluster_weights2)

    def NetRVLAD(self, x, a):  # noqa: N802
        return _normalized_twice(x.transpose(1, 2) @ a)

    def SoftDBoW(self, x, a):  # noqa: N802
        return functional.normalize(a.sum(dim=1), dim=1)

    def NetFV(self, x, a):  # noqa: N802
        c, s = self.cluster_weights2, self.covar_weights**2 + 1e-6
        mass = a.sum(dim=1, keepdim=True)  # [B, 1, K]
        first = x.transpose(1, 2) @ a  # [B, D, K]
        second = (x**2).transpose(1, 2) @ a  # [B, D, K]
        f1 = (first - mass * c) / s
        f2 = (second - 2 * c * first + mass * c**2) / s**2 - mass
        return torch.cat([_normalized_twice(f1), functional.normalize(f2.flatten(1), dim=1)], dim=1)


def _normalized_twice(v):
    return functional.normalize(functional.normalize(v, dim=1).flatten(1), dim=1)


def _parameter(*shape, stddev, mean=0.0):
    return nn.Parameter(mean + stddev * torch.randn(shape))


def step(method, sizes, mode, is_compiled):
    """A function that computes the output or, in training, the gradients of all parameters."""
    batch, samples, features, clusters, outputs = sizes
    layer = Pooling(method, features, clusters, outputs).train(mode != "inference")
    forward = torch.compile(layer) if is_compiled else layer
    x = torch.randn(batch, samples, features, requires_grad=mode == "training-input")
    if mode == "inference":
        return torch.inference_mode()(lambda: forward(x))
    sources = list(layer.parameters()) + ([x] if x.requires_grad else [])
    d_output = torch.randn(batch, outputs)
    return lambda: torch.autograd.grad(forward(x), sources, d_output)
