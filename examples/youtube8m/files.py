"""Files that come to be whole or not at all."""

import contextlib
import os


@contextlib.contextmanager
def whole(path):
    """A context whose value is the name to write to, and which puts the file in its place at `path` at the end.

    If the block fails, there is none, and an older one stays as it was.
    """
    partial = f"{path}.{os.getpid()}.partial"  # The processes of a cluster may write at the same time.
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(partial)
