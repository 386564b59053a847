"""Queries of the supervisor's metrics; attempts of finished jobs are read only once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, func, or_, select

from eas.registry import BASE_WORKER_TYPE
from eas.states import OPEN_JOB_STATES, AttemptState
from eas.taskdb import job_lease, tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import progress, scaling
from eas.taskdb.service_lease import SCALER, SUPERVISOR, last_renewal

JOBS, TASKS = tables.jobs, tables.tasks
ATTEMPTS, RESULTS = tables.attempts, tables.attempt_results

BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0)
"""Upper bounds of the histogram of durations [s]."""
ENDED_STATES = (AttemptState.DONE, AttemptState.FAILED, AttemptState.STALLED, AttemptState.CANCELLED)


@dataclass(frozen=True)
class Durations:
    """Ended attempts of one type and outcome: their number, their total wall-clock time [s], and the number of
    those at most as long as each of ``BUCKETS``.
    """

    count: int
    total: float
    within: tuple[int, ...]

    def plus(self, other: Durations) -> Durations:
        """Return the sum of both."""
        within = tuple(mine + yours for mine, yours in zip(self.within, other.within, strict=True))
        return Durations(self.count + other.count, self.total + other.total, within)


ZERO = Durations(0, 0.0, (0,) * len(BUCKETS))


class QueueState(NamedTuple):
    """One queue: numbers of due and of running attempts, and when the oldest due one was queued [Unix s]."""

    due: int
    running: int
    oldest: float | None
    paused: bool


Ended = Mapping[tuple[str, str], Durations]
"""By task type and outcome."""


@dataclass(frozen=True)
class Snapshot:
    """The state of the system at one moment; ``now`` and times of leases are Unix times [s]."""

    now: float
    jobs: Mapping[str, int]
    undriven: int
    tasks: Mapping[tuple[str, str], int]
    queues: Mapping[str, QueueState]
    workers: Mapping[tuple[str, str], int]
    leases: Mapping[str, float | None]
    ended: Ended


@dataclass
class History:
    """Cache of ended attempts, so that those of finished jobs are not read again.

    It starts empty: Prometheus counters start at 0 with the process.
    """

    newest_job: int | None = None
    ended_by_job: dict[int, Ended] = field(default_factory=dict)
    unfinished_jobs: set[int] = field(default_factory=set)


def read(connection: Connection, history: History, now: float, lease: float) -> Snapshot:
    """Return the present state; ``lease``: age of a heartbeat beyond which a worker is not alive [s]."""
    jobs = _jobs(connection, history)
    unfinished = {row.id for row in jobs if row.state in OPEN_JOB_STATES}
    undriven = [row for row in jobs if row.id in unfinished and not job_lease.is_driven(row, now)]
    counts: dict[str, int] = dict.fromkeys(OPEN_JOB_STATES, 0)
    for row in jobs:
        if row.id in unfinished:
            counts[row.state] += 1
    return Snapshot(
        now=now,
        jobs=counts,
        undriven=len(undriven),
        tasks=_tasks(connection, unfinished),
        queues=_queues(connection, now),
        workers=_workers(connection, now - lease),
        leases={name: last_renewal(connection, name) for name in (SUPERVISOR, SCALER)},
        ended=_ended(connection, history, {row.id for row in jobs}, unfinished),
    )


def _jobs(connection: Connection, history: History) -> list[AnyRow]:
    """Return unfinished jobs, jobs that were unfinished at the last reading, and jobs submitted since."""
    if history.newest_job is None:
        history.newest_job = connection.execute(select(func.max(JOBS.c.id))).scalar() or 0
    columns = (JOBS.c.id, JOBS.c.state, JOBS.c.driver, JOBS.c.driver_seen_at)
    rows = list(
        connection.execute(
            select(*columns).where(or_(JOBS.c.state.in_(OPEN_JOB_STATES), JOBS.c.id > history.newest_job))
        ).all()
    )
    missing = history.unfinished_jobs - {row.id for row in rows}
    for part in chunks(missing):
        rows += connection.execute(select(*columns).where(JOBS.c.id.in_(part))).all()
    return rows


def _tasks(connection: Connection, job_ids: Iterable[int]) -> dict[tuple[str, str], int]:
    found: Counter[tuple[str, str]] = Counter()
    for counts in progress.counts(connection, job_ids).values():
        found.update({(task_type or "unknown", state): total for (task_type, state), total in counts.items()})
    return dict(found)


def _queues(connection: Connection, now: float) -> dict[str, QueueState]:
    """Return the queues by task type: each is that of all jobs."""
    found: dict[str, QueueState] = {}
    for row in scaling.queues(connection, now):
        known = found.get(row.task_type, QueueState(0, 0, None, paused=False))
        oldest = min((each for each in (known.oldest, row.oldest) if each is not None), default=None)
        due, running = known.due + int(row.due), known.running + int(row.running)
        found[row.task_type] = QueueState(due, running, oldest, known.paused or bool(row.paused))
    return found


def _workers(connection: Connection, since: float) -> dict[tuple[str, str], int]:
    """Return the number of living workers by worker type and whether they are busy.

    Every worker runs the tasks of the base type; only those that run nothing else count as such.
    """
    found: dict[tuple[str, str], int] = {}
    for row in scaling.responsive_workers(connection, since):
        types = [each for each in json.loads(row.worker_types) if each != BASE_WORKER_TYPE] or [BASE_WORKER_TYPE]
        for each in types:
            key = (each, "busy" if row.running else "idle")
            found[key] = found.get(key, 0) + 1
    return found


def _ended(connection: Connection, history: History, jobs: set[int], unfinished: set[int]) -> Ended:
    """Return all attempts that are over: of jobs that ended since the start, and of unfinished ones."""
    present = _durations(connection, jobs)
    for job_id in jobs:
        if job_id in unfinished:
            history.ended_by_job.pop(job_id, None)
        else:
            history.ended_by_job[job_id] = present.get(job_id, {})
    history.newest_job = max([history.newest_job or 0, *jobs])
    history.unfinished_jobs = unfinished
    total: dict[tuple[str, str], Durations] = {}
    for ended in [*history.ended_by_job.values(), *(present.get(job_id, {}) for job_id in unfinished)]:
        for key, durations in ended.items():
            total[key] = total.get(key, ZERO).plus(durations)
    return total


def _durations(connection: Connection, job_ids: Iterable[int]) -> dict[int, dict[tuple[str, str], Durations]]:
    within = [
        func.sum(case((RESULTS.c.wall <= bound, 1), else_=0)).label(f"within_{place}")
        for place, bound in enumerate(BUCKETS)
    ]
    keys = (ATTEMPTS.c.job_id, ATTEMPTS.c.task_type, ATTEMPTS.c.state)
    total = func.coalesce(func.sum(RESULTS.c.wall), 0.0).label("wall")
    query = (
        select(*keys, func.count().label("total"), total, *within)
        .outerjoin(RESULTS, RESULTS.c.attempt_id == ATTEMPTS.c.id)
        .where(ATTEMPTS.c.state.in_(ENDED_STATES))
        .group_by(*keys)
    )
    found: dict[int, dict[tuple[str, str], Durations]] = {}
    for part in chunks(job_ids):
        for row in connection.execute(query.where(ATTEMPTS.c.job_id.in_(part))):
            counts: tuple[Any, ...] = tuple(int(getattr(row, f"within_{place}")) for place in range(len(BUCKETS)))
            of_job = found.setdefault(row.job_id, {})
            of_job[row.task_type, row.state] = Durations(row.total, float(row.wall), counts)
    return found
