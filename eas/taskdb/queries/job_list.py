"""Jobs by page, with task counts and speed; and the lookup of a job by id or name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, select

from eas.errors import RequestError, UnknownJobError
from eas.model import CONTROL_TASKS
from eas.states import AttemptState, JobState, TaskState
from eas.taskdb import jobs, tables
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import keyset
from eas.taskdb.queries.keyset import Page
from eas.taskdb.queries.progress import Counts

JOBS, TASKS, ATTEMPTS = tables.jobs, tables.tasks, tables.attempts

COLUMNS = tuple(column for column in JOBS.c if column.name != "chain")
"""All columns of a job except its chain, which may be long."""

MAX_ATTEMPTS = 200
"""Finished attempts from which the speed of a job is estimated."""


class Speed(NamedTuple):
    """Speed of a job: ``rate`` in leaf tasks per second over its last finished attempts; ``eta`` [s] until the
    known leaf tasks have ended, None if it cannot be estimated.
    """

    rate: float
    eta: float | None


class Totals(NamedTuple):
    """Number of leaf tasks of a job by state."""

    total: int
    by_state: Mapping[str, int]

    @property
    def share_done(self) -> float:
        """Share of the leaf tasks that are done, 0 to 1."""
        return self.by_state.get(TaskState.DONE, 0) / self.total if self.total else 0.0

    @property
    def unfinished(self) -> int:
        """Leaf tasks that are not over."""
        return sum(count for state, count in self.by_state.items() if not TaskState(state).final)


def page(connection: Connection, *, state: str | None = None, before: str | None = None, limit: int = 50) -> Page:
    """Return jobs, the newest first, without their chains. Raises RequestError for an unknown state."""
    if state and state not in list(JobState):
        raise RequestError(f"there is no state {state[:40]!r}", hint=f"the states are: {', '.join(JobState)}")
    query = select(*COLUMNS)
    beyond = keyset.cursor(before)
    if beyond is not None:
        query = query.where(JOBS.c.id < beyond)
    if state:
        query = query.where(JOBS.c.state == state)
    rows = list(connection.execute(query.order_by(JOBS.c.id.desc()).limit(limit + 1)).all())
    return Page(rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None)


def find(connection: Connection, name: str) -> AnyRow:
    """Return the job that a user names by its id or by its name, without its chain.

    If several jobs have the name, the only unfinished one is returned. Raises UnknownJobError if there is no
    such job, RequestError if the name is ambiguous.
    """
    if name.isascii() and name.isdecimal() and len(name) < 19:
        jobs.get(connection, int(name))
        return connection.execute(select(*COLUMNS).where(JOBS.c.id == int(name))).one()
    rows = connection.execute(select(*COLUMNS).where(JOBS.c.name == name).order_by(JOBS.c.id.desc()).limit(20)).all()
    open_ones = [row for row in rows if not JobState(row.state).final]
    if len(rows) == 1 or len(open_ones) == 1:
        return (open_ones or rows)[0]
    if not rows:
        raise UnknownJobError(f"no job is called {name!r}", hint=jobs.newest(connection))
    ids = ", ".join(f"{row.id} ({row.state})" for row in rows)
    raise RequestError(f"several jobs are called {name!r}: {ids}", hint="give the id of one of them")


def chain(connection: Connection, job_id: int) -> str:
    """Return the chain of a job as it was submitted."""
    return str(jobs.get(connection, job_id).chain)


def totals(counted: Counts) -> Totals:
    """Return the leaf tasks among counts."""
    by_state: dict[str, int] = {}
    for (kind, state), count in counted.items():
        if kind not in CONTROL_TASKS:
            by_state[state] = by_state.get(state, 0) + count
    return Totals(sum(by_state.values()), by_state)


def speed(connection: Connection, job_id: int, unfinished: int, now: float) -> Speed:
    """Return the speed of a job over its last finished attempts; ``now`` is database time [s]."""
    ended: list[float] = []
    for state in (AttemptState.DONE, AttemptState.FAILED):
        query = select(ATTEMPTS.c.ended_at).where(ATTEMPTS.c.job_id == job_id, ATTEMPTS.c.state == state)
        rows = connection.execute(query.order_by(ATTEMPTS.c.id.desc()).limit(MAX_ATTEMPTS)).scalars()
        ended += [each for each in rows if each is not None]
    last = sorted(ended)[-MAX_ATTEMPTS:]
    if len(last) < 2 or now <= last[0]:
        return Speed(0.0, None)
    rate = len(last) / (now - last[0])
    return Speed(rate, unfinished / rate if unfinished else 0.0)
