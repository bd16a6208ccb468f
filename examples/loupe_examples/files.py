"""Names of files, and output files that are written completely or not at all."""

import contextlib
import os
import shutil
import tempfile
import uuid

from loupe_examples.errors import UserError


def expanded(name):
    """Returns a file's name with the home directory for a leading ~, unless a file with this very name exists."""
    return name if os.path.exists(name) else os.path.expanduser(name)


def for_tensorflow(name):
    """Returns the `expanded` name of a file for TensorFlow.

    Raises:
      UserError: if the name is not UTF-8, or is an address such as gs://bucket/name. TensorFlow requires UTF-8.
    """
    if "://" in name:
        raise UserError(f"{name}: expected a file or a directory of this machine")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"{name}: expected a name in UTF-8, and a locale whose encoding is UTF-8") from error
    return expanded(name)


def readable(path):
    """Returns the path of a file that can be read, or raises a `UserError`. TensorFlow waits for pipes without end."""
    if not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise UserError(f"{path}: expected a file that can be read")
    return path


@contextlib.contextmanager
def whole(path, suffix=""):
    """A context whose value is the name of a temporary file, which is moved to `path` at the end of the block.

    If the block fails, `path` stays as it was. The temporary name ends with the suffix. A symlink stays a symlink to
    the file. A pipe or a device gets the bytes of the file.

    Raises:
      UserError: if the file cannot be written.
    """
    is_device = os.path.exists(path) and not os.path.isfile(path)
    target = os.path.join(tempfile.gettempdir(), "device") if is_device else os.path.realpath(path)
    # Each writer gets a name of its own. A process id would not do: the processes of a cluster write into one directory
    # and may have the same id on two hosts.
    partial = f"{target}.{uuid.uuid4().hex}.partial{suffix}"
    try:
        yield partial
        if is_device:
            with open(partial, "rb") as file, open(path, "wb") as device:
                shutil.copyfileobj(file, device)
        else:
            os.replace(partial, target)
    except OSError as error:
        if error.filename not in (None, partial):
            raise
        raise UserError(f"{path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(partial)
