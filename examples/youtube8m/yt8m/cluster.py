"""A cluster of parameter servers and workers, as the environment variable TF_CONFIG describes it.

For example, on each host with its own `task`::

    TF_CONFIG={"cluster": {"ps": ["a:2222"], "worker": ["b:2222", "c:2222"]}, "task": {"type": "worker", "index": 0}}

Worker 0 is the chief, unless there is a job `chief` (or `master`).
"""

import json
import os
import time

import tensorflow.compat.v1 as tf
from common.errors import UserError

CHIEFS = ("chief", "master")


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
      ValueError: if there is no such process, no ps or no worker.
    """

    def __init__(self, addresses, job, index):
        self.spec = tf.train.ClusterSpec(addresses)
        self.job = job
        self.index = index
        self.num_ps = self.spec.num_tasks("ps")
        self.num_workers = sum(self.spec.num_tasks(name) for name in self.spec.jobs if name in CHIEFS + ("worker",))
        if job not in CHIEFS + ("ps", "worker") or index not in self.spec.task_indices(job) or not self.num_workers:
            raise ValueError
        self.is_ps = job == "ps"
        self.is_chief = job in CHIEFS or (
            job == "worker" and index == 0 and not any(chief in self.spec.jobs for chief in CHIEFS)
        )
        self.device = f"/job:{job}/task:{index}"

    def config(self):
        """A configuration for sessions, which wait for the parameter servers but not for the other workers."""
        return tf.ConfigProto(device_filters=[self.device] if self.is_ps else ["/job:ps", self.device])

    def start(self, config=None):
        """Starts TensorFlow's server of this process, and returns its target for sessions."""
        self.server = tf.train.Server(self.spec, self.job, self.index, config=config or self.config())
        return self.server.target

    def wait_for_chief(self):
        """Waits until the variables of the default graph are initialised. MonitoredTrainingSession would look only
        every 30 seconds."""
        missing = tf.report_uninitialized_variables(tf.global_variables())
        with tf.Session(self.server.target, config=self.config()) as session:
            while session.run(missing).size:
                time.sleep(0.5)

    def serve(self):
        """Serves variables until all workers have called `leave`."""
        with tf.Graph().as_default():
            left = self._left(self.index).dequeue()
            with tf.Session(self.start(), config=self.config()) as session:
                for _ in range(self.num_workers):
                    session.run(left)

    def leave(self):
        """Tells the parameter servers that this worker needs them no more."""
        with tf.Graph().as_default():
            tell = [self._left(index).enqueue(True) for index in range(self.num_ps)]
            with tf.Session(self.server.target, config=self.config()) as session:
                session.run(tell)

    def _left(self, index):
        """The queue on a parameter server that has an element for each worker that left."""
        with tf.device(f"/job:ps/task:{index}"):
            return tf.FIFOQueue(self.num_workers, tf.bool, shapes=[[]], shared_name=f"left_{index}")
