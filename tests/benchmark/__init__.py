"""The benchmark: python tests/benchmark."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Without this flag, XLA ignores the session's config on the CPU. The flag alone changes nothing.
os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit")
