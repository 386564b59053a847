"""Changes of jobs by operators: withdraw, cancel and reschedule tasks, whether a process drives the job or not.

Each of them first locks the job's row, as every write of an orchestrator does, and increments the
job's revision: an orchestrator that drives the job then discards its pending decisions and loads the job
again. Locking the attempts excludes workers. All functions run within a transaction of the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from eas.model import CONTROL_TASKS
from eas.states import FINAL_TASK_STATES, AttemptState, JobState, TaskState
from eas.taskdb import attempts, conditions, jobs, results, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow

ATTEMPTS, JOBS, TASKS = tables.attempts, tables.jobs, tables.tasks

WITHDRAWN = "withdrawn"
"""Reason of a waiting task that an operator withdrew from the queue."""

WITHDRAWN_REASON = "withdrawn from the queue by an operator; `eas reschedule` queues it again"
CANCELLED = "cancelled by an operator"

PRUNING = "eas db prune"
"""Driver of a job that is being removed."""

_UNSUCCESSFUL_STATES = (TaskState.FAILED, TaskState.STALLED, TaskState.BLOCKED)


def lock(connection: Connection, job_id: int) -> AnyRow:
    """Lock a job's row until the commit, so that no other process changes its tasks. Raises UnknownJobError."""
    jobs.get(connection, job_id)
    return connection.execute(select(JOBS).where(JOBS.c.id == job_id).with_for_update()).one()


def increment_revision(connection: Connection, job_id: int) -> None:
    """Increment the revision of the job, so that its orchestrator reloads it."""
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(revision=JOBS.c.revision + 1))


# -- withdrawing attempts ----------------------------------------------------------------------


def open_attempts(connection: Connection, job_id: int, states: Collection[AttemptState]) -> list[AnyRow]:
    """Lock and return the attempts of a job in these states; wait for concurrent claims."""
    query = select(ATTEMPTS).where(ATTEMPTS.c.job_id == job_id, ATTEMPTS.c.state.in_(states))
    return list(connection.execute(query.order_by(ATTEMPTS.c.id).with_for_update()).all())


def cancel_attempts(connection: Connection, rows: Sequence[AnyRow], now: float, *, why: str = CANCELLED) -> None:
    """Close locked attempts as cancelled; running ones get a result with the reason ``why``."""
    closed = {"state": AttemptState.CANCELLED, "ended_at": now}
    attempts.guarded_update(
        connection, (row.id for row in rows), ATTEMPTS.c.state.in_(attempts.UNFINISHED_STATES), **closed
    )
    ran = [results.aborted_result(row, why, now) for row in rows if row.state == AttemptState.RUNNING]
    if ran:
        connection.execute(insert(tables.attempt_results), ran)


def withdraw_tasks(connection: Connection, task_ids: Iterable[int], now: float) -> None:
    """Set tasks without open attempts to *waiting*; no orchestrator queues them until an operator reschedules them."""
    attempts.set_task_states(connection, task_ids, TaskState.WAITING, held_at=now, reason=WITHDRAWN_REASON)


def final_root_state(connection: Connection, job_id: int) -> str | None:
    """Return the state of a job's root task if that is final; None while it is not over."""
    query = select(TASKS.c.state).where(TASKS.c.job_id == job_id, TASKS.c.parent_id.is_(None))
    states = list(connection.execute(query).scalars())
    return str(states[0]) if states and all(state in FINAL_TASK_STATES for state in states) else None


def cancel_tasks(connection: Connection, job_id: int, now: float) -> int:
    """Cancel a job and its unfinished tasks; return the number of cancelled leaf tasks."""
    opened = (TASKS.c.job_id == job_id) & TASKS.c.state.not_in(FINAL_TASK_STATES)
    over = {"state": TaskState.CANCELLED, "ended_at": now, "reason": CANCELLED, "held_at": None}
    leaves = connection.execute(update(TASKS).where(opened, conditions.leaf()).values(**over)).rowcount
    # The state of a control task follows from its children, so it gets no reason.
    connection.execute(update(TASKS).where(opened).values(**over | {"reason": None}))
    jobs.set_state(connection, job_id, JobState.CANCELLED, ended_at=now, cancel_requested_at=now)
    return leaves


def fail(connection: Connection, job_id: int, reason: str, now: float) -> None:
    """Mark a job and its root task as failed with this reason, and its other unfinished tasks as blocked."""
    opened = (TASKS.c.job_id == job_id) & TASKS.c.state.not_in(FINAL_TASK_STATES)
    root = {"state": TaskState.FAILED, "ended_at": now, "reason": reason}
    connection.execute(update(TASKS).where(TASKS.c.job_id == job_id, TASKS.c.parent_id.is_(None)).values(**root))
    blocked = {"state": TaskState.BLOCKED, "ended_at": now, "held_at": None}
    connection.execute(update(TASKS).where(opened, conditions.leaf()).values(**blocked, reason="the job failed"))
    # A control task without a reason of its own is put back together with its children.
    connection.execute(update(TASKS).where(opened).values(**blocked, reason=None))
    jobs.set_state(connection, job_id, JobState.FAILED, ended_at=now, driver=None, driver_seen_at=None)


# -- putting tasks back ------------------------------------------------------------------------


def reschedule_tasks(
    connection: Connection, job: AnyRow, states: Collection[TaskState], *, withdrawn: bool = True
) -> dict[int, str]:
    """Set tasks in ``states``, and with ``withdrawn`` withdrawn tasks, back to *waiting*.

    Returns the former states by task id. The retries of these tasks are reset to the number given at submission.
    Control tasks above them become *running* again, and an ended job *submitted*. Writes nothing if there is no
    such task.
    """
    rows = _tasks_to_reschedule(connection, job.id, states, withdrawn=withdrawn)
    grown = _with_children(connection, [row.id for row in rows if row.task_type in CONTROL_TASKS])
    waiting = {row.id: WITHDRAWN if row.held_at is not None else str(row.state) for row in rows if row.id not in grown}
    # A loop whose criterion could not be evaluated has failed itself, although its children have not.
    undecided = {row.id: str(row.state) for row in rows if row.id in grown and row.reason is not None}
    former = waiting | undecided
    if not former and TaskState.CANCELLED in states:
        # All leaf tasks were done when the job was cancelled: only control tasks remain.
        former = {row.id: str(row.state) for row in rows if row.id in grown and row.state == TaskState.CANCELLED}
    if not former:
        return {}
    fresh = {"reason": None, "ended_at": None, "held_at": None}
    tries = {"retries_left": job.retries, "stalls_left": job.max_stalls}
    attempts.set_task_states(connection, waiting, TaskState.WAITING, **fresh, **tries)
    attempts.set_task_states(connection, grown, TaskState.RUNNING, **fresh)
    if JobState(job.state).final:
        values = {"ended_at": None, "cancel_requested_at": None, "driver": None, "driver_seen_at": None}
        jobs.set_state(connection, job.id, JobState.SUBMITTED, **values)
    increment_revision(connection, job.id)
    return former


def _tasks_to_reschedule(
    connection: Connection, job_id: int, states: Collection[TaskState], *, withdrawn: bool
) -> list[AnyRow]:
    """Return the tasks to reschedule, and unsuccessful control tasks that may be their ancestors."""
    which: list[ColumnElement[bool]] = [TASKS.c.state.in_(states)]
    if withdrawn:
        which.append(conditions.withdrawn())
    # A control task with its own reason failed itself: it is rescheduled only if ``states`` include its state.
    above = and_(
        TASKS.c.state.in_(_UNSUCCESSFUL_STATES), TASKS.c.task_type.in_(sorted(CONTROL_TASKS)), TASKS.c.reason.is_(None)
    )
    query = select(TASKS.c.id, TASKS.c.state, TASKS.c.task_type, TASKS.c.held_at, TASKS.c.reason)
    return list(connection.execute(query.where(TASKS.c.job_id == job_id, or_(*which, above))).all())


def _with_children(connection: Connection, task_ids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for part in chunks(task_ids):
        query = select(TASKS.c.parent_id).where(TASKS.c.parent_id.in_(part)).distinct()
        found.update(connection.execute(query).scalars())
    return found


def by_state(former: Mapping[int, str]) -> dict[str, int]:
    """Count tasks by their former state."""
    return dict(sorted(Counter(former.values()).items()))
