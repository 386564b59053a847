"""An operator who gives random commands until SIGTERM: ``python -m tests.chaos.operator SEED``, one line each."""

from __future__ import annotations

import logging
import random
import signal
import sys
import threading
from collections.abc import Callable

from sqlalchemy import select

from eas.app import App
from eas.errors import EASError
from eas.operations.cancel import cancel
from eas.operations.empty_queue import empty_queue
from eas.operations.pause import pause, resume
from eas.operations.reschedule import reschedule
from eas.queues.base import JobQueue
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import unfinished_jobs

TASK_TYPES = ("null", "synthesis_batman", "binning", "verify")
PAUSE = (0.5, 3.0)
"""Shortest and longest time between two commands [s]."""


def states(database: TaskDatabase) -> list[tuple[int, bool]]:
    """Return each job's id, and whether it is done."""
    query = select(tables.jobs.c.id, tables.jobs.c.state)
    return [(row.id, row.state == "done") for row in database.fetch(lambda c: c.execute(query).all())]


def reschedule_failed(database: TaskDatabase, queue: JobQueue) -> None:
    """Reschedule what was withdrawn from the queue, and each job that is over and not done."""
    reschedule(database, queue)
    over = {job for job, done in states(database) if not done}
    for job in over - {job.id for job in database.fetch(unfinished_jobs.unfinished)}:
        reschedule(database, queue, job_id=job)


def commands(app: App, rng: random.Random) -> dict[str, Callable[[], object]]:
    """Return what the operator may do, by name."""

    def cancel_one() -> None:
        jobs = [job.id for job in app.database.fetch(unfinished_jobs.unfinished)]
        if jobs:
            cancel(app.database, app.queue, rng.choice(jobs))

    return {
        "cancel": cancel_one,
        "reschedule": lambda: reschedule_failed(app.database, app.queue),
        "queue empty": lambda: empty_queue(app.database, app.queue),
        "queue pause": lambda: pause(app.database, [rng.choice(TASK_TYPES)]),
        "queue resume": lambda: resume(app.database, app.queue),
    }


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s operator %(message)s")
    rng, stop = random.Random(sys.argv[1]), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with App.load() as app:
        known = commands(app, rng)
        while not stop.wait(rng.uniform(*PAUSE)):
            # Most commands put back what the others have taken away.
            name = rng.choice([*known, "reschedule", "reschedule", "queue resume"])
            try:
                known[name]()
                print(name, flush=True)
            except EASError as error:  # a service is away, or the job is over
                print(f"# {name}: {error.what}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except EASError as error:
        print(f"# {error}", file=sys.stderr)
        sys.exit(error.exit_code)
