"""What the report flows share: their parameters, where files go, and artifacts in the Prefect UI."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import pandas as pd
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import Field
from sqlalchemy import Connection

from eas.app import App
from eas.taskdb.reading import Filters, check, snapshot
from reports.filters import parse_since
from reports.tables import cell
from reports.write import dated_and_latest, publish_latest, write_bytes


def described(text: str, **limits: Any) -> Any:
    """Return a pydantic field whose description Prefect shows.

    It builds its form from the schema and drops the description of an annotation otherwise.
    """
    return Field(description=text, json_schema_extra={"description": text}, **limits)


JobName: TypeAlias = Annotated[str | None, described("Only tasks of jobs of this name.")]
TaskType: TypeAlias = Annotated[str | None, described("Only tasks of this type.")]
Since: TypeAlias = Annotated[
    str | None, described("Only what is newer: a UTC time (2026-11-22T08:30) or an age (90min, 12h, 7d).")
]

MOST_ROWS = 500
"""Rows of a table artifact: the whole table is in the CSV file."""


@dataclass
class Report:
    """A report in the making.

    Attributes
    ----------
    connection:
        A snapshot of the task database.
    name:
        What files and artifacts are called: the report, and the filters where there are any.
    now:
        When the report was begun [Unix time, s].
    """

    connection: Connection
    filters: Filters
    folder: Path
    name: str
    now: float

    def paths(self, part: str = "", suffix: str = ".csv") -> tuple[Path, Path]:
        """Return the dated and the latest path of a file, ``part`` telling it from others of this report."""
        return dated_and_latest(self.folder, f"{self.name}_{part}" if part else self.name, suffix, self.now)

    def finish(self, dated: Path, latest: Path) -> Path:
        """Make the latest file from the dated one."""
        get_run_logger().info("wrote %s and %s", dated, latest)
        return publish_latest(dated, latest)

    def publish_table(self, frame: pd.DataFrame, description: str) -> None:
        """Publish a table as an artifact, whose key is always the same."""
        shown = frame.head(MOST_ROWS)
        names = [str(name) for name in shown.columns]
        rows = [dict(zip(names, map(cell, row), strict=True)) for row in shown.itertuples(index=False)]
        if len(frame) > len(shown):
            description += f" The first {len(shown)} of {len(frame)} rows."
        create_table_artifact(rows, key=self._key("table"), description=description)

    def publish_text(self, text: str, pictures: Mapping[str, bytes] | None = None) -> None:
        """Publish markdown with pictures in it as an artifact, and write the pictures beside the tables."""
        parts = [text]
        for name, picture in (pictures or {}).items():
            dated, latest = self.paths(name, ".png")
            write_bytes(dated, picture)
            self.finish(dated, latest)
            parts.append(f"![{name}](data:image/png;base64,{base64.b64encode(picture).decode()})")
        create_markdown_artifact("\n\n".join(parts), key=self._key("text"))

    def _key(self, kind: str) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"report-{self.name}-{kind}".lower()).strip("-")


@contextmanager
def report(name: str, job_name: str | None, task_type: str | None, since: str | None) -> Iterator[Report]:
    """Open a snapshot of the task database for a report; an empty filter means none."""
    now = time.time()
    filters = Filters(None, job_name or None, task_type or None, parse_since(since, now))
    # A filtered report must not take the place of the whole one.
    given = [name, *(re.sub(r"[^A-Za-z0-9.-]+", "_", each) for each in (job_name, task_type, since) if each)]
    with App.load() as app, snapshot(app.database) as connection:
        check(connection, filters)
        yield Report(connection, filters, app.settings.reports_directory, "_".join(given), now)
