"""Pages about jobs: all of them, one, its tree, chain, errors and timeline."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from eas.model import CONTROL_TASKS
from eas.plain_text import last_line, one_line, time_text
from eas.states import JobState, TaskState
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import attempt_list, job_list, logs, progress, task_details, task_tree, waiting
from eas.taskdb.queries.keyset import all_pages
from eas.web import charts
from eas.web.rendering import csv_response, next_address, wants_csv
from eas.web.site import Site, site

STATES = tuple(TaskState)
ERRORS = 1000
"""Maximum number of newest errors that are grouped."""

CHILDREN = 100
"""Maximum number of children of a node shown at a time."""

HEADER = ("id", "name", "state", "tasks", *STATES, "rate [1/s]", "time_left [s]", "submitted [UTC]", "started [UTC]",
          "ended [UTC]", "driver")  # fmt: skip


def jobs(request: Request) -> Response:
    """Answer with the list of jobs."""
    here = site(request)
    state = request.query_params.get("state") or None
    if wants_csv(request):
        rows = all_pages(lambda after: here.fetch(lambda c: job_list.page(c, state=state, before=after, limit=200)))
        return csv_response("jobs", HEADER, (_csv(here, row) for row in rows))
    after = request.query_params.get("after")
    page = here.fetch(lambda c: job_list.page(c, state=state, before=after))
    shown = _described(here, page.rows)
    return here.renderer.page(
        request, "jobs.html", title="Jobs", jobs=shown, state=state, states=list(JobState),
        next=next_address(request, page.next), moving=any(not JobState(row.state).final for row in page.rows),
    )  # fmt: skip


def _described(here: Site, rows: list[AnyRow]) -> list[dict[str, Any]]:
    counts = here.counts([row.id for row in rows])
    now = here.app.database.now()
    return here.fetch(lambda c: [_describe(c, row, counts[row.id].value, now) for row in rows])


def _describe(connection: Connection, row: AnyRow, counted: progress.Counts | None, now: float) -> dict[str, Any]:
    totals = job_list.totals(counted) if counted is not None else None
    running = not JobState(row.state).final
    speed = job_list.speed(connection, row.id, totals.unfinished, now) if running and totals is not None else None
    return {
        "row": row,
        "totals": totals,
        "failed": sum((totals.by_state if totals else {}).get(state, 0) for state in ("failed", "stalled", "blocked")),
        "speed": speed,
        "age": (row.ended_at or now) - row.submitted_at,
        "driver": waiting.driver_of(connection, row, now),
    }


def _csv(here: Site, row: AnyRow) -> list[Any]:
    counts = here.fetch(lambda c: progress.counts(c, [row.id])[row.id])
    now = here.app.database.now()
    found = here.fetch(lambda c: _describe(c, row, counts, now))
    by_state, speed = found["totals"].by_state, found["speed"]
    times = [time_text(each) for each in (row.submitted_at, row.started_at, row.ended_at)]
    return [row.id, row.name, row.state, found["totals"].total, *(by_state.get(each, 0) for each in STATES),
            speed.rate if speed else None, speed.eta if speed else None, *times, found["driver"]]  # fmt: skip


def job(request: Request) -> Response:
    """Answer with the page of a job."""
    here, row = site(request), _job(request)
    counted = here.counts([row.id])[row.id]
    table = _progress(counted.value or {})
    if wants_csv(request):
        return csv_response(f"job_{row.id}_progress", ("task_type", *STATES, "total"),
                            ([line["type"], *(line["counts"].get(each, 0) for each in STATES), line["total"]]
                             for line in table))  # fmt: skip
    (shown,) = _described(here, [row])
    root = here.fetch(lambda c: _root(c, row.id))
    return here.renderer.page(
        request, "job.html", title=f"Job {row.id}: {one_line(row.name, 80)}", job=shown, row=row, progress=table,
        states=[each for each in STATES if any(line["counts"].get(each) for line in table)], counted_at=counted.at,
        root=root, children=here.fetch(lambda c: _level(c, root.id)) if root is not None else None,
        moving=not JobState(row.state).final,
    )  # fmt: skip


def _job(request: Request) -> AnyRow:
    return site(request).fetch(lambda c: job_list.find(c, str(request.path_params["job_id"])))


def _progress(counted: progress.Counts) -> list[dict[str, Any]]:
    """Return one row for each task type, leaf task types first."""
    found: dict[str, Counter[str]] = {}
    for (kind, state), count in counted.items():
        found.setdefault(kind or "?", Counter())[state] += count
    order = sorted(found, key=lambda kind: (kind in CONTROL_TASKS, kind))
    return [{"type": kind, "counts": found[kind], "total": found[kind].total()} for kind in order]


def _root(connection: Connection, job_id: int) -> AnyRow | None:
    return task_tree.root(connection, job_id)


def _level(connection: Connection, parent: int, after: int = -1) -> dict[str, Any]:
    """Return one level of the tree: the children of a control task with an ordinal above ``after``."""
    rows = task_details.children(connection, parent, after=after, limit=CHILDREN + 1)
    shown = [
        {"row": row, "label": task_details.label(row), "control": row.task_type in CONTROL_TASKS}
        for row in rows[:CHILDREN]
    ]
    return {"parent": parent, "nodes": shown, "after": rows[CHILDREN - 1].ordinal if len(rows) > CHILDREN else None}


def tree_level(request: Request) -> Response:
    """Answer with one level of a job's tree, as a part of a page."""
    here = site(request)
    parent, after = int(request.path_params["task_id"]), request.query_params.get("after", "")
    last = int(after) if after.isascii() and after.isdecimal() and len(after) < 10 else -1
    return here.renderer.part("tree_level.html", children=here.fetch(lambda c: _level(c, parent, last)))


def chain(request: Request) -> Response:
    """Answer with the chain of a job as it was submitted."""
    here, row = site(request), _job(request)
    text = here.fetch(lambda c: job_list.chain(c, row.id))
    if request.query_params.get("format") == "json":
        headers = {"Content-Disposition": f'attachment; filename="job_{row.id}.json"'}
        return Response(text.encode(), media_type="application/json", headers=headers)
    with suppress(ValueError):  # show a chain that is not JSON unformatted
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return here.renderer.page(request, "chain.html", title=f"Chain of job {row.id}", row=row, chain=text[:500_000])


def errors(request: Request) -> Response:
    """Answer with the errors of a job, grouped by their last line."""
    here, row = site(request), _job(request)
    page = here.fetch(lambda c: logs.page(c, job_id=row.id, level=40, limit=ERRORS))
    groups: dict[str, list[Any]] = {}
    for entry in page.rows:
        groups.setdefault(last_line(entry.traceback, entry.message), []).append(entry)
    found = sorted(groups.items(), key=lambda item: -len(item[1]))
    if wants_csv(request):
        return csv_response(f"job_{row.id}_errors", ("count", "last_line", "newest [UTC]", "task_id"), (
            [len(each), line, time_text(each[0].logged_at), each[0].task_id] for line, each in found
        ))  # fmt: skip
    return here.renderer.page(request, "errors.html", title=f"Errors of job {row.id}", row=row, groups=found,
                              more=page.next is not None, number=len(page.rows))  # fmt: skip


def timeline(request: Request) -> Response:
    """Answer with a chart of the last attempts of a job, by worker."""
    here, row = site(request), _job(request)
    now = here.app.database.now()
    rows = here.fetch(lambda c: attempt_list.timeline(c, row.id))
    if wants_csv(request):
        header = ("worker", "host", "task_id", "task_type", "state", "started [UTC]", "ended [UTC]")
        return csv_response(f"job_{row.id}_timeline", header, (
            [each.worker_id, each.host, each.task_id, each.task_type, each.state, time_text(each.started_at),
             time_text(each.ended_at)] for each in rows
        ))  # fmt: skip
    chart = charts.timeline(rows, now)
    return here.renderer.page(request, "timeline.html", title=f"Timeline of job {row.id}", row=row, chart=chart,
                              moving=not JobState(row.state).final)  # fmt: skip
