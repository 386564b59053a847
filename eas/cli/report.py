"""``eas report``: reports of the task database as tables, CSV, JSON and pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eas.app import App
from eas.cli import normalise
from eas.cli.options import json_option, print_json
from eas.cli.output import echo
from eas.cli.terminal import Terminal
from eas.states import WorkerState

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection

    from eas.taskdb.queries.reports import Filters

F = TypeVar("F", bound=Callable[..., Any])
MAX_TERMINAL_ROWS = 20
"""Maximum number of rows of long tables on a terminal."""


@click.group(context_settings={"token_normalize_func": normalise})
def report() -> None:
    """Progress, timings, outcomes, errors, trees, queues and workers.

    Reports read a snapshot and do not slow down running jobs. --csv writes the whole table: as Parquet if
    the file name ends in .parquet, and to standard output if it is -.
    """


csv_option = click.option("--csv", metavar="FILE", type=click.Path(path_type=Path), help="Write the whole table to it.")


def filter_options(command: F) -> F:
    """Add the filters that all reports share."""
    options = [
        click.option("--job", metavar="JOB", help="Only this job: its id, or its name if that is unique."),
        click.option("--job-name", metavar="NAME", help="Only tasks of jobs of this name."),
        click.option("--task-type", metavar="TYPE", help="Only tasks of this type."),
        click.option("--since", metavar="TIME", help="Only newer entries: 2026-11-22T08:30 (UTC), 90min, 12h, 7d."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def _snapshot(values: dict[str, Any]) -> Iterator[tuple[Connection, Filters, float, float]]:
    """Open a snapshot and check the filters among a command's values; yield both, database time and lease."""
    from eas.taskdb.queries import job_list
    from eas.taskdb.queries.reports import Filters, check, snapshot
    from reports.filters import parse_since

    with App.load() as app:
        now = app.database.now()
        since = parse_since(values["since"], now)
        with snapshot(app.database) as connection:
            job = values["job"]
            job_id = None if job is None else job_list.find(connection, job).id
            filters = Filters(job_id, values["job_name"], values["task_type"], since)
            check(connection, filters)
            yield connection, filters, now, app.settings.lease


def _output(frames: Iterable[pd.DataFrame], csv: Path | None, as_json: bool, title: str, empty: str) -> None:
    """Write a table to a file, as JSON, or for a terminal."""
    import pandas as pd

    from reports import tables
    from reports.files import csv_bytes, write_table

    if csv is None and as_json:
        tables.write_json_list(frames, sys.stdout)
        sys.stdout.write("\n")
    elif csv is None:
        tables.show(pd.concat(frames, ignore_index=True), Terminal(), title=title, empty=empty)
    elif str(csv) == "-":
        for number, frame in enumerate(frames):
            # CSV is UTF-8, whatever the locale.
            sys.stdout.buffer.write(csv_bytes(frame, header=number == 0))
    else:
        _print_written(write_table(frames, csv), as_json)


def _print_written(path: Path, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(path)})
    else:
        echo(f"wrote {path}")


@report.command()
@filter_options
@csv_option
@json_option
def progress(csv: Path | None, as_json: bool, **values: Any) -> None:
    """Tasks of each job and type by state, share done, and an estimate of the time left."""
    from eas.taskdb.queries import service_warnings
    from reports import assemble

    with _snapshot(values) as (connection, filters, now, lease):
        frame = assemble.progress(connection, filters, now)
        warnings = service_warnings.warnings(connection, now, lease)
    for warning in warnings:
        echo(f"warning: {warning}", err=True, fg="red")
    _output([frame], csv, as_json, "progress", "no tasks yet: submit a chain with `eas submit` or `eas run`")


@report.command()
@filter_options
@csv_option
@json_option
def timings(csv: Path | None, as_json: bool, **values: Any) -> None:
    """Resource use of finished attempts: all of them with --csv or --json, else a summary by task type."""
    from reports import assemble, tables

    with _snapshot(values) as (connection, filters, *_):
        if csv is not None and str(csv) != "-":
            assemble.write_timings(connection, filters, csv)
            _print_written(csv, as_json)
            return
        if csv is not None or as_json:
            _output(assemble.timings_frames(connection, filters), csv, as_json, "", "")
            return
        summary = assemble.write_timings(connection, filters, None)
    shown = [name for name in summary.columns if name.startswith(("task_type", "state", "attempts", "wall_clock"))]
    tables.show(
        summary[[*shown, "cpu_with_children_total [s]", "peak_memory_max [MB]"]],
        Terminal(),
        title="timings of finished attempts",
        empty="no attempt has finished yet",
    )


@report.command("pass-fail")
@filter_options
@click.option(
    "--pictures",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Write pictures of the newest jobs to this folder.",
)
@csv_option
@json_option
def pass_fail(csv: Path | None, as_json: bool, pictures: Path | None, **values: Any) -> None:
    """Outcomes of searches: parameters, PASS, FAIL or UNDEFINED, and every numeric result."""
    import pandas as pd

    from reports import assemble
    from reports.files import write_bytes
    from reports.job_reports import pictures_by_job

    with _snapshot(values) as (connection, filters, *_):
        frames = assemble.pass_fail(connection, filters)
        if pictures is not None:
            table = pd.concat(frames, ignore_index=True)
            frames = iter([table])
            for name, picture in pictures_by_job(connection, table):
                echo(f"wrote {write_bytes(pictures / f'{name}.png', picture)}", err=True)
        _output(frames, csv, as_json, "outcomes", "no task has an outcome yet")


@report.command()
@filter_options
@click.option(
    "--grouped",
    is_flag=True,
    help="Group errors by their last line: number, first and last time.",
)
@csv_option
@json_option
def errors(csv: Path | None, as_json: bool, grouped: bool, **values: Any) -> None:
    """All logged errors and tracebacks, and failures without a log."""
    from reports import assemble, tables

    with _snapshot(values) as (connection, filters, *_):
        if grouped:
            _output(
                [assemble.write_errors(connection, filters, None)], csv, as_json, "errors by last line", "no errors"
            )
        elif csv is not None or as_json:
            _output(assemble.error_frames(connection, filters), csv, as_json, "", "")
        else:
            newest, groups = assemble.newest_errors(connection, filters, MAX_TERMINAL_ROWS)
            tables.show_errors(newest, groups, Terminal())


@report.command()
@filter_options
@click.option("--max-depth", type=click.IntRange(0), default=5, show_default=True, help="The job itself has depth 0.")
@click.option("--running-only", is_flag=True, help="Only nodes with queued or running tasks.")
@json_option
def tree(max_depth: int, running_only: bool, as_json: bool, **values: Any) -> None:
    """Jobs as trees of tasks, with counts by state at each node; equal siblings share a line."""
    from reports import assemble
    from reports.tree import tree_lines

    with _snapshot(values) as (connection, filters, *_):
        roots = assemble.job_tree(connection, filters, max_depth, running_only=running_only)
    if as_json:
        print_json([root.to_json() for root in roots])
        return
    for line in chain(tree_lines(roots), [] if roots else ["no jobs to show"]):
        echo(line)


@report.command()
@filter_options
@click.option("--all", "everything", is_flag=True, help="Include empty queues.")
@csv_option
@json_option
def queue(csv: Path | None, as_json: bool, everything: bool, **values: Any) -> None:
    """Depth and oldest age of each queue: number of waiting attempts, and whether workers serve them."""
    from reports import assemble

    with _snapshot(values) as (connection, filters, now, lease):
        frame = assemble.queues(connection, filters, now, lease)
    if csv is None and not as_json and not everything:
        busy = (frame[["queued", "held_back", "running"]] > 0).any(axis=1)
        frame = frame[busy | (frame["paused [UTC]"] != "")]
    _output([frame], csv, as_json, "queues", "all queues are empty")


@report.command()
@filter_options
@click.option("--all", "everything", is_flag=True, help="Include workers that exited or were lost.")
@csv_option
@json_option
def workers(csv: Path | None, as_json: bool, everything: bool, **values: Any) -> None:
    """Workers that are alive, and what they run; with --all, --csv and --json also those that exited or were lost."""
    from reports import assemble

    with _snapshot(values) as (connection, filters, now, _):
        frame = assemble.workers(connection, filters, now)
    if csv is None and not as_json:
        frame = frame.drop(columns=["started [UTC]", "heartbeat [UTC]", "pid"])
        if not everything:
            frame = frame[frame["state"] == WorkerState.ALIVE].drop(columns=["ended [UTC]", "reason"])
    _output([frame], csv, as_json, "workers", "no worker is alive (--all includes exited ones)")


@report.command()
@filter_options
@click.option("--picture", metavar="FILE", type=click.Path(path_type=Path), help="Write a chart to this PNG file.")
@csv_option
@json_option
def timeline(csv: Path | None, as_json: bool, picture: Path | None, **values: Any) -> None:
    """Start and end of each task by worker: a table; with --picture a chart with a row for each worker."""
    import pandas as pd

    from reports import assemble
    from reports.files import write_bytes
    from reports.timeline import timeline_picture

    with _snapshot(values) as (connection, filters, now, _):
        frames = assemble.timeline(connection, filters, now)
        if picture is not None:
            table = pd.concat(frames, ignore_index=True)
            frames = iter([table])
            echo(f"wrote {write_bytes(picture, timeline_picture(table, now, filters.job_name or ''))}", err=True)
        if picture is None or csv is not None or as_json:
            _output(frames, csv, as_json, "timeline", "no worker has run anything yet")
