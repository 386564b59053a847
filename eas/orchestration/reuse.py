"""File products that exist already: fail, keep what was made the same way, or replace them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, exists, select

from eas.model import CONTROL_TASKS
from eas.states import FINAL_TASK_STATES, OPEN_JOB_STATES, TaskState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow

FAIL = "fail"
REUSE = "reuse"
REPLACE = "replace"
CHOICES = (FAIL, REUSE, REPLACE)


@dataclass
class Decision:
    """The outcome of ready tasks that are not queued.

    Attributes
    ----------
    kept:
        Task id to the attempt whose products and metadata it keeps.
    refused:
        Task id to the reason why it must not run.
    """

    kept: dict[int, int] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    def __contains__(self, task_id: int) -> bool:
        return task_id in self.kept or task_id in self.refused


def decide(connection: Connection, job: AnyRow, task_ids: Sequence[int]) -> Decision:
    """Return which of the ready leaf tasks of a job must not be queued, and why.

    This is decided when all inputs of a task exist, so that a task is kept only if the versions that
    its products were made from are still the current ones.
    """
    decision = Decision()
    if job.if_exists == REPLACE:
        return decision
    for part in chunks(task_ids):
        if job.if_exists == REUSE:
            decision.kept.update(_made_the_same_way(connection, part))
        else:
            decision.refused.update(_would_replace(connection, job, part))
    return decision


def _would_replace(connection: Connection, job: AnyRow, task_ids: Sequence[int]) -> dict[int, str]:
    """Find tasks whose products another job has made, though this one was not to replace any.

    Submission has looked at all names that it could know; these became known while running.
    """
    link, product, version = tables.task_products, tables.products, tables.product_versions
    attempt = tables.attempts
    query = (
        select(link.c.task_id, product.c.name, version.c.attempt_id)
        .join(product, product.c.id == link.c.product_id)
        .join(version, version.c.id == product.c.current_version_id)
        .join(attempt, attempt.c.id == version.c.attempt_id)
        .where(link.c.task_id.in_(task_ids), link.c.direction == "out", attempt.c.job_id != job.id)
    )
    return {
        row.task_id: f"its product {row.name!r} exists already (attempt {row.attempt_id} made it); "
        "submit with --if-exists reuse or replace"
        for row in connection.execute(query)
    }


def _made_the_same_way(connection: Connection, task_ids: Sequence[int]) -> dict[int, int]:
    """Return ready tasks whose products were made as they describe, by which attempt."""
    task, old = tables.tasks.alias("ready"), tables.tasks.alias("old")
    query = (
        select(task.c.id, old.c.accepted_attempt_id)
        .join(old, old.c.fingerprint == task.c.fingerprint)
        .where(task.c.id.in_(task_ids), old.c.state == TaskState.DONE, old.c.accepted_attempt_id.is_not(None))
        .order_by(old.c.id)
    )
    candidates = {row.id: row.accepted_attempt_id for row in connection.execute(query)}
    if not candidates:
        return {}
    outdated = _outdated(connection, list(candidates.values()))
    return {task_id: attempt for task_id, attempt in candidates.items() if attempt not in outdated}


def _outdated(connection: Connection, attempt_ids: Sequence[int]) -> set[int]:
    """Return attempts that read, or made, a version that is not the current one any more."""
    version, product, read = tables.product_versions, tables.products, tables.attempt_inputs
    stale = (product.c.current_version_id != version.c.id) | product.c.current_version_id.is_(None)
    outdated: set[int] = set()
    for part in chunks(attempt_ids):
        made = (
            select(version.c.attempt_id)
            .join(product, product.c.id == version.c.product_id)
            .where(version.c.attempt_id.in_(part), stale)
        )
        used = (
            select(read.c.attempt_id)
            .join(version, version.c.id == read.c.version_id)
            .join(product, product.c.id == version.c.product_id)
            .where(read.c.attempt_id.in_(part), stale)
        )
        outdated.update(connection.execute(made).scalars(), connection.execute(used).scalars())
    return outdated


def other_jobs_may_grow(connection: Connection, job_id: int, open_types: Collection[str]) -> bool:
    """Return whether another unfinished job may still turn out to make a product that this one waits for.

    It may where it has control tasks that are not expanded yet, or unfinished tasks of ``open_types``,
    whose products are known only when they have run.
    """
    job, task = tables.jobs, tables.tasks
    waiting = (task.c.state == TaskState.WAITING) & task.c.task_type.in_(sorted(CONTROL_TASKS))
    opening = task.c.state.not_in(FINAL_TASK_STATES) & task.c.task_type.in_(sorted(open_types))
    unexpanded = exists().where(task.c.job_id == job.c.id, waiting | opening)
    active = job.c.state.in_(OPEN_JOB_STATES)
    query = select(job.c.id).where(job.c.id != job_id, active, unexpanded).limit(1)
    return connection.execute(query).first() is not None
