"""Shared by the report flows: paths of files, and artifacts in the Prefect UI."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from sqlalchemy import Connection

from eas.settings import Settings
from eas.taskdb.queries.reports import Filters, check, snapshot
from flows.artifacts import artifact_key, publish_table
from flows.artifacts import picture as shown
from flows.parameters import open_app
from reports.files import dated_and_latest, publish_latest, write_bytes
from reports.filters import parse_since


@dataclass
class Report:
    """Writes the files and artifacts of one report.

    Attributes
    ----------
    connection:
        A snapshot of the task database.
    name:
        Name of files and artifacts: the report's name, with the filters if there are any.
    now:
        Start of the report by the clock of the task database [Unix time, s].
    """

    connection: Connection
    filters: Filters
    folder: Path
    name: str
    now: float
    settings: Settings

    def paths(self, part: str = "", suffix: str = ".csv") -> tuple[Path, Path]:
        """Return the dated and the latest path of a file, ``part`` distinguishes it from others of this report."""
        return dated_and_latest(self.folder, f"{self.name}_{part}" if part else self.name, suffix, self.now)

    def finish(self, dated: Path, latest: Path) -> Path:
        """Copy the dated file to the latest one."""
        get_run_logger().info("wrote %s and %s", dated, latest)
        return publish_latest(dated, latest)

    def publish_table(self, frame: pd.DataFrame, description: str, part: str = "") -> None:
        """Publish a table as an artifact, ``part`` distinguishes it from others of this report."""
        publish_table(frame, self._key(part, "table"), description)

    def publish_text(self, text: str, pictures: Mapping[str, bytes] | None = None) -> None:
        """Publish markdown with pictures in it as an artifact, and write the pictures beside the tables."""
        parts = [text]
        for name, picture in (pictures or {}).items():
            dated, latest = self.paths(name, ".png")
            write_bytes(dated, picture)
            self.finish(dated, latest)
            parts.append(shown(name, picture))
        create_markdown_artifact("\n\n".join(parts), key=artifact_key(self._key("", "text")))

    def _key(self, part: str, kind: str) -> str:
        return "-".join(each for each in ("report", self.name, part, kind) if each)


@contextmanager
def report(
    name: str, job_name: str | None, task_type: str | None, since: str | None, blocks: str | None = None
) -> Iterator[Report]:
    """Open a snapshot of the task database for a report; an empty filter means none."""
    # A filtered report must not overwrite the complete one.
    given = [name, *(re.sub(r"[^A-Za-z0-9.-]+", "_", each) for each in (job_name, task_type, since) if each)]
    with open_app(blocks) as app:
        now = app.database.now()
        filters = Filters(None, job_name or None, task_type or None, parse_since(since, now))
        with snapshot(app.database) as connection:
            check(connection, filters)
            yield Report(connection, filters, app.settings.reports_directory, "_".join(given), now, app.settings)
