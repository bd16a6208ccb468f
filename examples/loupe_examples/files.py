"""Files that come to be whole or not at all."""

import contextlib
import os
import uuid


@contextlib.contextmanager
def whole(path, suffix=""):
    """A context whose value is the name to write to, and which puts the file in its place at `path` at the end.

    If the block fails, there is none, and an older one stays as it was. The name to write to ends with the suffix.
    """
    # A name of its own for each writer: the processes of a cluster, on hosts that may give them the same process id,
    # can write into one directory at the same time.
    partial = f"{path}.{uuid.uuid4().hex}.partial{suffix}"
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(partial)
