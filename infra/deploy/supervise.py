"""``python -m infra.deploy.supervise jobs|workers``: the supervisor and the scaler, as pods run them.

Both are flow runs in a process of their own rather than Jobs of the work pool: they run for ever. When
one ends, for whatever reason, Kubernetes starts it again; leases in SQL see that nothing is lost.
"""

from __future__ import annotations

import argparse
import os
import sys

from infra.deploy import alive

LOOK_EVERY = 10.0


def jobs() -> None:
    """Run every job that nobody drives, each as a flow run."""
    from flows.schedule_waiting_tasks import schedule_waiting_tasks

    schedule_waiting_tasks()


def workers() -> None:
    """Start `work` runs as the queues ask for them."""
    from flows.scale_workers import scale_workers

    scale_workers(every=LOOK_EVERY, maximum=int(os.environ.get("EAS_MOST_WORKERS") or 8))


def main() -> int:
    """Do what the command line says until told to stop; returning for another reason is a failure."""
    from prefect.exceptions import TerminationSignal

    parser = argparse.ArgumentParser(prog="python -m infra.deploy.supervise", description="Supervisor and scaler.")
    parser.add_argument("verb", choices=("jobs", "workers"))
    verb = parser.parse_args().verb
    alive.keep_touching()
    try:
        {"jobs": jobs, "workers": workers}[verb]()
    except TerminationSignal:
        sys.stdout.write("told to stop: left\n")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
