"""Reports from a snapshot of the task database: connects the queries with data frames and files.

``now`` is always Unix time [s].
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from eas.taskdb.queries import live, packed_tree, reports, service_warnings
from eas.taskdb.queries.progress import first_starts, task_counts
from eas.taskdb.queries.reports import Filters
from reports import errors, live_tables, outcomes, timings, tree
from reports.columns import UnknownParametersError, parameter_keys
from reports.files import write_table
from reports.progress import progress_frame, under_way


def progress(connection: Connection, filters: Filters, now: float) -> pd.DataFrame:
    """Return the progress table."""
    counts = task_counts(connection, filters)
    return progress_frame(counts, first_starts(connection, under_way(counts)), now)


def timings_frames(connection: Connection, filters: Filters) -> Iterator[pd.DataFrame]:
    """Yield the timings table in parts, the single-pass variant of ``write_timings``."""
    texts = chain(reports.loop_metadata(connection, filters), reports.leaf_metadata(connection, filters))
    columns = timings.parameter_columns(parameter_keys(texts))
    hosts = reports.worker_hosts(connection)
    return timings.timings_frames(reports.finished_attempts(connection, filters), columns, hosts)


def write_timings(connection: Connection, filters: Filters, path: Path | None) -> pd.DataFrame:
    """Write the timings table in chunks (skipped if the path is None), and return the summary by task type."""
    with garbage_collection_disabled():
        return _write_timings(connection, filters, path)


@contextmanager
def garbage_collection_disabled() -> Iterator[None]:
    """Pause the search for reference cycles: among millions of rows it finds none, and takes a quarter of the CPU time.

    Reference counting frees all other objects as usual.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _write_timings(connection: Connection, filters: Filters, path: Path | None) -> pd.DataFrame:
    hosts = reports.worker_hosts(connection)
    keys = parameter_keys(reports.loop_metadata(connection, filters))
    while True:
        summary = timings.TimingsSummary()
        rows = reports.finished_attempts(connection, filters)
        frames = summary.watch(timings.timings_frames(rows, timings.parameter_columns(keys), hosts))
        try:
            _write_rest(frames, path)
            return summary.frame()
        except UnknownParametersError as error:
            # Tasks that another program wrote into the database may have loop values outside any loop.
            keys.extend(error.keys)


def _write_rest(frames: Iterator[pd.DataFrame], path: Path | None) -> None:
    if path is not None:
        write_table(frames, path)
    else:
        deque(frames, maxlen=0)


def pass_fail(connection: Connection, filters: Filters) -> Iterator[pd.DataFrame]:
    """Yield the pass-fail table in parts."""
    columns = outcomes.layout(reports.outcomes(connection, filters))
    return outcomes.pass_fail_frames(reports.outcomes(connection, filters), columns)


def write_errors(connection: Connection, filters: Filters, path: Path | None) -> pd.DataFrame:
    """Write the errors table (skipped if the path is None), and return the errors grouped by last line."""
    groups = errors.ErrorGroups()
    _write_rest(groups.watch(error_frames(connection, filters)), path)
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
    """Yield the errors table in parts: logged errors, then failures without a log."""
    rows = chain(
        reports.logged_errors(connection, filters),
        reports.unlogged_failures(connection, filters),
        reports.unattempted_failures(connection, filters),
    )
    return errors.error_frames(rows, reports.worker_hosts(connection))


def job_tree(
    connection: Connection, filters: Filters, depth: int, *, running_only: bool = False
) -> list[tree.TreeNode]:
    """Return the jobs' trees down to ``depth`` (the job has 0), equal siblings merged."""
    jobs = reports.job_rows(connection, filters)
    links = tree.read_links(packed_tree.task_links(connection, [job.id for job in jobs]))
    only = None
    if filters.task_type is not None or filters.job_name is not None:
        only = np.isin(links.ids, np.fromiter(live.matching_tasks(connection, filters), np.int64))
    with garbage_collection_disabled():
        roots = tree.build(
            links,
            tree.fitting_depth(links, depth),
            lambda ids: live.task_labels(connection, ids),
            only=only,
            running_only=running_only,
        )
    found = live.root_jobs(connection, [root.task_id for root in roots])
    return tree.collapse(tree.job_roots(roots, found))


def queues(connection: Connection, filters: Filters, now: float, lease: float) -> pd.DataFrame:
    """Return the queues' table; ``lease`` of workers [s]."""
    served = service_warnings.living_workers(connection, now, lease)
    return live_tables.queue_frame(live.queues(connection, filters, now), served, now)


def workers(connection: Connection, filters: Filters, now: float) -> pd.DataFrame:
    """Return the workers' table."""
    return live_tables.worker_frame(live.workers(connection, filters), live.running_attempts(connection), now)


def timeline(connection: Connection, filters: Filters, now: float) -> Iterator[pd.DataFrame]:
    """Yield the timeline's table in parts: first an empty one."""
    hosts = reports.worker_hosts(connection)
    yield live_tables.timeline_frame([], hosts, now)
    for rows in live.worker_activity(connection, filters):
        yield live_tables.timeline_frame(rows, hosts, now)
