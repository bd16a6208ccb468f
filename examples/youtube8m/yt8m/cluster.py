"""A cluster of parameter servers and workers, as the environment variable TF_CONFIG describes it.

For example, on each host with its own `task`::

    TF_CONFIG={"cluster": {"ps": ["a:2222"], "worker": ["b:2222", "c:2222"]}, "task": {"type": "worker", "index": 0}}

Worker 0 is the chief, unless there is a job `chief` (or `master`).

How all of them end: each worker keeps a number on each parameter server, its word, which it counts up as long as it is
there. The chief's last word is how the training ended. A parameter server whose chief falls silent gives up, and so
does a worker whose chief or parameter server does. A worker that is lost is missed by nobody.
"""

import json
import os
import re
import socket
import threading
import time

import tensorflow.compat.v1 as tf
from loupe_examples import commandline
from loupe_examples.errors import Interrupted, UserError

from yt8m.interrupts import Interrupts

CHIEFS = ("chief", "master")

# Last words: a worker has left, the chief because the training is complete; or the chief has stopped it.
LEFT, STOPPED = -1, -2
ENDING = 2**40  # From there on the chief counts when a signal has come, and it still has a checkpoint to save.

PAUSE = 0.5  # seconds between two words
SILENCE = 5  # seconds after which a worker is not waited for at the end
GRACE = 10  # seconds that others, or work that may hang, are waited for at the end
LOOKUP = 15  # seconds in which a host's name has to be found

# The end of a session because a process at its other end has ended, or has started again.
LOST = (tf.errors.AbortedError, tf.errors.UnavailableError)


def from_environment():
    """The process's `Cluster`; None, if TF_CONFIG is not set or has no cluster.

    Raises:
      UserError: if TF_CONFIG is malformed.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text or "{}")
        if not config.get("cluster"):
            return None
        return Cluster(config["cluster"], config["task"]["type"], int(config["task"]["index"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problem = "expected JSON with cluster and task, whose type and index are in the cluster, and a ps and a worker"
        raise UserError(f"TF_CONFIG: {problem}, got {text}") from error


class Cluster:
    """The cluster, seen from one of its processes.

    Args:
      addresses: by job, ps and worker and maybe chief, the list of its processes' addresses.
      job: the process's job.
      index: its number in the job.

    Raises:
      ValueError: if there is no such process, no ps or no worker, or more than one chief.
    """

    def __init__(self, addresses, job, index):
        self.spec = tf.train.ClusterSpec(addresses)
        self.job = job
        self.index = index
        self.num_ps = self.spec.num_tasks("ps")
        # The chief first.
        self.workers = [
            (name, task)
            for name in CHIEFS + ("worker",)
            if name in self.spec.jobs
            for task in self.spec.task_indices(name)
        ]
        self.num_workers = len(self.workers)
        if job not in CHIEFS + ("ps", "worker") or index not in self.spec.task_indices(job) or not self.num_workers:
            raise ValueError
        if sum(name in CHIEFS for name, _ in self.workers) > 1:
            raise ValueError
        self.is_ps = job == "ps"
        self.is_chief = (job, index) == self.workers[0]
        self.device = f"/job:{job}/task:{index}"
        self.interrupts = Interrupts()
        self.is_over = threading.Event()
        self._lines = []

    def config(self):
        """A configuration for sessions, which wait for the parameter servers but not for the other workers."""
        return tf.ConfigProto(device_filters=[self.device] if self.is_ps else ["/job:ps", self.device])

    def start(self, config=None):
        """Starts TensorFlow's server of this process and, in a worker, its words to the parameter servers.

        Returns:
          The server's target for sessions.

        Raises:
          UserError: if a host is not found, or the server cannot have its address.
        """
        commandline.end_at_once()
        self._look_up_hosts()
        address = self.spec.task_address(self.job, self.index)
        try:
            self.server = tf.train.Server(self.spec, self.job, self.index, config=config or self.config())
        except (tf.errors.OpError, ValueError, OverflowError) as error:
            message = getattr(error, "message", error)
            raise UserError(f"TF_CONFIG: {address}: expected one that is free on this host: {message}") from error
        if not self.is_ps:
            self._lines = [_Line(self, index) for index in range(self.num_ps)]
            for line in self._lines:
                line.start()
        return self.server.target

    def run(self, work, wait_seconds, is_complete):
        """Does a worker's work, in a thread of its own, while this one watches over the cluster.

        Args:
          work: a function that calls `start`, and heeds `interrupts.number` and `is_over`.
          wait_seconds: how long nothing may be heard of the chief or of a parameter server. Then the process ends with
            status 2 and a line on stderr; or in silence with 0, if the training is complete.
          is_complete: a function that tells that from the checkpoints.

        Returns:
          What `work` returns.

        Raises:
          What `work` raises, unless it is an error of TensorFlow when the training is over.
        """
        outcome = {}

        def noted():
            try:
                outcome["value"] = work()
            except BaseException as error:
                outcome["error"] = error

        thread = threading.Thread(target=noted, daemon=True)
        with self.interrupts:
            thread.start()
            watch = _Watch(self, wait_seconds, is_complete)
            while thread.is_alive():
                thread.join(PAUSE / 5)
                watch.look()
            has_failed = "error" in outcome
            # That the training is complete, those have to hear too that have not started yet.
            seconds_to_start = wait_seconds if self.is_chief and not has_failed else 0
            self._leave(STOPPED if self.is_chief and has_failed else LEFT, GRACE, seconds_to_start)
        # Where the training is over, the parameter servers may end in the midst of a worker's step.
        if has_failed and not (self.is_over.is_set() and isinstance(outcome["error"], tf.errors.OpError)):
            raise outcome["error"]
        return outcome.get("value")

    def wait_for(self, missing, step=None, steps=None):
        """Waits until the chief has initialised the variables and, if `steps` are given, not as many are done.

        Args:
          missing: the names of variables that are not initialised, a string tensor.
          step: the global step, a tensor. Default None: it does not matter.
          steps: an int.

        Returns:
          Whether it is so: False, if the training is over or a signal has come.
        """
        while not self.is_over.is_set() and self.interrupts.number is None:
            try:
                with tf.Session(self.server.target, graph=missing.graph, config=self.config()) as session:
                    while not self.is_over.is_set() and self.interrupts.number is None:
                        if not session.run(missing).size and (steps is None or session.run(step) < steps):
                            return True
                        time.sleep(PAUSE)
            except LOST:
                time.sleep(PAUSE)
        return False

    def serve(self, wait_seconds):
        """Serves variables until the chief says that the training has ended, and the workers have left.

        Args:
          wait_seconds: how long nothing may be heard of the chief.

        Raises:
          UserError: if the chief has stopped the training, or nothing was heard of it.
          Interrupted: after a signal, but only when the chief has had time to save a checkpoint.
        """
        with self.interrupts, tf.Graph().as_default():
            words = [self.word(self.index, rank) for rank in range(self.num_workers)]
            with tf.Session(self.start(), config=self.config()) as session:
                clocks = [_Clock() for _ in words]
                ends = signalled = None
                while True:
                    for clock, word in zip(clocks, words):
                        clock.see(_value(session, word))
                    chief, *others = clocks
                    has_ended = chief.word in (LEFT, STOPPED)
                    ends = ends or (_Clock() if has_ended else None)
                    signalled = signalled or (self.interrupts.number and _Clock())
                    if has_ended and (ends.age() > GRACE or not any(clock.is_there() for clock in others)):
                        self._check_signal()
                        if chief.word == STOPPED:
                            raise UserError(f"{self._chief()} has stopped the training")
                        return
                    is_saving = chief.is_there() and (chief.word >= ENDING or signalled and signalled.age() < GRACE)
                    if not has_ended and not is_saving:
                        self._check_signal()
                    if not has_ended and chief.age() > wait_seconds:
                        raise UserError(_silent(self._chief(), wait_seconds))
                    time.sleep(PAUSE)

    def word(self, index, rank):
        """The variable on a parameter server that holds a worker's word; uninitialised, until it has said one."""
        with tf.device(f"/job:ps/task:{index}"):
            return tf.Variable(
                0, name=f"cluster/word_{rank}", dtype=tf.int64, trainable=False, collections=[], use_resource=True
            )

    def _check_signal(self):
        if self.interrupts.number is not None:
            raise Interrupted(self.interrupts.number, f"parameter server {self.index} has ended")

    def _chief(self):
        return f"the chief {self.spec.task_address(*self.workers[0])}"

    def _look_up_hosts(self):
        """Hosts may start later than this process, and their names with them; but not much.

        Without another worker, which may be lost with its name, all goes on.
        """
        for job in self.spec.jobs:
            for address in self.spec.job_tasks(job):
                if not re.fullmatch(r".+:\d{1,5}", address):
                    raise UserError(f"TF_CONFIG: {address}: expected HOST:PORT")
        start = time.time()
        needed = [self.workers[0], (self.job, self.index)] + [("ps", index) for index in range(self.num_ps)]
        for address in [self.spec.task_address(*process) for process in needed]:
            host, port = address.rsplit(":", 1)
            while True:
                try:
                    socket.getaddrinfo(host.strip("[]"), int(port))
                    break
                except (OSError, UnicodeError, OverflowError) as error:
                    if time.time() - start > LOOKUP:
                        raise UserError(f"TF_CONFIG: {address}: {getattr(error, 'strerror', None) or error}") from error
                    time.sleep(PAUSE)

    def _leave(self, word, seconds, seconds_to_start=0):
        """Says a last word to the parameter servers, for so many seconds at most, or to those that have not started."""
        start = time.monotonic()
        for line in self._lines:
            line.last = word
        for line in self._lines:
            while line.is_alive():
                has_more = not line.has_answered and self.interrupts.number is None
                if time.monotonic() - start > (max(seconds, seconds_to_start) if has_more else seconds):
                    break
                line.join(PAUSE)


class _Line(threading.Thread):
    """A worker's words to a parameter server, with a session of their own, because its work may keep the other one."""

    def __init__(self, cluster, index):
        super().__init__(daemon=True)
        self.address = cluster.spec.task_address("ps", index)
        self.has_answered = False
        self.last = None  # The word to end with.
        self.server, self.chief = _Clock(), _Clock()
        self._cluster = cluster
        self._index = index
        self._count = 0

    def run(self):
        while True:
            try:
                with tf.Graph().as_default():
                    return self._talk()
            except tf.errors.OpError:
                time.sleep(PAUSE)

    def _talk(self):
        cluster = self._cluster
        own = cluster.word(self._index, cluster.workers.index((cluster.job, cluster.index)))
        chief = None if cluster.is_chief else cluster.word(self._index, 0)
        said = tf.placeholder(tf.int64, [])
        say = own.assign(said, read_value=False)
        config = tf.ConfigProto(device_filters=[f"/job:ps/task:{self._index}", cluster.device])
        with tf.Session(cluster.server.target, config=config) as session:
            while True:
                last, self._count = self.last, self._count + 1
                word = self._count + (ENDING if cluster.interrupts.number is not None else 0)
                session.run(say, {said: word if last is None else last})
                self.has_answered = True
                self.server.see(self._count)
                if last is not None:
                    return
                if chief is not None:
                    self.chief.see(_value(session, chief))
                time.sleep(PAUSE)


class _Watch:
    """Ends the process when the others say so, or nothing is heard of them."""

    def __init__(self, cluster, wait_seconds, is_complete):
        self._cluster = cluster
        self._wait_seconds = wait_seconds
        self._is_complete = is_complete
        self._ends = None

    def look(self):
        cluster, lines = self._cluster, self._cluster._lines
        words = [line.chief.word for line in lines]
        if not cluster.is_chief and LEFT in words:
            cluster.is_over.set()
        if cluster.is_over.is_set() or cluster.interrupts.number is not None:
            self._ends = self._ends or _Clock()
            # A checkpoint may take its time to be saved, if there are parameter servers to save it from.
            may_hang = cluster.is_over.is_set() or any(line.server.age() > SILENCE for line in lines)
            if may_hang and self._ends.age() > GRACE:
                self._end_at_once()
        elif not cluster.is_chief and STOPPED in words:
            self._give_up(f"{cluster._chief()} has stopped the training")
        for line in lines:
            if line.server.age() > self._wait_seconds:
                self._give_up(_silent(f"the parameter server {line.address}", self._wait_seconds))
        if lines and not cluster.is_chief and min(line.chief.age() for line in lines) > self._wait_seconds:
            self._give_up(_silent(cluster._chief(), self._wait_seconds))

    def _end_at_once(self):
        """Where the work hangs in native code."""
        number = self._cluster.interrupts.number
        if number is None:
            commandline.end(0)
        commandline.end(128 + number, "interrupted", "what came after the last checkpoint is lost")

    def _give_up(self, problem):
        if not self._cluster.is_chief and self._is_complete():
            commandline.end(0)
        self._cluster._leave(STOPPED if self._cluster.is_chief else LEFT, PAUSE * 4)
        commandline.end(2, "error", problem)


class _Clock:
    """How long ago a word changed."""

    def __init__(self):
        self.word = None
        self._time = time.monotonic()

    def see(self, word):
        if word != self.word:
            self.word, self._time = word, time.monotonic()

    def age(self):
        return time.monotonic() - self._time

    def is_there(self):
        return self.word is not None and self.word > 0 and self.age() < SILENCE


def _value(session, word):
    try:
        return int(session.run(word.read_value()))
    except tf.errors.FailedPreconditionError:  # Nothing was said yet.
        return None


def _silent(who, seconds):
    return f"nothing was heard of {who} for {seconds:g} seconds"
