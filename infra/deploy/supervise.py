"""``python -m infra.deploy.supervise jobs|workers``: entry point of the supervisor's and the scaler's pods.

Both are flow runs in a separate process rather than Jobs of the work pool, because they never end.
When one exits for any reason, Kubernetes restarts it; leases in the task database ensure that no job is lost.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time

from infra.deploy import alive

SCALE_INTERVAL = 10.0
RETRY_INTERVAL = 2.0
WORKER_IDLE_EXIT = 20.0
"""Idle time after which a worker exits [s], about the duration of a worker's start."""
WORKER_TIME_LIMIT = 600.0
"""Time after which workers exit and are replaced [s], so that on a full cluster all worker types get a share."""


def jobs() -> None:
    """Run every job that no process drives, each as a flow run; without flow runs until Prefect's API answers."""
    from flows.schedule_waiting_tasks import schedule_waiting_tasks
    from flows.without_prefect import prefect_answers

    if not prefect_answers():
        _jobs_without_prefect()
    port = os.environ.get("EAS_METRICS_PORT")
    # In a pod: network policies decide who reaches it.
    schedule_waiting_tasks(metrics_port=int(port) if port else None, metrics_host="0.0.0.0")


def _jobs_without_prefect() -> None:
    """Run jobs until Prefect's API answers. Raises TerminationSignal after SIGTERM, when the jobs are released."""
    from prefect.exceptions import TerminationSignal

    from eas.app import App
    from flows import without_prefect

    stop = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        with App.load() as app:
            without_prefect.supervise(app, without_prefect.prefect_answers, stop)
    finally:
        signal.signal(signal.SIGTERM, before)
    if stop.is_set():
        raise TerminationSignal(signal.SIGTERM)


def workers() -> None:
    """Start `work` runs as the queues require, as soon as Prefect's API answers."""
    from flows.scale_workers import scale_workers
    from flows.without_prefect import prefect_answers

    while not prefect_answers():  # if creating the flow run failed, this process would end
        time.sleep(RETRY_INTERVAL)
    scale_workers(
        every=SCALE_INTERVAL,
        maximum=int(os.environ.get("EAS_MOST_WORKERS") or 8),
        idle_exit=WORKER_IDLE_EXIT,
        worker_time_limit=WORKER_TIME_LIMIT,
    )


def main() -> int:
    """Run the service that the command line names until SIGTERM; an exit for another reason is a failure."""
    from prefect.exceptions import TerminationSignal

    parser = argparse.ArgumentParser(prog="python -m infra.deploy.supervise", description="Supervisor and scaler.")
    parser.add_argument("verb", choices=("jobs", "workers"))
    verb = parser.parse_args().verb
    alive.keep_touching()

    def end(*_: object) -> None:
        raise TerminationSignal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)  # the first process of a container ignores it otherwise
    try:
        {"jobs": jobs, "workers": workers}[verb]()
    except TerminationSignal:
        sys.stdout.write("received SIGTERM, exiting\n")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
