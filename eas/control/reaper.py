"""Find attempts that nobody runs any more, and give their tasks another try."""

from __future__ import annotations

from sqlalchemy import Connection

from eas.control import machine, plain_names
from eas.filestore import FileStore
from eas.queues.base import JobQueue
from eas.taskdb import duties, results, workers
from eas.taskdb.engine import TaskDatabase

LONGEST_INTERVAL = 10.0
"""How often some process of all looks for what is stalled or lost, at least [s]."""


def tend(database: TaskDatabase, queue: JobQueue, lease: float, store: FileStore | None = None) -> None:
    """Do what housekeeping is due: reap, publish lost messages again. Every worker calls this often.

    With a file store it also shows what killed workers made under its plain names.
    """
    interval = min(lease / 2, LONGEST_INTERVAL)
    if duties.take(database, "reap", interval):
        reap(database, queue, lease)
    if duties.take(database, "sweep", interval):
        queue.sweep()
    if store is not None and duties.take(database, "show names", interval):
        plain_names.show_again(database, store)
    if duties.take(database, "forget commits", 60.0):
        duties.forget_commits(database)


def reap(database: TaskDatabase, queue: JobQueue, lease: float) -> int:
    """Close stalled attempts and queue new ones where tries are left; return how many were closed.

    Stalled is what has had no heartbeat for ``lease`` seconds, and at once what a worker of this
    machine held whose process is gone. Any process may call this at any time.
    """
    now = database.now()
    # While the database server was away nobody could write a heartbeat: after its restart each
    # worker has a whole lease to be heard again.
    uptime = database.uptime()
    since = now - lease if uptime is None or uptime > lease else 0.0

    def look(connection: Connection) -> tuple[list[str], bool]:
        here = workers.alive_on(connection, machine.machine())
        gone = [worker for worker, process in here.items() if not machine.is_alive(process)]
        return gone, results.silent(connection, since)

    gone, silent = database.fetch(look)
    closed: list[results.Stalled] = []
    if silent:
        closed.append(database.transact(lambda c: results.reap(c, since, now)))
    if gone:
        closed.append(database.transact(lambda c: results.reap_workers(c, gone, now)))
    for each in closed:
        queue.publish(each.requeued)
    return sum(len(each.attempt_ids) for each in closed)
