"""Pages about the whole installation: workers, queues, log, timings; and the search field."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from eas import web_addresses
from eas.errors import EASError
from eas.names import loop_label
from eas.plain_text import time_text
from eas.states import WorkerState
from eas.taskdb.queries import attempt_list, job_list, lineage, live, logs, service_warnings
from eas.taskdb.queries.keyset import all_pages
from eas.taskdb.queries.reports import Filters
from eas.web.rendering import csv_response, next_address, wants_csv, with_query
from eas.web.site import Site, site
from eas.web.task_pages import level_of

LOG_HEADER = ("time [UTC]", "level", "job", "task", "task_type", "attempt", "logger", "message", "traceback")
TIMING_HEADER = ("task", "job", "task_type", "loops", "attempt", "state", "queued [UTC]", "started [UTC]",
                 "ended [UTC]", "wall [s]", "cpu [s]", "cpu_with_children [s]", "peak_memory [MB]", "qc_passed",
                 "worker", "host")  # fmt: skip
WORKERS = 200
"""Maximum number of workers listed: living ones, then the last of the others."""


def _job_id(request: Request) -> int | None:
    name = request.query_params.get("job") or None
    return None if name is None else int(site(request).fetch(lambda c: job_list.find(c, name)).id)


def log(request: Request) -> Response:
    """Answer with a page of the log, of one job or of all."""
    here, job_id, level = site(request), _job_id(request), level_of(request)
    if wants_csv(request):
        rows = all_pages(
            lambda after: here.fetch(lambda c: logs.page(c, job_id=job_id, level=level, after=after, limit=1000))
        )
        return csv_response("log", LOG_HEADER, (
            [time_text(row.logged_at), row.level, row.job_id, row.task_id, row.task_type, row.number, row.logger,
             row.message, row.traceback] for row in rows
        ))  # fmt: skip
    after = request.query_params.get("after")
    page = here.fetch(lambda c: logs.page(c, job_id=job_id, level=level, after=after))
    return here.renderer.page(
        request, "logs.html", title="Log", page=page, level=request.query_params.get("level", "any"), job_id=job_id,
        level_names=["any", *logs.LEVELS], job_text=request.query_params.get("job", ""),
        next=next_address(request, page.next), csv=with_query(request, format="csv", after=None),
    )  # fmt: skip


def timings(request: Request) -> Response:
    """Answer with the timings of attempts: a summary of the last ones, and a list."""
    here, job_id = site(request), _job_id(request)
    if wants_csv(request):
        rows = all_pages(
            lambda after: here.fetch(lambda c: attempt_list.page(c, job_id=job_id, after=after, limit=1000))
        )
        return csv_response("timings", TIMING_HEADER, map(_timing, rows))
    page = here.fetch(lambda c: attempt_list.page(c, job_id=job_id, after=request.query_params.get("after")))
    summary = here.slow.get(("timings", job_id), lambda: here.fetch(lambda c: attempt_list.summary(c, job_id)))
    return here.renderer.page(
        request, "timings.html", title="Timings", page=page, job_id=job_id, summary=summary.value, at=summary.at,
        job_text=request.query_params.get("job", ""), last=attempt_list.MAX_SUMMARISED_ATTEMPTS, loops=_loops,
        next=next_address(request, page.next), csv=with_query(request, format="csv", after=None),
        moving=not summary.at,
    )  # fmt: skip


def _loops(row: Any) -> str:
    return loop_label(json.loads(row.metadata))


def _timing(row: Any) -> list[Any]:
    times = [time_text(each) for each in (row.queued_at, row.started_at, row.ended_at)]
    used = (row.wall, row.cpu, row.cpu_children, row.peak_memory, row.qc_passed)
    return [row.task_id, row.job_id, row.task_type, _loops(row), row.number, row.state, *times, *used, row.worker_id,
            row.host]  # fmt: skip


def workers(request: Request) -> Response:
    """Answer with the workers, what each runs and how many attempts it ended."""
    here = site(request)
    result = here.slow.get("workers", lambda: _workers(here))
    now = here.app.database.now()
    rows = result.value or []
    if wants_csv(request):
        rows = _workers(here)
        header = ("worker", "host", "pid", "types", "state", "started [UTC]", "heartbeat [UTC]", "ended [UTC]",
                  "reason", "done", "failed", "stalled")  # fmt: skip
        return csv_response("workers", header, (
            [row.id, row.host, row.pid, row.worker_types, row.state, time_text(row.started_at),
             time_text(row.heartbeat_at), time_text(row.ended_at), row.reason, row.done, row.failed, row.stalled]
            for row in rows
        ))  # fmt: skip
    running: dict[str, list[Any]] = {}
    for attempt in here.fetch(live.running_attempts):
        running.setdefault(attempt.worker_id, []).append(attempt)
    alive = [row for row in rows if row.state == WorkerState.ALIVE]
    shown = [*alive[:WORKERS], *[row for row in rows if row.state != WorkerState.ALIVE][: max(0, WORKERS - len(alive))]]
    return here.renderer.page(request, "workers.html", title="Workers", workers=shown, running=running, now=now,
                              alive=len(alive), total=len(rows), moving=bool(alive) or not result.at)  # fmt: skip


def _workers(here: Site) -> list[Any]:
    return here.fetch(lambda connection: live.workers(connection, Filters()))


def queues(request: Request) -> Response:
    """Answer with the queues: depth, oldest age, whether an operator paused them and whether workers serve them."""
    here = site(request)
    now = here.app.database.now()
    rows = here.slow.get("queues", lambda: here.fetch(lambda c: live.queues(c, Filters(), now))).value or []
    if wants_csv(request):
        header = ("task_type", "worker_type", "queued", "due", "held_back", "running", "oldest [UTC]", "paused [UTC]")
        return csv_response("queues", header, (
            [row.task_type, row.worker_type, row.queued, row.due, row.held_back, row.running, time_text(row.oldest),
             time_text(row.paused_at)] for row in here.fetch(lambda c: live.queues(c, Filters(), now))
        ))  # fmt: skip
    served = here.fetch(lambda c: service_warnings.living_workers(c, now, here.app.settings.lease))
    moving = any(row.queued or row.running for row in rows)
    return here.renderer.page(request, "queues.html", title="Queues", queues=rows, served=served, now=now,
                              moving=moving or not rows)  # fmt: skip


def search(request: Request) -> Response:
    """Redirect to the task, job or file that a user names."""
    here, text = site(request), request.query_params.get("q", "").strip()
    if number_like(text):
        return RedirectResponse(web_addresses.task(int(text)))
    for find in (_find_job, _find_file):
        try:
            return RedirectResponse(find(here, text))
        except EASError:
            continue
    return RedirectResponse(web_addresses.tasks(text=text))


def number_like(text: str) -> bool:
    """Return whether a text is an id."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def _find_job(here: Site, text: str) -> str:
    return web_addresses.job(here.fetch(lambda c: job_list.find(c, text)).id)


def _find_file(here: Site, text: str) -> str:
    return web_addresses.file(here.fetch(lambda c: lineage.find_product(c, text)).id)
