"""All reports of one job as files, written when it has ended."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection

from eas.model import FOR_LOOP
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import reports
from reports import assemble, outcomes
from reports.columns import base_name
from reports.files import write_bytes, write_csv
from reports.units import parameter_units

MAX_PICTURES = 3
"""Maximum number of swept parameters, and of pairs of them, with a picture."""


def write_job_reports(database: TaskDatabase, job_id: int, folder: Path) -> list[Path]:
    """Write ``progress.csv``, ``timings.csv`` and, if searches had outcomes, ``pass_fail.csv`` and pictures.

    Returns the paths. Reads one snapshot of the task database; changes nothing there.
    """
    filters = reports.Filters(job_id=job_id)
    now = database.now()
    with reports.snapshot(database) as connection:
        reports.check(connection, filters)
        job = reports.job_rows(connection, filters)[0]
        paths = [write_csv(assemble.progress(connection, filters, now), folder / "progress.csv")]
        assemble.write_timings(connection, filters, folder / "timings.csv")
        paths.append(folder / "timings.csv")
        table = pd.concat(assemble.pass_fail(connection, filters), ignore_index=True)
        units = parameter_units(reports.chains(connection, [job_id])[job_id])
    if len(table):
        paths.append(write_csv(table, folder / "pass_fail.csv"))
        for name, picture in outcome_pictures(table, f"{job.name} (job {job_id})", units):
            paths.append(write_bytes(folder / f"{name}.png", picture))
    return paths


def outcome_pictures(table: pd.DataFrame, title: str, units: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield pictures of a pass-fail table, each with a file name: by swept parameter, by pairs of two.

    ``units``: units of parameters, by name.
    """
    from reports import pictures

    parameters = outcomes.varied_parameters(table)
    for parameter in parameters[:MAX_PICTURES]:
        yield f"outcome_by_{_file_name([parameter])}", pictures.outcome_picture(table, parameter, title, units)
    pairs = (pair for pair in itertools.combinations(parameters, 2) if len(table.dropna(subset=list(pair))))
    for vertical, horizontal in itertools.islice(pairs, MAX_PICTURES):
        name = f"detection_rate_by_{_file_name([vertical, horizontal])}"
        yield name, pictures.detection_picture(table, vertical, horizontal, f"{title}: detection rate", units)


def pictures_by_job(connection: Connection, table: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of the newest ``MAX_PICTURES`` jobs in a pass-fail table: each job has its own sweeps."""
    chosen = sorted(map(int, table["job_id"].unique()), reverse=True)[:MAX_PICTURES]
    chains = reports.chains(connection, chosen)
    for job_id in chosen:
        of_job = table[table["job_id"] == job_id]
        title = f"{of_job['job_name'].iloc[0]} (job {job_id})"
        for name, picture in outcome_pictures(of_job, title, parameter_units(chains[job_id])):
            yield f"job_{job_id}_{name}", picture


def _file_name(columns: Sequence[str]) -> str:
    return "_and_".join(re.sub(r"[^A-Za-z0-9_-]+", "_", base_name(column))[:60] for column in columns)


def preload(chain: str) -> threading.Thread:
    """Import the libraries for the reports of a chain (JSON) while the command waits for the job."""

    def load() -> Any:
        # A chain without loops has no swept parameters, so no pictures.
        if FOR_LOOP in chain:
            from reports import pictures

            pictures.new_figure(1, 1)

    thread = threading.Thread(target=load, name="preload-reports", daemon=True)
    thread.start()
    return thread
