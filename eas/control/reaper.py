"""Find attempts that nobody runs any more, and give their tasks another try."""

from __future__ import annotations

from eas.control import machine
from eas.queues.base import JobQueue
from eas.taskdb import attempts, results, workers
from eas.taskdb.engine import TaskDatabase


def reap(database: TaskDatabase, queue: JobQueue, lease: float) -> int:
    """Close stalled attempts and queue new ones where tries are left; return how many were closed.

    Stalled is what has had no heartbeat for ``lease`` seconds, and at once what a worker of this
    machine held whose process is gone. Any process may call this at any time.
    """
    now = attempts.now()
    with database.read() as connection:
        here = workers.alive_on(connection, machine.machine())
    gone = [worker for worker, process in here.items() if not machine.is_alive(process)]
    closed = database.transact(lambda c: results.reap(c, lease, now))
    if gone:
        lost = database.transact(lambda c: results.reap_workers(c, gone, now))
        closed = results.Stalled(closed.attempt_ids + lost.attempt_ids, closed.requeued + lost.requeued)
    queue.publish(closed.requeued)
    return len(closed.attempt_ids)
