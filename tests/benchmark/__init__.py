"""The benchmark: python tests/benchmark."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# XLA leaves the CPU alone without it, whatever the session's config says; with it alone, nothing changes.
os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit")
