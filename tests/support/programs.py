"""Programs as processes. On Linux they start fast, because they are forked from one that has imported TensorFlow."""

import multiprocessing
import os
import pathlib
import runpy
import signal
import sys
import tempfile
import time

_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform.startswith("linux") else "spawn")
_CONTEXT.set_forkserver_preload(["tensorflow.compat.v1", "sklearn.datasets", "tqdm", "loupe"])


def _run(path, arguments, environment, directory, output, error, file_size):
    """Runs the program in the process, with its output in files."""
    if file_size is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    for number, file in enumerate([output, error], start=1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # SIGINT is ignored where the tests run in the background.
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
      directory: where it runs, and where the files with its output are.
      name: the name of these files.
      environment: variables, a dict.
      file_size: the largest file that it may write, in bytes. Default None: no limit.
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
        """The exit status; None while the program runs."""
        return self._process.exitcode

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """Kills the program, as kill -9 does."""
        if self.status is None:
            os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        self._process.join(30)

    def wait(self, seconds):
        """Waits until the program ends, and returns its status. Fails after this many seconds."""
        self._process.join(seconds)
        assert self.status is not None, f"{self.name} has not ended in {seconds} s: {self.text('err')[-2000:]}"
        return self.status

    def text(self, stream):
        """The output so far, of the stream `out` or `err`."""
        file = self._files[stream == "err"]
        if not os.path.exists(file):
            return ""
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read()

    def lines(self, kind):
        """The texts of its lines of one kind, such as error."""
        prefix = f"{self._program}: {kind}: "
        lines = self.text("err").replace("\r", "\n").splitlines()
        return [line[len(prefix) :] for line in lines if line.startswith(prefix)]


def run(text, *arguments):
    """Runs the text as a program in a directory of its own. Returns its standard output, or fails with all output."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "program.py")
        path.write_text(text, encoding="utf-8")
        program = Program(path, arguments, directory, "program", {})
        assert program.wait(300) == 0, program.text("out") + program.text("err")
        return program.text("out")


def until(condition, seconds=60):
    """Calls the condition, a function, until it returns something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not true after {seconds} s: {condition}"
        time.sleep(0.02)
