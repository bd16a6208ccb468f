"""Tells which ops of a graph can run on a GPU, from the kernels in the installed TensorFlow."""

import functools

from tensorflow.python.framework import kernels


@functools.lru_cache(maxsize=None)
def gpu_kernels(op):
    """For each GPU kernel of the op in the installed TensorFlow, a dict of the types that it takes, by attribute."""
    return [
        {c.name: set(c.allowed_values.list.type) for c in kernel.constraint if c.allowed_values.list.type}
        for kernel in kernels.get_registered_kernels_for_op(op).kernel
        if kernel.device_type in ("GPU", "DEFAULT")
    ]


def has_gpu_kernel(node):
    return any(
        all(node.attr[name].type in allowed for name, allowed in types.items()) for types in gpu_kernels(node.op)
    )
