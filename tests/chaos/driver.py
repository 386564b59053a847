"""A process that drives all unfinished jobs to their ends, as `run-chain` would; it may be killed at any line."""

from __future__ import annotations

import contextlib
import logging
import sys
import time

from eas.app import App
from eas.control.orchestrator import Orchestrator
from eas.errors import LostLeaseError, ServiceError
from eas.taskdb import jobs

LEASE = 3.0
PAUSE = 0.05


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s driver %(message)s")
    with App.load() as app:
        driven: dict[int, Orchestrator] = {}
        while True:
            with app.database.read() as connection:
                unfinished = [job.id for job in jobs.unfinished(connection)]
            for job_id in unfinished:
                with contextlib.suppress(LostLeaseError):
                    if job_id not in driven:
                        driven[job_id] = _open(app, job_id)
                    try:
                        driven[job_id].step()
                    except LostLeaseError:
                        del driven[job_id]
                    else:
                        if driven[job_id].finished:  # an operator may put it back
                            driven.pop(job_id).close()
            time.sleep(PAUSE)


def _open(app: App, job_id: int) -> Orchestrator:
    orchestrator = Orchestrator(app.database, app.queue, app.registry, job_id, lease=LEASE, max_stalls=1000)
    orchestrator.open()
    return orchestrator


if __name__ == "__main__":
    try:
        main()
    except ServiceError as error:  # the supervisor starts another one
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
