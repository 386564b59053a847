"""Close attempts whose worker is gone, and queue another attempt where retries are left."""

from __future__ import annotations

from sqlalchemy import Connection

from eas.filestore import FileStore
from eas.maintenance import process_identity, publish
from eas.queues.base import JobQueue
from eas.taskdb import periodic_locks, stalls, workers
from eas.taskdb.engine import TaskDatabase

MAX_REAP_INTERVAL = 10.0
"""Maximum time [s] between two searches for stalled and lost attempts, by any process."""


def run_due(database: TaskDatabase, queue: JobQueue, lease: float, store: FileStore | None = None) -> None:
    """Run the maintenance that is due: reap, publish lost messages again. Every worker calls this often.

    With a file store it also publishes the products of killed workers.
    """
    interval = min(lease / 2, MAX_REAP_INTERVAL)
    if periodic_locks.acquire(database, "reap", interval):
        reap(database, queue, lease)
    if periodic_locks.acquire(database, "sweep", interval):
        queue.republish_lost()
    if store is not None and periodic_locks.acquire(database, "show names", interval):
        publish.republish(database, store)
    if periodic_locks.acquire(database, "forget commits", 60.0):
        periodic_locks.delete_old_tokens(database)


def reap(database: TaskDatabase, queue: JobQueue, lease: float) -> int:
    """Close stalled attempts and queue new ones where tries are left; return how many were closed.

    An attempt is stalled if its worker has sent no heartbeat for ``lease`` seconds, or if the worker was a
    process of this machine that is gone. Any process may call this at any time.
    """
    now = database.now()
    # No worker can write a heartbeat while the database server is down: after its restart, each worker gets a
    # full lease to send one.
    uptime = database.uptime()
    since = now - lease if uptime is None or uptime > lease else 0.0

    def look(connection: Connection) -> tuple[list[str], bool]:
        here = workers.alive_on(connection, process_identity.machine_id())
        gone = [worker for worker, process in here.items() if not process_identity.is_alive(process)]
        return gone, stalls.silent(connection, since)

    gone, silent = database.fetch(look)
    closed: list[stalls.Stalled] = []
    if silent:
        closed.append(database.transact(lambda c: stalls.reap(c, since, now)))
    if gone:
        closed.append(database.transact(lambda c: stalls.reap_workers(c, gone, now)))
    for each in closed:
        queue.publish(each.requeued)
    return sum(len(each.attempt_ids) for each in closed)
