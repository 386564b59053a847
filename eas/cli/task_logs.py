"""``eas logs``: the log of a task's attempts, or of all tasks of a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import click
from sqlalchemy import Connection

from eas.app import App
from eas.cli.options import print_json
from eas.cli.output import echo
from eas.plain_text import time_text, visible
from eas.states import FINAL_TASK_STATES, JobState
from eas.taskdb import jobs
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import job_list, logs, task_details
from eas.taskdb.queries.task_report import log_entry

PAGE = 1000
POLL = 1.0
"""Interval between two queries of ``--follow`` [s]."""

Entry = dict[str, Any]
NAMES = {number: name for name, number in logs.LEVELS.items()}


@click.command("logs")
@click.argument("task", metavar="[TASK]", type=click.IntRange(1), required=False)
@click.option("--job", metavar="JOB", help="All tasks of this job: its id, or its name.")
@click.option("--level", type=click.Choice(list(logs.LEVELS)), default="debug", help="Only this level and above.")
@click.option("--follow", is_flag=True, help="Keep printing new entries until the task or job has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --follow one object per entry.")
def task_logs(task: int | None, job: str | None, level: str, follow: bool, as_json: bool) -> None:
    """Print the logs of all attempts of a task, or of all tasks of a job, in chronological order."""
    if (task is None) == (job is None):
        raise click.UsageError("give a TASK, or --job JOB")
    with App.load() as app:
        source = _of_task(app, task) if task is not None else _of_job(app, job or "")
        if as_json and not follow:
            print_json(list(_entries(source, logs.LEVELS[level], follow=False)))
            return
        for entry in _entries(source, logs.LEVELS[level], follow=follow):
            if as_json:
                print_json(entry)
            else:
                _print(entry, with_task=task is None)


class _Read(Protocol):
    def __call__(self, connection: Connection, level: int, after: int) -> list[Entry]: ...


class _Source:
    """Source of entries: ``read(connection, level, after)`` returns the next ones; ``over`` whether all have come."""

    def __init__(self, app: App, read: _Read, over: Callable[[Connection], bool]) -> None:
        self.app = app
        self.read = read
        self.over = over


def _of_task(app: App, task_id: int) -> _Source:
    app.database.fetch(lambda connection: task_details.get(connection, task_id))

    def read(connection: Connection, level: int, after: int) -> list[Entry]:
        found: list[Entry] = []
        for attempt in task_details.attempts(connection, task_id):
            rows = task_details.log(connection, attempt.id, level=level, after=after, limit=PAGE)
            found += [_entry(row, attempt.number, task_id) for row in rows]
        return sorted(found, key=lambda entry: int(entry["id"]))[:PAGE]

    return _Source(app, read, lambda c: task_details.get(c, task_id).state in FINAL_TASK_STATES)


def _of_job(app: App, name: str) -> _Source:
    job_id = app.database.fetch(lambda connection: job_list.find(connection, name)).id

    def read(connection: Connection, level: int, after: int) -> list[Entry]:
        page = logs.page(connection, job_id=job_id, level=level, after=str(after), limit=PAGE, oldest=True)
        return [_entry(row, row.number, row.task_id) for row in page.rows]

    return _Source(app, read, lambda c: JobState(jobs.get(c, job_id).state).final)


def _entry(row: AnyRow, number: int | None, task_id: int | None) -> Entry:
    return {**log_entry(row), "attempt_id": row.attempt_id, "attempt": number, "task_id": task_id}


def _entries(source: _Source, level: int, *, follow: bool) -> Iterator[Entry]:
    """Yield entries in chronological order; with ``follow``, wait for new ones."""
    after = 0
    while True:
        # Evaluated before reading, so that entries written in between are still printed.
        over = not follow or source.app.database.fetch(source.over)
        part = source.app.database.fetch(partial(source.read, level=level, after=after))
        yield from part
        if part:
            after = part[-1]["id"]
        elif over:
            return
        else:
            time.sleep(POLL)


def _print(entry: Entry, *, with_task: bool) -> None:
    prefix = f"task {entry['task_id']} " if with_task else ""
    for line in log_lines(entry, f"{prefix}attempt {entry['attempt']} "):
        echo(line)


def log_lines(entry: Entry, prefix: str = "") -> Iterator[str]:
    """Yield the lines of a log entry, its traceback indented."""
    level = NAMES.get(entry["level"], str(entry["level"]))
    first, *rest = visible(entry["message"]).split("\n")
    yield f"{time_text(entry['logged_at'])} {level:<8}{prefix}{visible(entry['logger'])}: {first}"
    for line in [*rest, *visible(entry["traceback"] or "").splitlines()]:
        yield f"    {line}"
