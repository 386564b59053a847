"""Recorded resource usage of task types, from their newest successful attempts, for estimates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from eas.states import TaskState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks

JOBS, TASKS, RESULTS, VERSIONS = tables.jobs, tables.tasks, tables.attempt_results, tables.product_versions

MAX_ATTEMPTS = 1_000
"""Maximum number of newest attempts of a task type that are read."""
MAX_JOBS_OF_SAME_NAME = 10
"""Maximum number of newest jobs with the wanted name that are read first."""
MAX_OTHER_JOBS = 50
"""Maximum number of newest jobs of any name that are read for the remaining task types."""


class Usage(NamedTuple):
    """Usage of one attempt: wall-clock and CPU time with children [s], peak memory [MB], size of its files [B]."""

    wall: float
    cpu: float
    memory: float
    disk: float


class Recorded(NamedTuple):
    """Attempts of a task type; ``same_name``: whether they are those of jobs of the wanted name."""

    attempts: Sequence[Usage]
    same_name: bool


def recorded(connection: Connection, job_name: str, task_types: Iterable[str]) -> dict[str, Recorded]:
    """Return what the newest successful attempts of each task type used; a type without any is left out.

    If jobs called ``job_name`` have run a type, only their attempts are used: the duration of a task depends on its
    settings, which are likely to be those of earlier runs of the same chain.
    """
    named = select(JOBS.c.id).where(JOBS.c.name == job_name).order_by(JOBS.c.id.desc()).limit(MAX_JOBS_OF_SAME_NAME)
    newest = select(JOBS.c.id).order_by(JOBS.c.id.desc()).limit(MAX_OTHER_JOBS)
    looks = [(True, list(connection.execute(named).scalars())), (False, list(connection.execute(newest).scalars()))]
    found: dict[str, Recorded] = {}
    for task_type in task_types:
        for same_name, jobs in looks:
            if ids := _attempt_ids(connection, jobs, task_type):
                found[task_type] = Recorded(list(_usage(connection, ids)), same_name)
                break
    return found


def _attempt_ids(connection: Connection, jobs: Sequence[int], task_type: str) -> list[int]:
    """Return the accepted attempts of the newest tasks; each query reads the index on job, type and state."""
    found: dict[int, None] = {}
    for job_id in jobs:
        query = (
            select(TASKS.c.accepted_attempt_id)
            .where(TASKS.c.job_id == job_id, TASKS.c.task_type == task_type, TASKS.c.state == TaskState.DONE)
            .order_by(TASKS.c.id.desc())
            .limit(MAX_ATTEMPTS - len(found))
        )
        found |= dict.fromkeys(each for each in connection.execute(query).scalars() if each is not None)
        if len(found) >= MAX_ATTEMPTS:
            break
    return list(found)


def _usage(connection: Connection, attempt_ids: Sequence[int]) -> Iterator[Usage]:
    sizes = select(VERSIONS.c.attempt_id, func.sum(VERSIONS.c.size)).group_by(VERSIONS.c.attempt_id)
    used = select(RESULTS.c.attempt_id, RESULTS.c.wall, RESULTS.c.cpu_children, RESULTS.c.peak_memory)
    for part in chunks(attempt_ids, 500):
        disk = {row[0]: float(row[1]) for row in connection.execute(sizes.where(VERSIONS.c.attempt_id.in_(part)))}
        for row in connection.execute(used.where(RESULTS.c.attempt_id.in_(part))):
            yield Usage(row.wall, row.cpu_children, row.peak_memory, disk.get(row.attempt_id, 0.0))
