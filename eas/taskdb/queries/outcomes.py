"""Outcomes of searches: which types have them, one by one, and counted over loop parameters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import JSON, ColumnElement, Connection, case, func, literal, select, type_coerce

from eas.errors import RequestError
from eas.model import CONTROL_TASKS
from eas.names import loop_keys
from eas.states import TaskState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.queries import task_list

TASKS, RESULTS = tables.tasks, tables.attempt_results

PASS, FAIL, UNDEFINED = OUTCOMES = ("PASS", "FAIL", "UNDEFINED")
"""Outcomes of a search. Any other text counts as the last."""

SAMPLE = 20
"""Number of done tasks of a type that are read to find whether it has outcomes, and its loops."""


class Rate(NamedTuple):
    """Outcomes of a type for values of two parameters (``column`` is None where there is one)."""

    task_type: str
    row: Any
    column: Any
    passed: int
    failed: int
    total: int


def types(connection: Connection, job_id: int) -> dict[str, list[str]]:
    """Return the task types of a job whose tasks have outcomes, with the names of the loops around them.

    Reads the last ``SAMPLE`` done tasks of each type.
    """
    found: dict[str, list[str]] = {}
    for kind in task_list.types(connection, job_id):
        if kind is None or kind in CONTROL_TASKS:
            continue
        query = (
            select(TASKS.c.metadata, RESULTS.c.output_metadata)
            .outerjoin(RESULTS, RESULTS.c.attempt_id == TASKS.c.accepted_attempt_id)
            .where(TASKS.c.job_id == job_id, TASKS.c.task_type == kind, TASKS.c.state == TaskState.DONE)
        )
        rows = connection.execute(query.order_by(TASKS.c.id.desc()).limit(SAMPLE)).all()
        with_outcome = [row for row in rows if "outcome" in json.loads(row.output_metadata or "{}")]
        if with_outcome:
            found[kind] = [name for _, name in loop_keys(json.loads(with_outcome[0].metadata))]
    return found


def results(connection: Connection, attempt_ids: Iterable[int | None]) -> dict[int, Mapping[str, Any]]:
    """Return the output metadata of attempts, by id."""
    query = select(RESULTS.c.attempt_id, RESULTS.c.output_metadata)
    wanted = [each for each in attempt_ids if each is not None]
    return {
        row.attempt_id: json.loads(row.output_metadata)
        for part in chunks(wanted)
        for row in connection.execute(query.where(RESULTS.c.attempt_id.in_(part)))
    }


def rates(connection: Connection, job_id: int, task_type: str, parameters: Sequence[str]) -> list[Rate]:
    """Return how often a search passed for each value of one or two loop parameters, by these values.

    Reads every outcome of the job, which takes some seconds for 10^6 tasks: callers cache the result.
    """
    row = _value(TASKS.c.metadata, parameters[0])
    column = _value(TASKS.c.metadata, parameters[1]) if len(parameters) > 1 else literal(None)
    outcome = _value(RESULTS.c.output_metadata, "outcome")
    each = (
        select(row.label("row"), column.label("col"), outcome.label("outcome"))
        .join(RESULTS, RESULTS.c.attempt_id == TASKS.c.accepted_attempt_id)
        .where(TASKS.c.job_id == job_id, TASKS.c.task_type == task_type, TASKS.c.state == TaskState.DONE)
    ).subquery()
    query = select(
        each.c.row,
        each.c.col,
        func.sum(case((each.c.outcome == "PASS", 1), else_=0)).label("passed"),
        func.sum(case((each.c.outcome == "FAIL", 1), else_=0)).label("failed"),
        func.count().label("total"),
    ).group_by(each.c.row, each.c.col)
    found = [
        Rate(task_type, _plain(line.row), _plain(line.col), int(line.passed), int(line.failed), int(line.total))
        for line in connection.execute(query)
    ]
    return sorted(found, key=lambda rate: (order(rate.row), order(rate.column)))


def counts(connection: Connection, job_id: int) -> dict[str, dict[str, int]]:
    """Return how often each search of a job passed, failed or neither: task type to number by ``OUTCOMES``.

    Reads every outcome of the job: some seconds for 10^6 tasks.
    """
    found = {}
    for task_type in types(connection, job_id):
        outcome = _value(RESULTS.c.output_metadata, "outcome")
        query = (
            select(outcome.label("outcome"), func.count().label("total"))
            .join(TASKS, RESULTS.c.attempt_id == TASKS.c.accepted_attempt_id)
            .where(TASKS.c.job_id == job_id, TASKS.c.task_type == task_type, TASKS.c.state == TaskState.DONE)
            .where(outcome.is_not(None))
            .group_by(outcome)
        )
        counted = dict.fromkeys(OUTCOMES, 0)
        for row in connection.execute(query):
            counted[row.outcome if row.outcome in OUTCOMES else UNDEFINED] += int(row.total)
        found[task_type] = counted
    return found


def _value(document: ColumnElement[str], key: str) -> ColumnElement[str]:
    """Return the expression that is the text of a value of a JSON object."""
    if '"' in key or "\\" in key:
        raise RequestError(f"outcomes cannot be counted by the loop {key!r}", hint="its name has quotes or backslashes")
    value: ColumnElement[str] = type_coerce(document, JSON)[key].as_string()
    return value


def _plain(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def order(value: Any) -> tuple[int, float, str]:
    """Return a key that sorts parameter values: numbers by size, before texts."""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))
