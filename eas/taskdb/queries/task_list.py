"""Filtered tasks by page; the number of rows read is bounded, however large the jobs are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from eas.errors import RequestError
from eas.model import CONTROL_TASKS
from eas.names import index_name
from eas.states import OPEN_JOB_STATES, AttemptState, JobState, TaskState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import keyset, task_tree
from eas.taskdb.queries.keyset import Page
from eas.taskdb.queries.task_details import LABEL

TASKS, ATTEMPTS, JOBS, RESULTS = tables.tasks, tables.attempts, tables.jobs, tables.attempt_results
COLUMNS = (*LABEL, TASKS.c.job_name, TASKS.c.created_at, TASKS.c.ended_at, TASKS.c.accepted_attempt_id)
"""Columns of a row of the list."""

LIMIT = 50
BUDGET = 10_000
"""Maximum number of tasks examined for one page if a condition has no index."""

MAX_JOBS = 30
"""Maximum number of jobs examined for one page if the filter names no job."""

ANY_OUTCOME = "*"


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Selects tasks; None and empty strings mean no restriction.

    Attributes
    ----------
    outcome:
        ``PASS``, ``FAIL``, ``UNDEFINED``, or ``*`` for any.
    worker_id:
        Tasks of which this worker claimed an attempt.
    text:
        Substring of name, type, metadata, settings or reason, ignoring case.
    parameters:
        Values of loop parameters as strings. Numbers are compared to four digits, as they are displayed.
    """

    job_id: int | None = None
    task_type: str | None = None
    state: str | None = None
    outcome: str | None = None
    worker_id: str | None = None
    text: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state is not None and self.state not in list(TaskState):
            raise RequestError(f"there is no state {self.state[:40]!r}", hint=f"the states are: {', '.join(TaskState)}")

    @property
    def is_indexed(self) -> bool:
        """Whether the filter uses only job, type and state."""
        return not (self.outcome or self.worker_id or self.text or self.parameters)


def page(
    connection: Connection,
    wanted: TaskFilter,
    *,
    after: str | None = None,
    limit: int = LIMIT,
    newest: bool = False,
) -> Page:
    """Return a page of tasks, ascending by id or, with ``newest``, descending.

    ``after``: ``next`` of the page before. Tasks of all jobs come job by job, the newest first; those of a
    worker in the order of claiming. Tasks with loop parameters come in the order of the job's tree, unless
    they are in a state of which there are few.
    """
    if wanted.worker_id:
        return _of_worker(connection, wanted, after, limit, newest)
    if wanted.job_id is None:
        return _of_all_jobs(connection, wanted, after, limit, newest)
    if wanted.parameters and wanted.state in (None, TaskState.DONE):
        return _in_tree(connection, wanted, after, limit)
    return _of_job(connection, wanted, after, limit, newest)


def first_ids(connection: Connection, wanted: TaskFilter, limit: int) -> list[int]:
    """Return the first ids of what a filter by job, type and state alone chooses, ascending."""
    return keyset.first_ids(connection, TASKS.c.id, _ranges(connection, wanted), after=None, limit=limit)


def types(connection: Connection, job_id: int) -> list[str | None]:
    """Return the task types that occur in a job; None for tasks whose type is not known yet."""
    return keyset.distinct(connection, TASKS.c.task_type, TASKS.c.job_id == job_id)


def rows_of(connection: Connection, task_ids: Sequence[int]) -> list[AnyRow]:
    """Return the list's rows of tasks, in the order given."""
    query = select(*COLUMNS)
    found = {row.id: row for part in chunks(task_ids) for row in connection.execute(query.where(TASKS.c.id.in_(part)))}
    return [found[each] for each in task_ids if each in found]


def has_loop_values(wanted: Mapping[str, str], metadata: Mapping[str, Any], *, partly: bool = False) -> bool:
    """Return whether metadata have the wanted loop values; ``partly`` ignores loops that they do not have."""
    for name, text in wanted.items():
        key = name if name in metadata else index_name(name)
        if key not in metadata:
            if not partly:
                return False
        elif not _same(metadata[key], text):
            return False
    return True


def _same(value: Any, text: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return f"{value:.4g}" == f"{float(text):.4g}"
        except ValueError:
            return False
    return str(value) == text


def _of_job(connection: Connection, wanted: TaskFilter, after: str | None, limit: int, newest: bool) -> Page:
    ranges = _ranges(connection, wanted)

    def ids(beyond: int | None, count: int) -> list[int]:
        if not ranges:
            return []
        return keyset.first_ids(connection, TASKS.c.id, ranges, after=beyond, limit=count, descending=newest)

    start = keyset.cursor(after)
    if wanted.is_indexed:
        found = ids(start, limit + 1)
        rows = rows_of(connection, found[:limit])
        return Page(rows, str(found[limit - 1]) if len(found) > limit else None)
    return keyset.scan(ids, lambda part: _matching(connection, wanted, part), after=start, limit=limit, budget=BUDGET)


def _ranges(connection: Connection, wanted: TaskFilter) -> list[keyset.Conditions]:
    """Return the ranges of the index that hold what a filter may choose, without those that are empty."""
    job = TASKS.c.job_id == wanted.job_id
    kinds = [wanted.task_type] if wanted.task_type else types(connection, wanted.job_id or 0)
    if wanted.outcome or wanted.parameters:
        kinds = [kind for kind in kinds if kind not in CONTROL_TASKS]
    found: list[keyset.Conditions] = []
    for kind in kinds:
        of_kind = (job, keyset.is_value(TASKS.c.task_type, kind))
        states = [wanted.state] if wanted.state else keyset.distinct(connection, TASKS.c.state, *of_kind)
        found += [(*of_kind, TASKS.c.state == state) for state in states if _can_match(state, wanted)]
    return found


def _can_match(state: str, wanted: TaskFilter) -> bool:
    """Return whether tasks in a state can satisfy a filter: only done ones have an outcome."""
    return not wanted.outcome or state == TaskState.DONE


def _matching(connection: Connection, wanted: TaskFilter, task_ids: Sequence[int]) -> list[AnyRow]:
    """Return those of the tasks that satisfy the whole filter, in the order given."""
    conditions = list(_conditions(wanted))
    query = select(*COLUMNS)
    if wanted.outcome:
        query = query.join(RESULTS, RESULTS.c.attempt_id == TASKS.c.accepted_attempt_id)
    found: dict[int, AnyRow] = {}
    for part in chunks(task_ids):
        rows = connection.execute(query.where(TASKS.c.id.in_(part), *conditions))
        found.update({row.id: row for row in rows})
    if wanted.parameters:
        found = {key: row for key, row in found.items() if has_loop_values(wanted.parameters, json.loads(row.metadata))}
    return [found[each] for each in task_ids if each in found]


def _conditions(wanted: TaskFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.job_id is not None:
        yield TASKS.c.job_id == wanted.job_id
    if wanted.task_type:
        yield TASKS.c.task_type == wanted.task_type
    if wanted.state:
        yield TASKS.c.state == wanted.state
    if wanted.text:
        columns = (TASKS.c.name, TASKS.c.task_type, TASKS.c.metadata, TASKS.c.settings, TASKS.c.reason)
        yield or_(*(func.lower(column).contains(wanted.text.lower(), autoescape=True) for column in columns))
    if wanted.outcome:
        key = '"outcome"' if wanted.outcome == ANY_OUTCOME else f'"outcome": {json.dumps(wanted.outcome)}'
        yield RESULTS.c.output_metadata.contains(key, autoescape=True)


def _of_worker(connection: Connection, wanted: TaskFilter, after: str | None, limit: int, newest: bool) -> Page:
    mine = ATTEMPTS.c.worker_id == wanted.worker_id
    ranges = [(mine, ATTEMPTS.c.state == state) for state in AttemptState if state is not AttemptState.QUEUED]

    def ids(beyond: int | None, count: int) -> list[int]:
        return keyset.first_ids(connection, ATTEMPTS.c.id, ranges, after=beyond, limit=count, descending=newest)

    def matching(part: list[int]) -> list[_Claimed]:
        query = select(ATTEMPTS.c.id, ATTEMPTS.c.task_id)
        found = {
            row.id: row.task_id
            for some in chunks(part)
            for row in connection.execute(query.where(ATTEMPTS.c.id.in_(some)))
        }
        rows = {row.id: row for row in _matching(connection, wanted, list(dict.fromkeys(found.values())))}
        return [_Claimed(each, rows[found[each]]) for each in part if found[each] in rows]

    got = keyset.scan(ids, matching, after=keyset.cursor(after), limit=limit, budget=BUDGET)
    shown = dict.fromkeys(each.row.id for each in got.rows)
    by_id = {each.row.id: each.row for each in got.rows}
    return Page([by_id[each] for each in shown], got.next, got.rows_examined)


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A task, in the place of one of its attempts: ``id``."""

    id: int
    row: Any


def _in_tree(connection: Connection, wanted: TaskFilter, after: str | None, limit: int) -> Page:
    """Walk the job's tree, entering only iterations that have the wanted loop values."""
    budget = task_tree.Budget()
    rows: list[AnyRow] = []

    def enter(control: AnyRow) -> bool:
        return has_loop_values(wanted.parameters, json.loads(control.metadata), partly=True)

    for place, row in task_tree.leaves(connection, wanted.job_id or 0, enter, after=after, budget=budget):
        if row is not None and has_loop_values(wanted.parameters, json.loads(row.metadata)):
            rows += _matching(connection, wanted, [row.id])
        if len(rows) >= limit or budget.exhausted:
            return Page(rows, place, budget.rows)
    return Page(rows, None, budget.rows)


def _of_all_jobs(connection: Connection, wanted: TaskFilter, after: str | None, limit: int, newest: bool) -> Page:
    """Search jobs one after the other, newest first; skip jobs whose state excludes such tasks."""
    before, _, inner = (after or "").partition("~")
    rows: list[AnyRow] = []
    rows_examined = 0
    for number, job_id in enumerate(_jobs(connection, wanted, keyset.cursor(before))):
        if number == MAX_JOBS:
            return Page(rows, f"{job_id}~", rows_examined)
        part = TaskFilter(job_id, wanted.task_type, wanted.state, wanted.outcome, None, wanted.text, wanted.parameters)
        found = page(connection, part, after=inner or None, limit=limit - len(rows), newest=newest)
        rows += found.rows
        rows_examined += found.rows_examined
        if found.next is not None:
            return Page(rows, f"{job_id}~{found.next}", rows_examined)
        inner = ""
        if len(rows) >= limit:
            return Page(rows, f"{job_id - 1}~" if job_id > 1 else None, rows_examined)
    return Page(rows, None, rows_examined)


def _jobs(connection: Connection, wanted: TaskFilter, newest: int | None) -> list[int]:
    query = select(JOBS.c.id)
    if newest is not None:
        query = query.where(JOBS.c.id <= newest)
    if wanted.state in (TaskState.WAITING, TaskState.QUEUED, TaskState.RUNNING):
        query = query.where(JOBS.c.state.in_(OPEN_JOB_STATES))
    elif wanted.state and wanted.state != TaskState.DONE:
        query = query.where(JOBS.c.state != JobState.DONE)
    return list(connection.execute(query.order_by(JOBS.c.id.desc()).limit(MAX_JOBS + 1)).scalars())
