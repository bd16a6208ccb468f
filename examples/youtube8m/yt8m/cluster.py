"""One process of a cluster of parameter servers and workers, as the environment variable TF_CONFIG describes it.

For example, on each host with its own `task`::

    TF_CONFIG={"cluster": {"ps": ["a:2222"], "worker": ["b:2222", "c:2222"]}, "task": {"type": "worker", "index": 0}}

Worker 0 is the chief, unless there is a job `chief` (or `master`). The chief's heartbeat is a variable on each
parameter server. It counts the chief's steps, and holds one of the `MARKS` at the end. The other processes watch it.

Use a cluster in a trusted network only: TensorFlow's servers listen on all interfaces and accept anyone.
"""

import json
import multiprocessing.pool
import os
import re
import time

import tensorflow.compat.v1 as tf
from loupe_examples.errors import Interrupted, UserError, warn

CHIEFS = ("chief", "master")
MARKS = COMPLETE, STOPPED = -1, -2
GRACE = 10  # seconds within which every process sees a mark, or gets a signal that is sent to all


def from_environment(wait_seconds):
    """Returns the process's `Cluster`, or None if TF_CONFIG is not set or describes a single process."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text or "{}")
        if not config.get("cluster"):
            return None
        process = Cluster(config["cluster"], config["task"]["type"], int(config["task"]["index"]), wait_seconds)
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        problem = "expected JSON with cluster and task, whose type and index are in the cluster, and a ps and a worker"
        raise UserError(f"TF_CONFIG: {problem}, got {text:.200}") from error
    return process if process.num_ps else None


class Cluster(tf.train.SessionRunHook):
    """The cluster, seen from one of its processes. As a hook of the training's sessions, it runs the heartbeat.

    `addresses` has a list for each job (ps, worker, and maybe chief). If the heartbeat stands still for `wait_seconds`,
    the process gives up. Raises a `ValueError` for an impossible cluster or process, a `UserError` for a bad address.
    """

    def __init__(self, addresses, job, index, wait_seconds=600):
        self.spec = tf.train.ClusterSpec(addresses)
        tasks = {name: [(name, task) for task in self.spec.task_indices(name)] for name in self.spec.jobs}
        chiefs = [task for name in CHIEFS for task in tasks.get(name, [])]
        workers = chiefs + tasks.get("worker", [])
        servers = tasks.get("ps", [])
        can_train = len(workers) == 1 or workers and servers
        if (job, index) not in servers + workers or not can_train or len(chiefs) > 1:
            raise ValueError
        for name in self.spec.jobs:
            for address in self.spec.job_tasks(name):
                port = re.fullmatch(r"[^\s\0]+:(\d{1,5})", address)
                if not port or not 0 < int(port.group(1)) < 65536:  # TensorFlow 1.15 would crash.
                    raise UserError(f"TF_CONFIG: {address}: expected HOST:PORT")
        self.num_ps = len(servers)
        self.is_ps = job == "ps"
        self.rank = None if self.is_ps else workers.index((job, index))
        self.is_chief = self.rank == 0
        self.device = f"/job:{job}/task:{index}"
        self.target = None  # of TensorFlow's sessions, once the server has started
        self._job, self._index, self._wait_seconds = job, index, wait_seconds
        self._count, self._heard = None, time.monotonic()

    def config(self):
        """Returns a configuration for sessions, which wait for the parameter servers but not for other workers."""
        return tf.ConfigProto(device_filters=[self.device] if self.is_ps else ["/job:ps", self.device])

    def start(self, config=None):
        """Starts TensorFlow's server of this process. Raises a `UserError` if it cannot listen on its port."""
        try:
            self._server = tf.train.Server(self.spec, self._job, self._index, config=config or self.config())
        except (tf.errors.OpError, ValueError) as error:
            address = self.spec.task_address(self._job, self._index)
            raise UserError(f"TF_CONFIG: {address}: expected a free port of this host: {error}") from error
        self.target = self._server.target

    def serve(self, interrupts):
        """Serves variables until the chief has set a mark and the workers have had time to see it."""
        self.start()
        with tf.Graph().as_default(), tf.Session(self.target, config=self.config()) as session:
            count = self._counter(self._index).read_value()
            while self._count not in MARKS or self._silence() < GRACE:
                try:
                    self._hear(session.run(count))
                except tf.errors.FailedPreconditionError:  # The chief has not begun.
                    pass
                # After a signal, the chief saves a checkpoint. If it still takes steps, it did not get the signal.
                if interrupts.number and (self._count is None or self._heard > interrupts.time + GRACE):
                    break
                self._check_silence()
                time.sleep(0.5)
        self.check_end(interrupts)

    def run(self, work, interrupts, is_complete):
        """Does a worker's work in a thread, because a session that waits for a lost process never ends.

        If the last checkpoint has been saved, as `is_complete` tells, the worker does not wait any longer for others.
        """
        pool = multiprocessing.pool.ThreadPool(2)
        mark, seconds = STOPPED, GRACE
        try:
            outcome = pool.apply_async(work)
            while not outcome.ready():
                outcome.wait(1)
                is_waiting = self._silence() > GRACE and not self.is_chief  # The chief may be saving a checkpoint.
                if is_waiting and is_complete():
                    return
                if interrupts.number and (self._count is None or is_waiting):
                    raise Interrupted(interrupts.number, "this process was waiting for others")
                self._check_silence()
            outcome.get()
            mark, seconds = COMPLETE, self._wait_seconds
        finally:
            if self.is_chief and self.target:
                pool.apply_async(self._put, [mark], error_callback=warn).wait(seconds)

    def check_end(self, interrupts):
        """Raises an error if this process has ended because of a signal, or because the chief has stopped."""
        if interrupts.number and self._count != COMPLETE:
            raise Interrupted(interrupts.number, "this process has left the training")
        if self._count == STOPPED:
            raise UserError("the chief has stopped the training")

    def begin(self):
        # The chief initialises local variables with each session; a worker waits for global variables.
        collection = tf.GraphKeys.LOCAL_VARIABLES if self.is_chief else tf.GraphKeys.GLOBAL_VARIABLES
        counters = [self._counter(index, collection) for index in range(self.num_ps)]
        self._fetches = [counters[0].read_value()]
        if self.is_chief:
            self._fetches += [counter.assign_add(1, read_value=False) for counter in counters]

    def after_create_session(self, session, coord):
        self._hear(0)

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._fetches)

    def after_run(self, run_context, run_values):
        self._hear(run_values.results[0])
        if self._count in MARKS:
            run_context.request_stop()

    def _counter(self, index, *collections):
        with tf.device(f"/job:ps/task:{index}"):
            name = f"heartbeat_{index}"
            return tf.Variable(0, False, name=name, dtype=tf.int64, collections=collections, use_resource=True)

    def _put(self, mark):
        with tf.Graph().as_default(), tf.Session(self.target, config=self.config()) as session:
            session.run([self._counter(index).assign(mark, read_value=False) for index in range(self.num_ps)])

    def _hear(self, count):
        if count != self._count:
            self._count, self._heard = count, time.monotonic()

    def _silence(self):
        return time.monotonic() - self._heard

    def _check_silence(self):
        if self._silence() > self._wait_seconds and self._count not in MARKS:
            raise UserError(f"the chief or a parameter server has been silent for {self._wait_seconds:g} seconds")
