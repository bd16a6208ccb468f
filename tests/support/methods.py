"""The table of pooling methods. All of tests/conformance runs for every row."""

import collections

import loupe
import methods
import numpy as np
from support import numpy_pooling

# The mean, the standard deviation and the kurtosis of a variable's initial values. The kurtosis is 3 for a normal
# initialiser and 2.37 for one that is truncated at two deviations.
Start = collections.namedtuple("Start", "mean deviation kurtosis")
Start.__new__.__defaults__ = (3.0,)


class Method:
    """What the tests have to know about a pooling method.

    Args:
      layer: its class, of loupe or of any other module.
      statement: its formula in NumPy, a function of a `numpy_pooling.Batch` that returns the descriptors [B, P].
      width: P, a function of D and K.
      norm: the l2 norm of a descriptor. None if descriptors have different norms.
      own: the constructor's arguments that other methods do not have, a dict of values that fit every D and K.
      starts: a function of D and K that returns a dict of `Start` by name, for the variables that do not start as
        test_initializers.py says for all methods. Batch norms need none.
    """

    def __init__(self, layer, statement, width, norm=1.0, own=None, starts=None):
        self.layer = layer
        self.statement = statement
        self.width = width
        self.norm = norm
        self.own = own or {}
        self.starts = starts or (lambda D, K: {})


def starts_of_nextvlad(D, K):
    """Variance scaling with a factor of 2, with expansion=2 and groups=2."""
    # The initialiser draws from a normal distribution that is truncated at two deviations.
    wide, narrow, projection = (Start(0, 0.87963 * np.sqrt(2.6 / fan_in), 2.37) for fan_in in (2 * D, D, D * K))
    zero = Start(0, 0)
    return {
        "fully_connected/weights": narrow,
        "fully_connected/biases": zero,
        "fully_connected_1/weights": wide,
        "fully_connected_1/biases": zero,
        "cluster_weights": wide,
        "cluster_weights2": narrow,
        "hidden1_weights": projection,
    }


METHODS = {
    "NetVLAD": Method(loupe.NetVLAD, numpy_pooling.statement_of("NetVLAD"), lambda D, K: D * K),
    "NetRVLAD": Method(loupe.NetRVLAD, numpy_pooling.statement_of("NetRVLAD"), lambda D, K: D * K),
    "SoftDBoW": Method(loupe.SoftDBoW, numpy_pooling.statement_of("SoftDBoW"), lambda D, K: K),
    "NetFV": Method(
        loupe.NetFV,
        numpy_pooling.statement_of("NetFV"),
        lambda D, K: 2 * D * K,
        norm=np.sqrt(2),
        starts=lambda D, K: {"covar_weights": Start(1, D**-0.5)},
    ),
    "NeXtVLAD": Method(
        methods.NeXtVLAD,
        numpy_pooling.nextvlad,
        lambda D, K: D * K,
        norm=None,
        own={"expansion": 2, "groups": 2},
        starts=starts_of_nextvlad,
    ),
    "GhostVLAD": Method(methods.GhostVLAD, numpy_pooling.ghostvlad, lambda D, K: D * K, own={"ghost_clusters": 2}),
}
