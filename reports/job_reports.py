"""All reports of one job as files, written when it has ended."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eas.taskdb import reading
from eas.taskdb.engine import TaskDatabase
from reports import assemble, outcomes
from reports.columns import base_name
from reports.write import write_bytes, write_csv

MOST_PICTURES = 3
"""Swept parameters, and pairs of them, that get a picture each."""


def write_job_reports(database: TaskDatabase, job_id: int, folder: Path) -> list[Path]:
    """Write ``progress.csv``, ``timings.csv`` and, where searches had outcomes, ``pass_fail.csv`` and pictures.

    Returns the paths. Reads one snapshot of the task database; changes nothing there.
    """
    filters = reading.Filters(job_id=job_id)
    with reading.snapshot(database) as connection:
        reading.check(connection, filters)
        job = reading.job_rows(connection, filters)[0]
        paths = [write_csv(assemble.progress(connection, filters, time.time()), folder / "progress.csv")]
        assemble.write_timings(connection, filters, folder / "timings.csv")
        paths.append(folder / "timings.csv")
        table = pd.concat(assemble.pass_fail(connection, filters), ignore_index=True)
    if len(table):
        paths.append(write_csv(table, folder / "pass_fail.csv"))
        for name, picture in outcome_pictures(table, f"{job.name} (job {job_id})"):
            paths.append(write_bytes(folder / f"{name}.png", picture))
    return paths


def outcome_pictures(table: pd.DataFrame, title: str) -> Iterator[tuple[str, bytes]]:
    """Yield pictures of a pass-fail table, each with a file name: by swept parameter, by pairs of two."""
    from reports import pictures

    parameters = outcomes.swept(table)
    for parameter in parameters[:MOST_PICTURES]:
        yield f"outcome_by_{_file_name([parameter])}", pictures.outcome_picture(table, parameter, title)
    pairs = (pair for pair in itertools.combinations(parameters, 2) if len(table.dropna(subset=list(pair))))
    for vertical, horizontal in itertools.islice(pairs, MOST_PICTURES):
        name = f"detection_rate_by_{_file_name([vertical, horizontal])}"
        yield name, pictures.detection_picture(table, vertical, horizontal, f"{title}: detection rate")


def pictures_by_job(table: pd.DataFrame, jobs: int = MOST_PICTURES) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of the newest ``jobs`` jobs in a pass-fail table: each job has sweeps of its own."""
    for job_id in sorted(table["job_id"].unique(), reverse=True)[:jobs]:
        of_job = table[table["job_id"] == job_id]
        title = f"{of_job['job_name'].iloc[0]} (job {job_id})"
        for name, picture in outcome_pictures(of_job, title):
            yield f"job_{job_id}_{name}", picture


def _file_name(columns: Sequence[str]) -> str:
    return "_and_".join(re.sub(r"[^A-Za-z0-9_-]+", "_", base_name(column))[:60] for column in columns)


def preload() -> threading.Thread:
    """Import what the reports need, in the background: a command that waits anyway loses no time to it."""

    def load() -> Any:
        from reports import pictures

        pictures.new_figure(1, 1)

    thread = threading.Thread(target=load, name="preload-reports", daemon=True)
    thread.start()
    return thread
