"""Pages about tasks: the filtered list, one task, the log of one attempt."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from eas.errors import RequestError
from eas.names import loop_keys
from eas.plain_text import time_text
from eas.states import TaskState
from eas.taskdb.queries import job_list, logs, outcomes, sorted_tasks, task_details, task_list
from eas.taskdb.queries.keyset import Page, all_pages
from eas.taskdb.queries.task_list import TaskFilter
from eas.taskdb.queries.task_report import log_entry, task_report
from eas.web.rendering import csv_response, next_address, wants_csv, with_query
from eas.web.site import site

PREFIX = "loop."
"""Prefix of query parameters that are loop parameters."""

OUTCOMES = ("PASS", "FAIL", "UNDEFINED", task_list.ANY_OUTCOME)
ORDERS = {"": "oldest first", "newest": "newest first", "ended": "last ended first", "duration": "longest first",
          "type": "type", "name": "name", "state": "state"}  # fmt: skip
HEADER = ("task", "job", "job_name", "task_type", "name", "state", "loops", "created [UTC]", "ended [UTC]", "reason")


def read_filter(request: Request, connection: Connection) -> TaskFilter:
    """Return the filter that an address describes."""
    given = request.query_params
    job = given.get("job") or None
    parameters = {key.removeprefix(PREFIX): value for key, value in given.items() if key.startswith(PREFIX) and value}
    return TaskFilter(
        job_id=None if job is None else job_list.find(connection, job).id,
        task_type=given.get("type") or None,
        state=given.get("state") or None,
        outcome=given.get("outcome") or None,
        worker_id=given.get("worker") or None,
        text=given.get("text", ""),
        parameters=parameters,
    )


def tasks(request: Request) -> Response:
    """Answer with a page of the tasks that a filter selects."""
    here = site(request)
    wanted = here.fetch(lambda c: read_filter(request, c))
    order = request.query_params.get("order", "")
    if wants_csv(request):
        rows = all_pages(lambda after: here.fetch(lambda c: read_page(c, wanted, order, after, limit=1000)[0]))
        return csv_response("tasks", HEADER, map(_csv, rows))
    after = request.query_params.get("after")

    def read(connection: Connection) -> dict[str, Any]:
        page, unsorted = read_page(connection, wanted, order, after)
        job = wanted.job_id
        took = sorted_tasks.durations(
            connection, [row.accepted_attempt_id for row in page.rows if row.accepted_attempt_id]
        )
        return {
            "page": page,
            "unsorted": unsorted,
            "rows": [
                {"row": row, "label": task_details.label(row), "took": took.get(row.accepted_attempt_id)}
                for row in page.rows
            ],
            "types": task_list.types(connection, job) if job is not None else [],
            "loops": loops(connection, job) if job is not None else list(wanted.parameters),
        }

    found = here.fetch(read)
    moving = any(row.state in (TaskState.WAITING, TaskState.QUEUED, TaskState.RUNNING) for row in found["page"].rows)
    return here.renderer.page(
        request, "tasks.html", title="Tasks", wanted=wanted, order=order, orders=ORDERS,
        most=sorted_tasks.MAX_SORTED_TASKS, states=list(TaskState), outcomes=OUTCOMES,
        next=next_address(request, found["page"].next), csv=with_query(request, format="csv", after=None),
        moving=moving and after is None, job_text=request.query_params.get("job", ""), prefix=PREFIX, **found,
    )  # fmt: skip


def read_page(
    connection: Connection, wanted: TaskFilter, order: str, after: str | None, limit: int = task_list.LIMIT
) -> tuple[Page, bool]:
    """Return a page of tasks in one of ``ORDERS``, and whether they are too many to be sorted."""
    if order in ("", "newest"):
        return task_list.page(connection, wanted, after=after, limit=limit, newest=order == "newest"), False
    found = sorted_tasks.page(connection, wanted, order, after=after, limit=limit)
    return (task_list.page(connection, wanted, after=after, limit=limit), True) if found is None else (found, False)


def loops(connection: Connection, job_id: int) -> list[str]:
    """Return the names of the loops around the last task of a job."""
    last = task_list.page(connection, TaskFilter(job_id, state=TaskState.DONE), newest=True, limit=1).rows
    last = last or task_list.page(connection, TaskFilter(job_id), newest=True, limit=1).rows
    return [name for _, name in loop_keys(json.loads(last[0].metadata))] if last else []


def _csv(row: Any) -> list[Any]:
    metadata = json.loads(row.metadata)
    values = ", ".join(f"{name}={metadata[key]}" for key, name in loop_keys(metadata))
    return [row.id, row.job_id, row.job_name, row.task_type, row.name, row.state, values, time_text(row.created_at),
            time_text(row.ended_at), row.reason]  # fmt: skip


def task(request: Request) -> Response:
    """Answer with the page of a task."""
    here = site(request)
    level = level_of(request)
    now, lease = here.app.database.now(), here.app.settings.lease
    found = here.fetch(lambda c: task_report(c, int(request.path_params["task_id"]), now, lease, level=level))
    return here.renderer.page(
        request, "task.html", title=f"Task {found['id']}", task=found, level=request.query_params.get("level", "any"),
        level_names=["any", *logs.LEVELS], moving=found["state"] in ("waiting", "queued", "running"),
    )  # fmt: skip


def level_of(request: Request) -> int:
    """Return the lowest log level that an address asks for. Raises RequestError for an unknown one."""
    name = request.query_params.get("level", "")
    if name in ("", "any"):
        return 0
    if name not in logs.LEVELS:
        raise RequestError(f"there is no level {name[:40]!r}", hint=f"the levels are: {', '.join(logs.LEVELS)}")
    return logs.LEVELS[name]


def task_log(request: Request) -> Response:
    """Answer with the whole log of a task's attempts as CSV."""
    here, task_id, level = site(request), int(request.path_params["task_id"]), level_of(request)
    here.fetch(lambda c: task_details.get(c, task_id))
    tried = here.fetch(lambda c: task_details.attempts(c, task_id))

    def entries() -> Any:
        for attempt in tried:
            after = 0
            while rows := here.fetch(lambda c: task_details.log(c, attempt.id, level=level, after=after, limit=1000)):  # noqa: B023
                for entry in map(log_entry, rows):
                    yield [attempt.number, time_text(entry["logged_at"]), entry["level"], entry["logger"],
                           entry["message"], entry["traceback"]]  # fmt: skip
                after = rows[-1].id

    header = ("attempt", "time [UTC]", "level", "logger", "message", "traceback")
    return csv_response(f"task_{task_id}_log", header, entries())


def pass_fail(request: Request) -> Response:
    """Answer with the outcomes of searches: a grid of detection rates, and task by task."""
    here = site(request)
    job = request.query_params.get("job") or None
    if job is None:
        jobs = here.fetch(lambda c: job_list.page(c, limit=30)).rows
        return here.renderer.page(request, "pass_fail.html", title="Pass/fail", jobs=jobs, row=None)
    row = here.fetch(lambda c: job_list.find(c, job))
    kinds = here.fetch(lambda c: outcomes.types(c, row.id))
    kind = request.query_params.get("type") or next(iter(kinds), None)
    if kind not in kinds:
        return here.renderer.page(request, "pass_fail.html", title="Pass/fail", jobs=[], row=row, kind=None)
    wanted = TaskFilter(row.id, kind, outcome=request.query_params.get("outcome") or task_list.ANY_OUTCOME)
    if wants_csv(request):
        return _outcomes_csv(request, wanted)
    names = [name for name in (request.query_params.get("rows"), request.query_params.get("columns")) if name]
    names = [name for name in names if name in kinds[kind]] or kinds[kind][:2]
    result = here.slow.get(
        ("rates", row.id, kind, tuple(names)), lambda: here.fetch(lambda c: outcomes.rates(c, row.id, kind, names))
    ) if names else None  # fmt: skip
    page = here.fetch(lambda c: task_list.page(c, wanted, after=request.query_params.get("after")))
    results = here.fetch(lambda c: outcomes.results(c, [each.accepted_attempt_id for each in page.rows]))
    return here.renderer.page(
        request, "pass_fail.html", title=f"Pass/fail of job {row.id}", jobs=[], row=row, kind=kind, kinds=list(kinds),
        loops=kinds[kind], names=names, grid=_grid(result.value) if result and result.value else None,
        counted_at=result.at if result else 0.0, page=page, next=next_address(request, page.next),
        rows=[{"row": each, "label": task_details.label(each), "output": results.get(each.accepted_attempt_id, {})}
              for each in page.rows],
        outcome=wanted.outcome, outcomes=OUTCOMES, csv=with_query(request, format="csv", after=None),
        moving=row.state in ("submitted", "running") or bool(result and not result.at),
    )  # fmt: skip


MAX_CELLS = 60
"""Maximum number of rows and columns of a grid."""


def _grid(rates: list[outcomes.Rate]) -> dict[str, Any]:
    """Return rates as a table: column values, and a row of cells for each row value."""
    columns = list(dict.fromkeys(rate.column for rate in sorted(rates, key=lambda each: outcomes.order(each.column))))
    rows = list(dict.fromkeys(rate.row for rate in rates))
    cells = {(rate.row, rate.column): rate for rate in rates}
    return {
        "columns": columns[:MAX_CELLS],
        "lines": [(row, [cells.get((row, column)) for column in columns[:MAX_CELLS]]) for row in rows[:MAX_CELLS]],
        "cut": len(rows) > MAX_CELLS or len(columns) > MAX_CELLS,
    }


def _outcomes_csv(request: Request, wanted: TaskFilter) -> Response:
    here = site(request)

    def lines() -> Any:
        after = None
        while True:
            page = here.fetch(lambda c: task_list.page(c, wanted, after=after, limit=1000))  # noqa: B023
            found = here.fetch(lambda c: outcomes.results(c, [each.accepted_attempt_id for each in page.rows]))  # noqa: B023
            for row in page.rows:
                output = found.get(row.accepted_attempt_id, {})
                yield [*_csv(row)[:7], output.get("outcome"), output]
            if page.next is None:
                return
            after = page.next

    return csv_response("outcomes", (*HEADER[:7], "outcome", "output_metadata"), lines())
