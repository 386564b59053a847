"""Explains why a task does not run: what it waits for, and the state of the tasks that provide it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from eas.model import CONTROL_TASKS
from eas.states import FINAL_TASK_STATES, AttemptState, JobState, TaskState
from eas.taskdb import job_lease, tables
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import product_status, service_warnings, task_details
from eas.taskdb.service_lease import SUPERVISOR, is_alive

TASKS, ATTEMPTS, JOBS = tables.tasks, tables.attempts, tables.jobs
LINKS, PRODUCTS = tables.task_products, tables.products

MAX_AHEAD = 1000
"""Maximum number of attempts ahead in the queue that are counted."""

MAX_CHILDREN = 5000
"""Maximum number of children of a control task that are examined."""


class Obstacle(NamedTuple):
    """One thing that a task waits for.

    ``kind``: ``input``, ``metadata``, ``children``, ``withdrawn``, ``driver``, ``queue``, ``worker``,
    ``backoff``, ``blocked`` or ``ready``; ``text`` says what; ``hint`` what to do about it,
    if anything; ``task_id`` and ``product_id`` the task and the file that it is about.
    """

    kind: str
    text: str
    hint: str = ""
    task_id: int | None = None
    product_id: int | None = None


def why_waiting(connection: Connection, task: AnyRow, now: float, lease: float) -> list[Obstacle]:
    """Return the obstacles that keep a task from running, nearest first; empty if it runs or has ended.

    ``task`` as ``task_details.get`` returns it; ``now``: database time [s]; ``lease`` of workers [s].
    """
    if task.state == TaskState.WAITING:
        found = [*_withdrawn(task), *_inputs(connection, task), *_metadata(connection, task)]
        found += _driver(connection, task, now)
        return found or [Obstacle("ready", "nothing is missing: the job's orchestrator queues it at its next step")]
    if task.state == TaskState.QUEUED:
        return list(_queued(connection, task, now, lease))
    if task.state == TaskState.BLOCKED:
        return [Obstacle("blocked", task.reason or "a dependency can never complete")]
    if task.state == TaskState.RUNNING and task.task_type in CONTROL_TASKS:
        return list(_children(connection, task))
    return []


def _withdrawn(task: AnyRow) -> Iterator[Obstacle]:
    if task.held_at is not None:
        hint = f"`eas reschedule --job-id {task.job_id}` queues it again"
        yield Obstacle("withdrawn", "an operator withdrew it from the queue", hint)


def _inputs(connection: Connection, task: AnyRow) -> Iterator[Obstacle]:
    """Yield an obstacle for each input that is not available, by semantic name."""
    query = (
        select(LINKS.c.semantic, LINKS.c.product_id, PRODUCTS.c.working_directory, PRODUCTS.c.name,
               PRODUCTS.c.current_version_id)
        .join(PRODUCTS, PRODUCTS.c.id == LINKS.c.product_id)
        .where(LINKS.c.task_id == task.id, LINKS.c.direction == "in")
    )  # fmt: skip
    for row in connection.execute(query.order_by(LINKS.c.semantic)).all():
        own = _maker(connection, row.product_id, task.job_id)
        if own is not None and own.state == TaskState.DONE:
            continue
        file = f"input {row.semantic}: {row.working_directory}/{row.name}"
        if own is not None:
            yield Obstacle("input", f"{file} is made by {_described(own)}", "", own.id, row.product_id)
        elif row.current_version_id is None:
            yield _other_maker(connection, row.product_id, file)


def _maker(connection: Connection, product_id: int, job_id: int) -> AnyRow | None:
    """Return the newest task of a job that makes a product, preferring unfinished tasks."""
    query = select(*task_details.LABEL).join(LINKS, LINKS.c.task_id == TASKS.c.id)
    query = query.where(LINKS.c.product_id == product_id, LINKS.c.direction == "out", TASKS.c.job_id == job_id)
    rows = connection.execute(query.order_by(LINKS.c.task_id.desc()).limit(20)).all()
    return next((row for row in rows if row.state not in FINAL_TASK_STATES), rows[0] if rows else None)


def _other_maker(connection: Connection, product_id: int, file: str) -> Obstacle:
    known = product_status.status_by_id(connection, [product_id])[product_id]
    if known.maker_task_id is None:
        hint = "submit the chain that makes it, or correct the name"
        return Obstacle("input", f"{file}: no task makes it", hint, None, product_id)
    maker = task_details.labels(connection, [known.maker_task_id])[known.maker_task_id]
    text = f"{file} is made by {_described(maker)} of job {known.maker_job_id} ({known.maker_job})"
    return Obstacle("input", text, "", maker.id, product_id)


def _described(maker: AnyRow) -> str:
    return f"task {maker.id}, {task_details.label(maker)}, which is {maker.state}"


def _metadata(connection: Connection, task: AnyRow) -> Iterator[Obstacle]:
    """Yield an obstacle for each earlier sibling whose output metadata are not available yet."""
    for name in json.loads(task.requires):
        query = select(*task_details.LABEL).where(TASKS.c.parent_id == task.parent_id, TASKS.c.ordinal < task.ordinal)
        query = query.where(TASKS.c.name == name).order_by(TASKS.c.ordinal.desc()).limit(1)
        sibling = connection.execute(query).one_or_none()
        if sibling is None:
            yield Obstacle(
                "metadata", f"it needs the metadata of {name!r}, and no earlier task of its list has that name"
            )
        elif sibling.state != TaskState.DONE:
            text = f"it needs the output metadata of {name!r}: {_described(sibling)}"
            yield Obstacle("metadata", text, "", sibling.id)


def _driver(connection: Connection, task: AnyRow, now: float) -> Iterator[Obstacle]:
    job = connection.execute(select(JOBS).where(JOBS.c.id == task.job_id)).one()
    if driver_of(connection, job, now) == "":
        hint = f"start a supervisor (`eas schedule`), or continue the job: `eas run --resume {job.id}`"
        yield Obstacle("driver", f"no process drives job {job.id} ({job.name})", hint)


def driver_of(connection: Connection, job: AnyRow, now: float) -> str | None:
    """Return the process that drives a job; an empty string if none does; None for an ended job.

    ``job`` needs ``state``, ``driver`` and ``driver_seen_at``.
    """
    if JobState(job.state).final:
        return None
    if job_lease.is_driven(job, now):
        return str(job.driver)
    return "the supervisor, within seconds" if is_alive(connection, SUPERVISOR, now) else ""


def _queued(connection: Connection, task: AnyRow, now: float, lease: float) -> Iterator[Obstacle]:
    """Yield the obstacles of a queued task: paused queue, backoff, missing workers, attempts ahead of it."""
    mine = select(ATTEMPTS).where(ATTEMPTS.c.task_id == task.id, ATTEMPTS.c.state == AttemptState.QUEUED)
    attempt = connection.execute(mine.order_by(ATTEMPTS.c.number.desc()).limit(1)).one_or_none()
    if attempt is None:
        return
    paused = select(tables.queue_settings.c.paused_at).where(tables.queue_settings.c.task_type == attempt.task_type)
    if connection.execute(paused).scalar() is not None:
        hint = f"`eas queue resume {attempt.task_type}` resumes it"
        yield Obstacle("queue", f"an operator paused the queue of {attempt.task_type}", hint)
    if attempt.available_at > now:
        yield Obstacle("backoff", f"attempt {attempt.number} is due in {attempt.available_at - now:.0f} s")
    wanted = select(tables.task_types.c.worker_type).where(tables.task_types.c.name == attempt.task_type)
    worker_type = connection.execute(wanted).scalar()
    able = service_warnings.living_workers(connection, now, lease).get(worker_type or "", 0)
    if not able:
        hint = f"start one: `eas worker --type {worker_type}`" if worker_type else "install its worker type"
        yield Obstacle("worker", f"no worker that runs {attempt.task_type} is alive", hint)
    ahead = _ahead(connection, attempt)
    count = f"more than {MAX_AHEAD}" if ahead > MAX_AHEAD else str(ahead)
    workers = "1 worker runs" if able == 1 else f"{able} workers run"
    yield Obstacle(
        "queue", f"{count} attempts are ahead of it in the queue of {attempt.task_type}; {workers} that type"
    )


def _ahead(connection: Connection, attempt: Any) -> int:
    """Return the number of attempts of the same type ahead in the queue; ``MAX_AHEAD + 1`` means more."""
    earlier = or_(
        ATTEMPTS.c.priority < attempt.priority,
        and_(ATTEMPTS.c.priority == attempt.priority, ATTEMPTS.c.id < attempt.id),
    )
    queue = select(ATTEMPTS.c.id).where(ATTEMPTS.c.state == AttemptState.QUEUED)
    queue = queue.where(ATTEMPTS.c.task_type == attempt.task_type, earlier).limit(MAX_AHEAD + 1)
    return int(connection.execute(select(func.count()).select_from(queue.subquery())).scalar_one())


def _children(connection: Connection, task: AnyRow) -> Iterator[Obstacle]:
    """Yield the last children of a control task that are not over: among its last ones, as loops go in order."""
    last = select(*task_details.LABEL, TASKS.c.ordinal).where(TASKS.c.parent_id == task.id)
    part = last.order_by(TASKS.c.ordinal.desc()).limit(MAX_CHILDREN).subquery()
    query = select(part).where(part.c.state.not_in(FINAL_TASK_STATES)).order_by(part.c.ordinal).limit(5)
    for row in connection.execute(query).all():
        yield Obstacle("children", f"child {_described(row)}", "", row.id)
