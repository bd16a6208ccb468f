"""The one list of configurations that the checks run over: methods, batch norm or biases, gated or plain, modes."""

import collections
import itertools

import pytest

from support.methods import METHODS

METHODS_OF_2017 = ("NetVLAD", "NetRVLAD", "SoftDBoW", "NetFV")  # which have goldens

# The sizes of the goldens.
BATCH, SAMPLES, FEATURES, CLUSTERS, OUTPUTS = 4, 7, 12, 5, 6


class Configuration(collections.namedtuple("Configuration", "method add_batch_norm gating is_training")):
    def __str__(self):
        """As the goldens are named, such as NetVLAD_bn_gated_train."""
        flags = (
            "bn" if self.add_batch_norm else "bias",
            "gated" if self.gating else "plain",
            "train" if self.is_training else "infer",
        )
        return "_".join((self.method,) + flags)

    def layer(self, **changes):
        """The layer of this configuration, with the sizes above; `changes` are arguments of the constructor."""
        arguments = dict(feature_size=FEATURES, max_samples=SAMPLES, cluster_size=CLUSTERS, output_dim=OUTPUTS)
        arguments.update(gating=self.gating, add_batch_norm=self.add_batch_norm, is_training=self.is_training)
        arguments.update(self.row.own, **changes)
        return self.row.layer(**arguments)

    @property
    def row(self):
        """What the table of methods says."""
        return METHODS[self.method]

    @property
    def descriptor_size(self):
        return self.row.width(FEATURES, CLUSTERS)


CONFIGURATIONS = [Configuration(*choice) for choice in itertools.product(METHODS, *[(True, False)] * 3)]

# A quarter of them: two of each method, where each flag of one is not that of the other, and over the methods all eight
# choices of flags. The others are left to the long run, except by what is the proof of the numbers: the formulas, the
# goldens and the contract.
QUARTER = [
    c
    for c in CONFIGURATIONS
    if divmod(list(METHODS).index(c.method) % 4, 2) == (c.gating ^ c.add_batch_norm, c.is_training ^ c.add_batch_norm)
]

# What a test takes that needs only one, with all its parts.
TRAINING = Configuration("NetVLAD", add_batch_norm=True, gating=True, is_training=True)

each_configuration = pytest.mark.parametrize(
    "configuration",
    [pytest.param(c, id=str(c), marks=[] if c in QUARTER else [pytest.mark.long]) for c in CONFIGURATIONS],
)
each_inference_configuration = pytest.mark.parametrize(
    "configuration", [c for c in CONFIGURATIONS if not c.is_training], ids=str
)
batch_norm_or_biases = pytest.mark.parametrize("add_batch_norm", [True, False], ids=["bn", "bias"])
each_method = pytest.mark.parametrize("method", METHODS)

# Those that can be held against the goldens.
each_configuration_of_2017 = pytest.mark.parametrize(
    "configuration", [c for c in CONFIGURATIONS if c.method in METHODS_OF_2017], ids=str
)
each_in_quarter_of_2017 = pytest.mark.parametrize(
    "configuration", [c for c in QUARTER if c.method in METHODS_OF_2017], ids=str
)
each_method_of_2017 = pytest.mark.parametrize("method", METHODS_OF_2017)
