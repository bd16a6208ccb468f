"""The lock that keeps a second training out of a directory of checkpoints."""

import contextlib
import errno
import functools
import inspect
import os
import socket
import time

import filelock
from loupe_examples.errors import UserError, warn

FILE = "training.lock"
OWNER = "training.owner"

# Where a file system has no locks, newer versions would leave a file that no end of a process removes.
_HARD = {"fallback_to_soft": False} if "fallback_to_soft" in inspect.signature(filelock.FileLock).parameters else {}
_Lock = functools.partial(filelock.FileLock, **_HARD)


@contextlib.contextmanager
def held(directory):
    """A context in which no other process trains in the directory, which is made if it is missing.

    The operating system holds the lock, and frees it when the process ends, however it does. The context's value is a
    function that tells whether the directory is still the one that was locked.

    Raises:
      UserError: if another process trains there, which is named; or if the directory cannot be written to.
    """
    lock, owner = _Lock(os.path.join(directory, FILE)), os.path.join(directory, OWNER)
    own = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
    try:
        os.makedirs(directory, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.ENOSYS:
                raise
            # A file system without locks.
            warn(f"{directory}: cannot be locked; see to it that no other training is at work there")
        with open(owner, "w", encoding="utf-8") as file:
            file.write(own)
    except filelock.Timeout as error:
        raise UserError(f"{directory}: another training is at work there: {_text(owner)}") from error
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror or error}") from error
    try:
        yield lambda: _text(owner) == own
    finally:
        lock.release()


def _text(owner):
    try:
        with open(owner, encoding="utf-8") as file:
            return file.read() or "it has just begun"
    except OSError:
        return "it has just begun"
