"""The one list of configurations that the checks run over: methods, batch norm or biases, gated or plain, modes."""

import collections
import itertools

import pytest

from support.methods import METHODS

METHODS_OF_2017 = ("NetVLAD", "NetRVLAD", "SoftDBoW", "NetFV")

# The sizes of the goldens.
BATCH, SAMPLES, FEATURES, CLUSTERS, OUTPUTS = 4, 7, 12, 5, 6


class Configuration(collections.namedtuple("Configuration", "method add_batch_norm gating is_training")):
    def __str__(self):
        """The name of the configuration's golden, such as NetVLAD_bn_gated_train."""
        flags = (
            "bn" if self.add_batch_norm else "bias",
            "gated" if self.gating else "plain",
            "train" if self.is_training else "infer",
        )
        return "_".join((self.method,) + flags)

    def layer(self, **changes):
        """The layer of this configuration, with the sizes above; `changes` are arguments of the constructor."""
        arguments = dict(self._asdict(), **self.row.own)
        del arguments["method"]
        arguments.update(feature_size=FEATURES, max_samples=SAMPLES, cluster_size=CLUSTERS, output_dim=OUTPUTS)
        return self.row.layer(**dict(arguments, **changes))

    @property
    def row(self):
        """What the table of methods says."""
        return METHODS[self.method]

    @property
    def descriptor_size(self):
        return self.row.width(FEATURES, CLUSTERS)


CONFIGURATIONS = [Configuration(*choice) for choice in itertools.product(METHODS, *[(True, False)] * 3)]

# The configurations of the default run: two of each method of 2017, which have no flag in common, and which together
# are all eight choices of flags. The long run takes the other configurations, and later methods.
QUARTER = [
    c
    for i, method in enumerate(METHODS_OF_2017)
    for c in CONFIGURATIONS
    if (c.method, divmod(i, 2)) == (method, (c.gating ^ c.add_batch_norm, c.is_training ^ c.add_batch_norm))
]
# One of each method, for what hardly depends on the flags.
EIGHTH = [c for c in QUARTER if c.is_training == (c.method in METHODS_OF_2017[:2])]

# For tests that need only one configuration, but all its parts.
TRAINING = Configuration("NetVLAD", add_batch_norm=True, gating=True, is_training=True)


def parametrize(configurations, quick):
    """Parametrizes by configuration. Those that are not in `quick` are left to the long run."""
    return pytest.mark.parametrize(
        "configuration",
        [pytest.param(c, id=str(c), marks=[] if c in quick else [pytest.mark.long]) for c in configurations],
    )


each_configuration = parametrize(CONFIGURATIONS, QUARTER)
a_configuration_of_each_method = parametrize(CONFIGURATIONS, EIGHTH)
batch_norm_or_biases = pytest.mark.parametrize("add_batch_norm", [True, False], ids=["bn", "bias"])
each_method = pytest.mark.parametrize(
    "method", [pytest.param(m, marks=[] if m in METHODS_OF_2017 else [pytest.mark.long]) for m in METHODS]
)

# The methods that have goldens, which prove the numbers. All their configurations are in the default run.
OF_2017 = [c for c in CONFIGURATIONS if c.method in METHODS_OF_2017]
each_configuration_of_2017 = parametrize(OF_2017, OF_2017)
each_method_of_2017 = pytest.mark.parametrize("method", METHODS_OF_2017)
