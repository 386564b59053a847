"""The progress table in the Prefect UI: at most a minute old while it changes and a supervisor runs."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import UUID

import pandas as pd
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate

from eas.plain_text import markdown as escaped
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import reports, service_warnings
from flows.artifacts import artifact_key, table_rows
from flows.task_run_events import flow_run_id
from reports import assemble
from reports.progress import STATES

LOG = logging.getLogger("eas.flows")

UPDATE_INTERVAL = 45.0
"""Poll interval [s]: together with the duration of the query, the table is less than a minute old."""
KEY = artifact_key("report-progress-table")


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table, newest jobs first, without states that have no tasks."""
    empty = [state for state in STATES if not frame[state].any()]
    return frame.drop(columns=empty).sort_values("job_id", ascending=False, kind="stable")


def description(warnings: Sequence[str]) -> str:
    """Return the text above the table: warnings first."""
    found = "".join(f"WARNING: {escaped(each)}. " for each in warnings)
    return f"{found}Tasks of each job and type by state, the newest jobs first."


class ProgressTable:
    """One artifact that is updated in place, so that Prefect's database does not grow with time."""

    def __init__(self, database: TaskDatabase, lease: float) -> None:
        self.database = database
        self.lease = lease
        self._artifact: UUID | None = None
        self._shown: tuple[str, str] | None = None

    def look(self) -> bool:
        """Publish the table if it has changed; return whether it has."""
        now = self.database.now()
        with reports.snapshot(self.database) as connection:
            frame = assemble.progress(connection, reports.Filters(), now)
            warnings = service_warnings.warnings(connection, now, self.lease)
        rows, more = table_rows(readable(frame))
        news = json.dumps(rows), description(warnings) + more
        if news == self._shown:
            return False
        self._publish(*news)
        self._shown = news
        return True

    def _publish(self, data: str, text: str) -> None:
        with get_client(sync_client=True) as client:
            if self._artifact is not None:
                client.update_artifact(self._artifact, ArtifactUpdate(data=data, description=text))
                return
            new: Any = ArtifactCreate(key=KEY, type="table", data=data, description=text, flow_run_id=flow_run_id())
            self._artifact = client.create_artifact(new).id


@contextmanager
def kept_up_to_date(table: ProgressTable, active: Callable[[], bool]) -> Iterator[None]:
    """Update the table periodically in a thread, while the block runs and ``active`` is true.

    Errors of the display must not affect the supervisor: they are logged.
    """
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(UPDATE_INTERVAL):
            try:
                if active():
                    table.look()
            except Exception as error:  # of Prefect's client: many kinds
                LOG.warning("the table of progress is not up to date: %s", error)

    # A new thread lacks the context of the flow run, to which the artifact must belong.
    thread = threading.Thread(target=copy_context().run, args=(watch,), name="progress table", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10.0)
