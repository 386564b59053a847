"""Reports from a snapshot of the task database: queries on one side, frames and files on the other.

``now`` is always Unix time [s].
"""

from __future__ import annotations

import gc
import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from eas.taskdb import reading, reading_live
from eas.taskdb.reading import Filters
from reports import activity, errors, outcomes, timings, tree
from reports.columns import UnknownParametersError, parameter_keys
from reports.progress import progress_frame, under_way
from reports.write import write_table


def progress(connection: Connection, filters: Filters, now: float) -> pd.DataFrame:
    """Return the progress table."""
    counts = reading.task_counts(connection, filters)
    return progress_frame(counts, reading.first_starts(connection, under_way(counts)), now)


def timings_frames(connection: Connection, filters: Filters) -> Iterator[pd.DataFrame]:
    """Yield the timings table in parts, for who cannot begin again as ``write_timings`` does."""
    texts = chain(reading.loop_metadata(connection, filters), reading.leaf_metadata(connection, filters))
    columns = timings.parameter_columns(parameter_keys(texts))
    hosts = reading.worker_hosts(connection)
    return timings.timings_frames(reading.finished_attempts(connection, filters), columns, hosts)


def write_timings(connection: Connection, filters: Filters, path: Path | None) -> pd.DataFrame:
    """Write the timings table, chunk by chunk (nowhere for None), and return the summary by task type."""
    with collector_paused():
        return _write_timings(connection, filters, path)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python from looking for cycles of garbage: among millions of rows it finds none, and looks long.

    All other garbage is freed as ever.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _write_timings(connection: Connection, filters: Filters, path: Path | None) -> pd.DataFrame:
    hosts = reading.worker_hosts(connection)
    keys = parameter_keys(reading.loop_metadata(connection, filters))
    while True:
        summary = timings.TimingsSummary()
        rows = reading.finished_attempts(connection, filters)
        frames = summary.watch(timings.timings_frames(rows, timings.parameter_columns(keys), hosts))
        try:
            _write_or_drain(frames, path)
            return summary.frame()
        except UnknownParametersError as error:
            # Loop values that no loop gave: tasks that somebody wrote into the database otherwise.
            keys.extend(error.keys)


def _write_or_drain(frames: Iterator[pd.DataFrame], path: Path | None) -> None:
    if path is not None:
        write_table(frames, path)
    else:
        deque(frames, maxlen=0)


def pass_fail(connection: Connection, filters: Filters) -> Iterator[pd.DataFrame]:
    """Yield the pass-fail table in parts."""
    columns = outcomes.layout(reading.outcomes(connection, filters))
    return outcomes.pass_fail_frames(reading.outcomes(connection, filters), columns)


def write_errors(connection: Connection, filters: Filters, path: Path | None) -> pd.DataFrame:
    """Write the errors table (nowhere for None), and return the same grouped by last line."""
    groups = errors.ErrorGroups()
    _write_or_drain(groups.watch(error_frames(connection, filters)), path)
    return groups.frame()


def newest_errors(connection: Connection, filters: Filters, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the newest ``count`` errors, oldest of them first, and all errors grouped by last line."""
    groups = errors.ErrorGroups()
    newest = errors.error_frame([], {})
    for frame in groups.watch(error_frames(connection, filters)):
        both = pd.concat([newest, frame], ignore_index=True)
        newest = both.sort_values("time [UTC]", kind="stable").tail(count).reset_index(drop=True)
    return newest, groups.frame()


def error_frames(connection: Connection, filters: Filters) -> Iterator[pd.DataFrame]:
    """Yield the errors table in parts: what was logged, then what left no log."""
    rows = chain(
        reading.logged_errors(connection, filters),
        reading.unlogged_failures(connection, filters),
        reading.unattempted_failures(connection, filters),
    )
    return errors.error_frames(rows, reading.worker_hosts(connection))


def job_tree(
    connection: Connection, filters: Filters, depth: int, *, running_only: bool = False
) -> list[tree.TreeNode]:
    """Return the jobs' trees down to ``depth`` (the job has 0), equal siblings made one."""
    jobs = reading.job_rows(connection, filters)
    links = tree.read_links(reading_live.task_links(connection, [job.id for job in jobs]))
    only = None
    if filters.task_type is not None or filters.job_name is not None:
        only = np.isin(links.ids, np.fromiter(reading_live.matching_tasks(connection, filters), np.int64))
    with collector_paused():
        roots = tree.build(
            links,
            tree.fitting_depth(links, depth),
            lambda ids: reading_live.task_labels(connection, ids),
            only=only,
            running_only=running_only,
        )
    found = reading_live.root_jobs(connection, [root.task_id for root in roots])
    return tree.collapse(tree.job_roots(roots, found))


def queues(connection: Connection, filters: Filters, now: float) -> pd.DataFrame:
    """Return the queues' table."""
    alive = [json.loads(row.worker_types) for row in reading_live.alive_workers(connection)]
    return activity.queue_frame(reading_live.queues(connection, filters, now), alive, now)


def workers(connection: Connection, filters: Filters, now: float) -> pd.DataFrame:
    """Return the workers' table."""
    return activity.worker_frame(
        reading_live.workers(connection, filters), reading_live.running_attempts(connection), now
    )


def timeline(connection: Connection, filters: Filters, now: float) -> Iterator[pd.DataFrame]:
    """Yield the timeline's table in parts: first an empty one."""
    hosts = reading.worker_hosts(connection)
    yield activity.timeline_frame([], hosts, now)
    for rows in reading_live.worked(connection, filters):
        yield activity.timeline_frame(rows, hosts, now)
