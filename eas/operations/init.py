"""Initialise the task database and the job queue; a second call changes nothing."""

from __future__ import annotations

from contextlib import closing

from eas.queues import open_queue
from eas.registry import Registry
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise


def init_database(database_url: str, registry: Registry) -> str:
    """Create or migrate the task database and fill in the registry.

    A missing MySQL database is created if the user has the privilege. Returns *created*, *migrated* or
    *unchanged*. Raises RequestError for a database that cannot be used, and ServiceError for one that cannot be
    reached.
    """
    with closing(TaskDatabase(database_url)) as database:
        database.create()
        return initialise(database, registry)


def init_queue(queue_url: str, database_url: str, registry: Registry) -> int:
    """Declare the job queue's queues of all task types that run on workers; return how many were declared.

    The task database need not exist: declaring does not read it. Raises SettingsError for an unknown
    kind of queue, and ServiceError where the broker cannot be reached.
    """
    with (
        closing(TaskDatabase(database_url)) as database,
        closing(open_queue(queue_url, AttemptClaims(database))) as queue,
    ):
        return queue.declare(leaf_types(registry))


def leaf_types(registry: Registry) -> list[str]:
    """Return the names of the task types that run on workers: each has a queue."""
    return [each.name for each in registry.task_types.values() if not each.control]
