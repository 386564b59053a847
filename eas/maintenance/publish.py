"""Publish products that a worker committed but did not publish because it was killed.

A worker commits a result, then publishes its products. If it is killed in between, the task database has
versions whose published names are missing.
"""

from __future__ import annotations

import hashlib
from functools import partial

from eas.filestore import FileStore
from eas.taskdb import periodic_locks, workers
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import product_status

DAY = 86_400.0
MAX_UNPUBLISHED_PRODUCTS = 500
"""Number of last products of a worker to publish again: more than one batch, the most that can be unpublished."""


def republish(database: TaskDatabase, store: FileStore) -> int:
    """Publish the last products of each worker lost in the last day, once for each loss; return their number."""
    since = database.now() - DAY
    shown = 0
    for worker_id, found in database.fetch(lambda c: workers.lost_since(c, since)):
        # A suspended worker counts as lost; it may continue later and be lost again.
        loss = hashlib.sha256(f"{worker_id} {found}".encode()).hexdigest()[:32]
        if periodic_locks.acquire(database, f"names {loss}", 2 * DAY):
            shown += _publish_last_products(database, store, worker_id)
    return shown


def _publish_last_products(database: TaskDatabase, store: FileStore, worker_id: str) -> int:
    versions = database.fetch(
        partial(product_status.last_current_versions, worker_id=worker_id, limit=MAX_UNPUBLISHED_PRODUCTS)
    )
    for each in versions:
        store.publish(each.working_directory, each.name, each.store_path)
    return len(versions)
