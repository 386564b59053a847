"""Full report on a task as plain data, for its web page, ``eas show`` and ``eas show --json``."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection

from eas.chains.paths import descriptor_at
from eas.model import CONTROL_TASKS
from eas.taskdb import jobs
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import task_details, waiting

LOG = 200
"""Log entries of one attempt that are part of the report."""

CHILDREN = 50


def task_report(connection: Connection, task_id: int, now: float, lease: float, *, level: int = 0) -> dict[str, Any]:
    """Return the report on a task as JSON data. Raises UnknownTaskError.

    Times are Unix times [s], ``lease`` is that of workers [s]; ``log`` has the first ``LOG`` entries of each attempt
    with at least ``level``.
    """
    task = task_details.get(connection, task_id)
    maker_labels = _Labels(connection)
    files = task_details.files(connection, task)
    maker_labels.read([file.maker_task_id for file in files])
    control = task.task_type in CONTROL_TASKS
    children = task_details.children(connection, task.id, limit=CHILDREN + 1) if control else []
    return {
        "id": task.id,
        "job": {"id": task.job_id, "name": task.job_name, "state": task.job_state},
        "task_type": task.task_type,
        "name": task.name,
        "label": task_details.label(task),
        "state": task.state,
        "reason": task.reason,
        "control": control,
        "address": task.address,
        "path": task.path,
        "working_directory": task.working_directory,
        "created_at": task.created_at,
        "ended_at": task.ended_at,
        "above": [_short(row) for row in task_details.ancestors(connection, task)],
        "waits_for": [each._asdict() for each in waiting.why_waiting(connection, task, now, lease)],
        "settings": json.loads(task.settings),
        "descriptor": descriptor_at(jobs.get(connection, task.job_id).chain, task.path),
        "metadata": json.loads(task.metadata),
        "output_metadata": task_details.output_metadata(connection, task),
        "inputs": [_file(file, maker_labels) for file in files if file.direction == "in"],
        "outputs": [_file(file, maker_labels) for file in files if file.direction == "out"],
        "attempts": [_attempt(connection, row, level) for row in task_details.attempts(connection, task.id)],
        "children": [_short(row) for row in children[:CHILDREN]],
        "more_children": len(children) > CHILDREN,
    }


class _Labels:
    """Labels and states of other tasks, read once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rows: dict[int, AnyRow] = {}

    def read(self, task_ids: list[int | None]) -> None:
        self.rows |= task_details.labels(self.connection, [each for each in task_ids if each is not None])

    def of(self, task_id: int | None) -> dict[str, Any] | None:
        return _short(self.rows[task_id]) if task_id is not None and task_id in self.rows else None


def _short(row: AnyRow) -> dict[str, Any]:
    return {"id": row.id, "job_id": row.job_id, "label": task_details.label(row), "state": row.state}


def _file(file: task_details.TaskFile, labels: _Labels) -> dict[str, Any]:
    version = file.version
    known = None
    if version is not None:
        known = {
            "id": version.id,
            "size": version.size,
            "sha256": version.sha256,
            "passed_qc": bool(version.passed_qc),
            "created_at": version.created_at,
        }
    return {
        "semantic": file.semantic,
        "product_id": file.product_id,
        "name": f"{file.working_directory}/{file.name}",
        "dynamic": file.dynamic,
        "version": known,
        "maker": labels.of(file.maker_task_id),
    }


def _attempt(connection: Connection, row: AnyRow, level: int) -> dict[str, Any]:
    log = task_details.log(connection, row.id, level=level, limit=LOG + 1)
    names = ("id", "number", "state", "queued_at", "claimed_at", "started_at", "ended_at", "worker_id", "host", "wall",
             "cpu", "cpu_children", "peak_memory", "qc_passed", "reason")  # fmt: skip
    return {
        **{name: getattr(row, name) for name in names},
        "checks": [
            {"name": name, "passed": passed, "detail": detail} for name, passed, detail in task_details.checks(row)
        ],
        "log": [log_entry(each) for each in log[:LOG]],
        "more_log": len(log) > LOG,
    }


def log_entry(row: AnyRow) -> dict[str, Any]:
    """Return a log entry as plain data."""
    names = ("id", "logged_at", "level", "logger", "message", "traceback")
    return {name: getattr(row, name) for name in names}
