"""A supervisor whose leases are short; it may be killed at any line, and several run at once."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from eas.app import App
from eas.errors import ServiceError
from eas.orchestration.drive import job_runner
from eas.orchestration.orchestrator import Orchestrator
from eas.orchestration.supervisor import Supervisor, SupervisorOptions

LEASE = 3.0
"""Lease of a job and of an attempt [s]."""


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s supervisor %(process)d %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with App.load() as app:

        def orchestrator(job_id: int) -> Orchestrator:
            return Orchestrator(app.database, app.queue, app.registry, job_id, lease=LEASE)

        options = SupervisorOptions(lease=LEASE, heartbeat_lease=LEASE)
        Supervisor(app.database, app.queue, job_runner(orchestrator), options, stop=stop).run()


if __name__ == "__main__":
    try:
        main()
    except ServiceError as error:  # another one is started
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
