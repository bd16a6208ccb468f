"""Files that are written completely or not at all."""

import contextlib
import os
import uuid


@contextlib.contextmanager
def whole(path, suffix=""):
    """A context that gives a name to write to, and moves the file from there to `path` at the end.

    If the block fails, the new file is removed, and an older one stays as it was. The name to write to ends with the
    suffix.
    """
    # Each writer gets another name: the processes of a cluster write into one directory, and on two hosts they may have
    # the same process id.
    partial = f"{path}.{uuid.uuid4().hex}.partial{suffix}"
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(partial)
