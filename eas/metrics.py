"""Prometheus metrics of the task database, served by an HTTP endpoint of the supervisor."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from eas.errors import EASError, RequestError
from eas.states import AttemptState
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import metrics
from eas.taskdb.queries.metrics import BUCKETS, ZERO, Durations, History, Snapshot
from eas.taskdb.service_lease import SERVICE_LEASE_DURATION

LOG = logging.getLogger("eas.metrics")

LOOPBACK = "127.0.0.1"
MIN_SNAPSHOT_INTERVAL = 5.0
"""Minimum time [s] between two snapshots, however often Prometheus scrapes."""
MAX_READ_SHARE = 0.01
"""Maximum share of the time spent on reading snapshots: with large jobs the interval grows."""


class SystemCollector(Collector):
    """Collects metrics from the task database. Of concurrent requests, one reads and the others share its snapshot."""

    def __init__(self, database: TaskDatabase, lease: float) -> None:
        self.database = database
        self.lease = lease
        self._history = History()
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._read_seconds = 0.0
        self._due = 0.0

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, or only ``eas_database_up`` while the database cannot be read."""
        with self._lock:
            up = self._refresh()
            snapshot, cost = self._snapshot, self._read_seconds
        yield _gauge("eas_database_up", "Whether the task database could be read.", float(up))
        if not up or snapshot is None:
            return
        age = self.database.now() - snapshot.now
        yield _gauge("eas_snapshot_age_seconds", "Age of these numbers.", max(0.0, age))
        yield _gauge("eas_snapshot_read_seconds", "Time it took to read these numbers from the task database.", cost)
        yield from families(snapshot)

    def _refresh(self) -> bool:
        began = time.monotonic()
        if began < self._due:
            return self._snapshot is not None
        try:
            # ``read`` does not retry as ``fetch`` does: Prometheus scrapes again, and other requests wait for the lock.
            with self.database.read() as connection:
                self._snapshot = metrics.read(connection, self._history, self.database.now(), self.lease)
        except EASError as error:
            LOG.warning("the metrics cannot be read: %s", error)
            self._snapshot, self._due = None, time.monotonic() + MIN_SNAPSHOT_INTERVAL
            return False
        self._read_seconds = time.monotonic() - began
        self._due = began + max(MIN_SNAPSHOT_INTERVAL, self._read_seconds / MAX_READ_SHARE)
        return True


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield a snapshot as metrics."""
    jobs = GaugeMetricFamily("eas_jobs", "Unfinished jobs.", labels=["state"])
    for state, count in snapshot.jobs.items():
        jobs.add_metric([state], count)
    yield jobs
    yield _gauge("eas_jobs_undriven", "Unfinished jobs that no process drives.", snapshot.undriven)
    tasks = GaugeMetricFamily("eas_tasks", "Tasks of unfinished jobs.", labels=["task_type", "state"])
    for key, count in sorted(snapshot.tasks.items()):
        tasks.add_metric(key, count)
    yield tasks
    yield from _queues(snapshot)
    workers = GaugeMetricFamily("eas_workers", "Workers that are alive.", labels=["worker_type", "state"])
    for key, count in sorted(snapshot.workers.items()):
        workers.add_metric(key, count)
    yield workers
    yield from _leases(snapshot)
    yield from _attempts(snapshot)


def _queues(snapshot: Snapshot) -> Iterator[Metric]:
    depth = GaugeMetricFamily("eas_queue_depth", "Queued attempts that are due.", labels=["task_type"])
    running = GaugeMetricFamily("eas_queue_running", "Attempts that workers hold.", labels=["task_type"])
    oldest = GaugeMetricFamily(
        "eas_queue_oldest_seconds", "How long the oldest due attempt has waited.", labels=["task_type"]
    )
    paused = GaugeMetricFamily("eas_queue_paused", "Whether an operator paused the queue.", labels=["task_type"])
    for task_type, queue in sorted(snapshot.queues.items()):
        labels = [task_type]
        depth.add_metric(labels, queue.due)
        running.add_metric(labels, queue.running)
        oldest.add_metric(labels, 0.0 if queue.oldest is None else max(0.0, snapshot.now - queue.oldest))
        paused.add_metric(labels, float(queue.paused))
    yield from (depth, running, oldest, paused)


def _leases(snapshot: Snapshot) -> Iterator[Metric]:
    alive = GaugeMetricFamily("eas_service_alive", "Whether a process holds the service's lease.", labels=["service"])
    age = GaugeMetricFamily(
        "eas_service_lease_age_seconds", "Time since the lease was last renewed; none while it is free.",
        labels=["service"],
    )  # fmt: skip
    for name, renewed in snapshot.leases.items():
        alive.add_metric([name], float(renewed is not None and renewed > snapshot.now - SERVICE_LEASE_DURATION))
        if renewed is not None:
            age.add_metric([name], max(0.0, snapshot.now - renewed))
    yield from (alive, age)


def _attempts(snapshot: Snapshot) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "eas_attempts", "Attempts that are over, since this process started; stalled: their worker was lost.",
        labels=["task_type", "outcome"],
    )  # fmt: skip
    worked: dict[str, Durations] = {}
    for (task_type, outcome), durations in sorted(snapshot.ended.items()):
        ended.add_metric([task_type, outcome], durations.count)
        if outcome in (AttemptState.DONE, AttemptState.FAILED):
            worked[task_type] = worked.get(task_type, ZERO).plus(durations)
    yield ended
    took = HistogramMetricFamily(
        "eas_attempt_duration_seconds", "Wall-clock time of attempts that ended by themselves.", labels=["task_type"]
    )
    for task_type, durations in worked.items():
        bounds = [(str(bound), float(count)) for bound, count in zip(BUCKETS, durations.within, strict=True)]
        took.add_metric([task_type], [*bounds, ("+Inf", float(durations.count))], durations.total)
    yield took


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


@contextmanager
def endpoint(database: TaskDatabase, lease: float, port: int | None, address: str = LOOPBACK) -> Iterator[int | None]:
    """Serve the metrics over HTTP while the block runs; nothing where ``port`` is None, any free port for 0.

    Yields the port. Raises RequestError where it cannot be opened.
    """
    if port is None:
        yield None
        return
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SystemCollector(database, lease))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise RequestError(
            f"the metrics cannot be served at {address}:{port}: {error.strerror or error}",
            hint="give another --metrics-port, or stop the process that uses it",
        ) from error
    try:
        LOG.info("metrics: http://%s:%d/metrics", address, server.server_port)
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
