"""``eas jobs``: one line for each job."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import Connection

from eas.app import App
from eas.cli import text
from eas.cli.options import json_option, print_json
from eas.cli.output import echo
from eas.plain_text import duration_text, time_text
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import job_list, progress, service_warnings, waiting

HEADER = ("job", "name", "state", "done", "running", "failed", "tasks", "rate [1/s]", "time left", "submitted [UTC]",
          "driver")  # fmt: skip
COLUMN_PRECEDENCE = ("job", "name", "state", "done", "failed", "time left", "tasks")


@click.command()
@click.option("--state", metavar="STATE", help="Only jobs in this state: submitted, running, done, failed, cancelled.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Number of newest jobs.")
@json_option
def jobs(state: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs: state, share done, speed, time left, and which process drives them."""
    with App.load() as app:
        now = app.database.now()
        page = app.database.fetch(lambda c: job_list.page(c, state=state, limit=limit))
        found = app.database.fetch(lambda c: [describe(c, row, now) for row in page.rows])
        unserved = app.database.fetch(lambda c: service_warnings.unserved_warning(c, now, app.settings.lease))
    if unserved:
        echo(f"warning: {unserved}", err=True, fg="red")
    if as_json:
        print_json(found)
        return
    text.table(HEADER, map(_cells, found), "no jobs: submit a chain with `eas submit` or `eas run`",
               important=COLUMN_PRECEDENCE)  # fmt: skip
    for each in found:
        if each["driver"] == "":
            echo(f"no process drives job {each['id']}: start `eas schedule`, or continue it with "
                        f"`eas run --resume {each['id']}`", err=True, fg="yellow")  # fmt: skip
    if page.next is not None:
        echo(f"older jobs exist: --limit {2 * limit} shows more", err=True)


def describe(connection: Connection, row: AnyRow, now: float) -> dict[str, Any]:
    """Return a job, its counts and its rate as plain data; ``driver`` is empty if no process drives the job."""
    totals = job_list.totals(progress.counts(connection, [row.id])[row.id])
    speed = job_list.speed(connection, row.id, totals.unfinished, now) if totals.unfinished else None
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "tasks": totals.total,
        "by_state": dict(totals.by_state),
        "share_done": totals.share_done,
        "rate": speed.rate if speed else None,
        "time_left": speed.eta if speed else None,
        "submitted_at": row.submitted_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "driver": waiting.driver_of(connection, row, now),
    }


def _cells(job: dict[str, Any]) -> tuple[object, ...]:
    counts = job["by_state"]
    failed = sum(counts.get(state, 0) for state in ("failed", "stalled", "blocked"))
    driver = "none" if job["driver"] == "" else job["driver"]
    left = duration_text(job["time_left"])
    return (job["id"], job["name"], job["state"], f"{job['share_done']:.0%}", counts.get("running", 0), failed,
            job["tasks"], job["rate"], left, time_text(job["submitted_at"]), driver)  # fmt: skip
