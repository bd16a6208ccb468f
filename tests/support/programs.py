"""Programs as processes of their own, which on Linux start fast, forked off one that has imported TensorFlow."""

import multiprocessing
import os
import pathlib
import runpy
import signal
import sys
import tempfile
import time

_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform.startswith("linux") else "spawn")
_CONTEXT.set_forkserver_preload(["tensorflow.compat.v1", "sklearn.datasets", "filelock", "tqdm", "loupe"])


def _run(path, arguments, environment, directory, output, error, file_size):
    """What the process does: the program, with its output in files."""
    if file_size is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    for number, file in enumerate([output, error], start=1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # It is ignored where the tests run in the background.
    os.chdir(directory)
    os.environ.update(environment)
    sys.argv = [path] + arguments
    sys.path.insert(0, os.path.dirname(path))
    runpy.run_path(path, run_name="__main__")


class Program:
    """A running program.

    Args:
      path: the program's file.
      arguments: its command line, a list of str.
      directory: where it runs, and where its output is written, in files called `name`.
      name: a str.
      environment: variables, a dict.
      file_size: the largest file that it may write, in bytes. Default None: any.
    """

    def __init__(self, path, arguments, directory, name, environment, file_size=None):
        self.name = name
        self._program = os.path.basename(str(path))
        self._files = [os.path.join(str(directory), f"{name}.{stream}") for stream in ("out", "err")]
        for file in self._files:
            if os.path.exists(file):
                os.remove(file)
        given = (str(path), [str(argument) for argument in arguments], environment, str(directory), *self._files)
        self._process = _CONTEXT.Process(target=_run, args=given + (file_size,), daemon=True)
        self._process.start()

    @property
    def pid(self):
        return self._process.pid

    @property
    def status(self):
        """That with which it ended; None, if it has not."""
        return self._process.exitcode

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """As kill -9 does."""
        if self.status is None:
            os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        self._process.join(30)

    def wait(self, seconds):
        """The status with which it ends, in so many seconds at most."""
        self._process.join(seconds)
        assert self.status is not None, f"{self.name} has not ended in {seconds} s: {self.text('err')[-2000:]}"
        return self.status

    def text(self, stream):
        """What it has written, to `out` or to `err`."""
        file = self._files[stream == "err"]
        if not os.path.exists(file):
            return ""
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read()

    def lines(self, kind):
        """What it has said in lines of a kind, such as error."""
        prefix = f"{self._program}: {kind}: "
        lines = self.text("err").replace("\r", "\n").splitlines()
        return [line[len(prefix) :] for line in lines if line.startswith(prefix)]


def run(text, *arguments):
    """Runs the text as a program, in a directory of its own, and returns what it printed, or raises if it fails."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "program.py")
        path.write_text(text, encoding="utf-8")
        program = Program(path, arguments, directory, "program", {})
        assert program.wait(300) == 0, program.text("out") + program.text("err")
        return program.text("out")


def until(condition, seconds=60):
    """Waits until the condition, a function, gives something true, and returns it."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not so after {seconds} s: {condition}"
        time.sleep(0.02)
