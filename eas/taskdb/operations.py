"""What operators do to jobs in SQL, whoever drives them: empty, cancel, put back.

Each of them first locks the job's row, as every write of an orchestrator does, and counts up the
job's revision: an orchestrator that drives the job then writes nothing that it decided before, and
loads the job anew. Workers are kept off by locking the attempts. All functions are parts of one
transaction of the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from eas.errors import UnknownJobError
from eas.model import CONTROL_TASKS
from eas.states import FINAL_TASK_STATES, AttemptState, JobState, TaskState
from eas.taskdb import attempts, jobs, results, tables
from eas.taskdb.engine import AnyRow
from eas.taskdb.products import chunks

ATTEMPTS, JOBS, TASKS = tables.attempts, tables.jobs, tables.tasks

EMPTIED = "emptied"
"""What a waiting task is called that was taken off the queue."""

TAKEN_OFF = "taken off the queue by an operator; `eas reschedule` puts it back"
CANCELLED = "cancelled by an operator"

_OVER = (TaskState.FAILED, TaskState.STALLED, TaskState.BLOCKED)


def lock(connection: Connection, job_id: int) -> AnyRow:
    """Return a job's row; until the commit nobody else changes its tasks. Raises UnknownJobError."""
    jobs.get(connection, job_id)
    return connection.execute(select(JOBS).where(JOBS.c.id == job_id).with_for_update()).one()


def changed(connection: Connection, job_id: int) -> None:
    """Let an orchestrator that drives the job load it anew."""
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(revision=JOBS.c.revision + 1))


def named(connection: Connection, job_name: str) -> list[int]:
    """Return the ids of the jobs of a name, oldest first. Raises UnknownJobError where there is none."""
    found = list(connection.execute(select(JOBS.c.id).where(JOBS.c.name == job_name).order_by(JOBS.c.id)).scalars())
    if not found:
        newest = connection.execute(select(JOBS.c.name).order_by(JOBS.c.id.desc()).limit(5)).scalars()
        known = ", ".join(dict.fromkeys(newest)) or "none: submit one first"
        raise UnknownJobError(f"no job has the name {job_name!r}", cure=f"the newest jobs are: {known}")
    return found


def jobs_with_queued(connection: Connection) -> list[int]:
    """Return the ids of the jobs that have queued attempts, ascending."""
    query = select(ATTEMPTS.c.job_id).where(ATTEMPTS.c.state == AttemptState.QUEUED).distinct()
    return sorted(connection.execute(query).scalars())


# -- taking attempts away ----------------------------------------------------------------------


def open_attempts(connection: Connection, job_id: int, states: Collection[AttemptState]) -> list[AnyRow]:
    """Lock and return the attempts of a job in these states; a claim that is under way is waited for."""
    query = select(ATTEMPTS).where(ATTEMPTS.c.job_id == job_id, ATTEMPTS.c.state.in_(states))
    return list(connection.execute(query.order_by(ATTEMPTS.c.id).with_for_update()).all())


def take_off(connection: Connection, rows: Sequence[AnyRow], now: float) -> None:
    """Close locked attempts as cancelled; those that ran get a result that says so."""
    for part in chunks(row.id for row in rows):
        guarded = update(ATTEMPTS).where(ATTEMPTS.c.id.in_(part), ATTEMPTS.c.state.in_(attempts.OPEN))
        if connection.execute(guarded.values(state=AttemptState.CANCELLED, ended_at=now)).rowcount != len(part):
            raise RuntimeError("attempts that were locked by an operator changed under it")
    ran = [results.broken_off(row, CANCELLED, now) for row in rows if row.state == AttemptState.RUNNING]
    if ran:
        connection.execute(insert(tables.attempt_results), ran)


def hold(connection: Connection, task_ids: Iterable[int], now: float) -> None:
    """Let tasks wait that no orchestrator puts on the queue until an operator puts them back."""
    attempts.set_task_states(connection, task_ids, TaskState.WAITING, held_at=now, reason=TAKEN_OFF)


def cancel_tasks(connection: Connection, job_id: int, now: float) -> int:
    """Cancel all tasks of a job that are not over, and the job; return how many leaf tasks that were."""
    opened = (TASKS.c.job_id == job_id) & TASKS.c.state.not_in(FINAL_TASK_STATES)
    over = {"state": TaskState.CANCELLED, "ended_at": now, "reason": CANCELLED, "held_at": None}
    leaf = or_(TASKS.c.task_type.is_(None), TASKS.c.task_type.not_in(sorted(CONTROL_TASKS)))
    leaves = connection.execute(update(TASKS).where(opened, leaf).values(**over)).rowcount
    # A control task is what its children are: it has no reason of its own.
    connection.execute(update(TASKS).where(opened).values(**over | {"reason": None}))
    jobs.set_state(connection, job_id, JobState.CANCELLED, ended_at=now, cancel_requested_at=now)
    return leaves


# -- putting tasks back ------------------------------------------------------------------------


def put_back(
    connection: Connection, job: AnyRow, states: Collection[TaskState], *, emptied: bool = True
) -> dict[int, str]:
    """Let tasks in ``states``, and with ``emptied`` those taken off the queue, wait again.

    Returns former states by task id; the tries of those tasks are what they were at submission.
    Control tasks above them run again, as does the job. Nothing is written where there is nothing
    to put back.
    """
    rows = _to_put_back(connection, job.id, states, emptied=emptied)
    grown = _with_children(connection, [row.id for row in rows if row.task_type in CONTROL_TASKS])
    waiting = {row.id: EMPTIED if row.held_at is not None else str(row.state) for row in rows if row.id not in grown}
    # A loop that could not decide whether to go on has failed by itself, below children that have not.
    undecided = {row.id: str(row.state) for row in rows if row.id in grown and row.reason is not None}
    former = waiting | undecided
    if not former and TaskState.CANCELLED in states:
        # All leaf tasks were done when the job was cancelled: what is left is to come to its end.
        former = {row.id: str(row.state) for row in rows if row.id in grown and row.state == TaskState.CANCELLED}
    if not former:
        return {}
    fresh = {"reason": None, "ended_at": None, "held_at": None}
    tries = {"retries_left": job.retries, "stalls_left": _stalls(connection, job.id)}
    attempts.set_task_states(connection, waiting, TaskState.WAITING, **fresh, **tries)
    attempts.set_task_states(connection, grown, TaskState.RUNNING, **fresh)
    if JobState(job.state).final:
        values = {"ended_at": None, "cancel_requested_at": None, "driver": None, "driver_seen_at": None}
        jobs.set_state(connection, job.id, JobState.SUBMITTED, **values)
    changed(connection, job.id)
    return former


def _to_put_back(connection: Connection, job_id: int, states: Collection[TaskState], *, emptied: bool) -> list[AnyRow]:
    """Return the tasks to be put back, and the unsuccessful control tasks that may stand above them."""
    held = and_(TASKS.c.state == TaskState.WAITING, TASKS.c.held_at.is_not(None))
    which: list[ColumnElement[bool]] = [TASKS.c.state.in_(states)]
    if emptied:
        which.append(held)
    # One with a reason of its own failed by itself: it is put back only where that is asked for.
    above = and_(TASKS.c.state.in_(_OVER), TASKS.c.task_type.in_(sorted(CONTROL_TASKS)), TASKS.c.reason.is_(None))
    query = select(TASKS.c.id, TASKS.c.state, TASKS.c.task_type, TASKS.c.held_at, TASKS.c.reason)
    return list(connection.execute(query.where(TASKS.c.job_id == job_id, or_(*which, above))).all())


def _with_children(connection: Connection, task_ids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for part in chunks(task_ids):
        query = select(TASKS.c.parent_id).where(TASKS.c.parent_id.in_(part)).distinct()
        found.update(connection.execute(query).scalars())
    return found


def _stalls(connection: Connection, job_id: int) -> int:
    """Return how many stalls each task of a job was given: the root task, which never runs, has them still."""
    root = select(func.max(TASKS.c.stalls_left)).where(TASKS.c.job_id == job_id, TASKS.c.parent_id.is_(None))
    return int(connection.execute(root).scalar_one())


def has_failed(connection: Connection, job_id: int) -> bool:
    """Return whether a task of a job failed or stalled, or was taken off the queue."""
    held = and_(TASKS.c.state == TaskState.WAITING, TASKS.c.held_at.is_not(None))
    bad = or_(TASKS.c.state.in_([TaskState.FAILED, TaskState.STALLED]), held)
    return connection.execute(select(TASKS.c.id).where(TASKS.c.job_id == job_id, bad).limit(1)).first() is not None


def jobs_blocked_by(connection: Connection, task_ids: Iterable[int], *, may_grow: bool) -> set[int]:
    """Return the jobs with blocked tasks that read what these tasks make.

    Where the tasks ``may_grow`` into others, also those whose input nobody is known to make.
    """
    made, read, reader = tables.task_products.alias("made"), tables.task_products.alias("read"), TASKS
    blocked = (
        select(reader.c.job_id)
        .distinct()
        .join(read, and_(read.c.task_id == reader.c.id, read.c.direction == "in"))
        .outerjoin(made, and_(made.c.product_id == read.c.product_id, made.c.direction == "out"))
        .where(reader.c.state == TaskState.BLOCKED)
    )
    found: set[int] = set()
    for part in chunks(task_ids):
        found.update(connection.execute(blocked.where(made.c.task_id.in_(part))).scalars())
    if may_grow:
        found.update(connection.execute(blocked.where(made.c.task_id.is_(None))).scalars())
    return found


def by_state(former: Mapping[int, str]) -> dict[str, int]:
    """Count tasks by their former state."""
    return dict(sorted(Counter(former.values()).items()))


def jobs_with_failures(connection: Connection) -> list[int]:
    """Return the jobs with tasks that failed or stalled, or were taken off the queue, ascending."""
    held = and_(TASKS.c.state == TaskState.WAITING, TASKS.c.held_at.is_not(None))
    bad = or_(TASKS.c.state.in_([TaskState.FAILED, TaskState.STALLED]), held)
    return sorted(connection.execute(select(TASKS.c.job_id).where(bad).distinct()).scalars())


class Held(NamedTuple):
    """How many tasks of a job an operator took off the queue, at which revision of the job."""

    tasks: int
    revision: int


def held(connection: Connection, job_id: int) -> Held:
    """Return how many tasks of a job wait to be put back by an operator."""
    revision = jobs.get(connection, job_id).revision
    query = select(func.count()).where(
        TASKS.c.job_id == job_id, TASKS.c.state == TaskState.WAITING, TASKS.c.held_at.is_not(None)
    )
    return Held(connection.execute(query).scalar_one(), revision)
