"""Publish the products of killed workers under their own names.

A worker commits a result, then publishes its products under their own names. One that is killed in between
leaves products that SQL records and users do not see.
"""

from __future__ import annotations

import hashlib
from functools import partial

from eas.filestore import FileStore
from eas.taskdb import periodic_locks, workers
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import product_status

DAY = 86_400.0
LAST = 500
"""A worker has at most one batch of attempts whose products it has not shown yet; a batch is smaller than this."""


def republish(database: TaskDatabase, store: FileStore) -> int:
    """Show what workers made last that were lost in the last day, once for each loss; return how many products."""
    since = database.now() - DAY
    shown = 0
    for worker_id, found in database.fetch(lambda c: workers.lost(c, since)):
        # A worker that was only stopped may continue, work on and be lost again.
        loss = hashlib.sha256(f"{worker_id} {found}".encode()).hexdigest()[:32]
        if periodic_locks.acquire(database, f"names {loss}", 2 * DAY):
            shown += _show(database, store, worker_id)
    return shown


def _show(database: TaskDatabase, store: FileStore, worker_id: str) -> int:
    versions = database.fetch(partial(product_status.last_current_versions, worker_id=worker_id, limit=LAST))
    for each in versions:
        store.publish(each.working_directory, each.name, each.store_path)
    return len(versions)
