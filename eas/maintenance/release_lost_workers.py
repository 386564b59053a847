"""Release the attempts of workers that an external source reports as dead."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from eas.queues.base import JobQueue
from eas.taskdb import stalls
from eas.taskdb.engine import TaskDatabase


def release_lost_workers(database: TaskDatabase, queue: JobQueue, lost: Mapping[str, str]) -> int:
    """Close the attempts of lost workers as stalled and queue new ones; return the number of closed attempts.

    ``lost`` maps worker ids to the reason of the loss. A second call has no effect.
    """
    now, closed = database.now(), 0
    for worker_id, why in lost.items():
        done = database.transact(partial(stalls.reap_workers, worker_ids=[worker_id], now=now, why=why))
        queue.publish(done.requeued)
        closed += len(done.attempt_ids)
    return closed
