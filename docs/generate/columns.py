"""Generate the page about columns of CSV files from the reports."""

from __future__ import annotations

from collections.abc import Iterable

from docs.generate.markdown import NOTE, cell
from reports import errors, live_tables, outcomes, progress, timings
from reports.columns import UNITS

PARAMETERS = "*loop parameters*"
RESULTS = "*numeric output metadata*"
TABLES: tuple[tuple[str, str, Iterable[str]], ...] = (
    ("eas report progress", "progress.csv", progress.COLUMNS),
    ("eas report timings", "timings.csv", (*timings.FIRST_COLUMNS, PARAMETERS, *timings.LAST_COLUMNS)),
    (
        "eas report pass-fail",
        "pass_fail.csv",
        (*outcomes.FIRST_COLUMNS[:5], PARAMETERS, *outcomes.FIRST_COLUMNS[5:], RESULTS),
    ),
    ("eas report errors", "", errors.COLUMNS),
    ("eas report errors --grouped", "", errors.GROUP_COLUMNS),
    ("eas report queue", "", live_tables.QUEUE_COLUMNS),
    ("eas report workers", "", live_tables.WORKER_COLUMNS),
    ("eas report timeline", "", live_tables.TIMELINE_COLUMNS),
)
"""Command, file that `eas run` writes, and columns of each table."""
MEANINGS = {
    "attempt_id": "id of the scheduling attempt", "attempt_number": "1 for the first attempt of a task",
    "count": "errors with this last line", "cpu": "CPU time of the task's process",
    "cpu_with_children": "the same, including its child processes", "cpus": "CPUs that the worker may use",
    "done": "tasks or attempts that are done", "due": "queued attempts that may start now",
    "end_time": "end, since the first start of the table", "ended": "end; of a stalled attempt when it was marked",
    "failed": "tasks or attempts that failed", "first": "time of the first such error",
    "heartbeat": "last heartbeat", "heartbeat_age": "time since the last heartbeat",
    "held_back": "not due yet, or withdrawn from the queue", "host": "machine of the worker",
    "job_id": "id of the job", "job_name": "name of the job", "last": "time of the last such error",
    "last_attempt_id": "attempt of the last such error", "last_line": "last line of message or traceback",
    "level": "DEBUG to CRITICAL", "logger": "name of the logger", "message": "text of the entry",
    "oldest": "queueing time of the oldest waiting attempt",
    "oldest_age": "how long the oldest attempt has waited",
    "outcome": "PASS, FAIL or UNDEFINED", "passed": "1 for PASS, 0 for FAIL, empty for UNDEFINED",
    "paused": "time of the pause; empty if not paused", "peak_memory": "largest memory of the task's process",
    "percent_done": "percentage of tasks that are done", "pid": "process id",
    "qc": "passed, failed, or empty: QC did not run",
    "queued": "queueing time; in the reports on progress and queues: number of queued tasks",
    "reason": "why the worker ended",
    "running": "number of running tasks; in the report on workers: types of the running tasks",
    "running_for": "how long the task has been running",
    "running_task_id": "task that the worker runs", "stalled": "tasks or attempts whose workers were lost",
    "start_time": "start, since the first start of the table", "started": "start on a worker",
    "state": "[state](states.md)", "task_id": "id of the task", "task_type": "type of the task",
    "task_types": "types of the tasks with this error", "time": "time of the entry",
    "time_left": "unfinished tasks divided by the rate of ended ones; empty until a task has ended",
    "total": "all tasks", "traceback": "traceback, if any", "wait": "from queued to started",
    "waiting": "tasks that wait for dependencies", "blocked": "tasks with a dependency that can never complete",
    "cancelled": "tasks of cancelled jobs", "wall_clock": "from started to ended", "worker": "id of the worker",
    "worker_type": "worker type that runs these tasks", "worker_types": "worker types that this worker serves",
    "workers_alive": "workers that serve this queue",
    PARAMETERS: "a column for each loop parameter, and for the index of each do-while loop",
    RESULTS: "a column for each numeric result",
}  # fmt: skip
"""Meanings of the columns, by name without unit."""


def page() -> str:
    """Return the page about the columns of all reports."""
    lines = [
        "# Columns of CSV files",
        "",
        NOTE,
        "",
        "The header of a column has its unit in brackets; `[UTC]` marks times in ISO 8601. [Reports](reports.md)",
        "describes the file format and the meaning of the numbers.",
    ]
    for command, file, columns in TABLES:
        lines += ["", f"## {command}", ""]
        if file:
            lines += [f"`eas run` writes this table to `{file}`.", ""]
        lines += ["| column | meaning |", "|---|---|"]
        lines += [f"| {name if name[0] == '*' else f'`{name}`'} | {meaning(name)} |" for name in columns]
    lines += ["", "## Units of parameters and results", "", "| name | unit |", "|---|---|"]
    lines += [f"| `{name}` | {cell(unit)} |" for name, unit in sorted(UNITS.items())]
    return "\n".join(lines) + "\n"


def meaning(column: str) -> str:
    """Return the meaning of a column. Raises KeyError if it has none."""
    return MEANINGS[column.partition(" [")[0]]
