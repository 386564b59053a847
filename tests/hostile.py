"""A task database in which every text that a user can set tries to be more than text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from eas import registry
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise

HOSTILE_TEXT = "<script>alert(1)</script><img src=x onerror=alert(2)> **[x](javascript:alert(3))** \x1b[31mred \x9b2J \u202edrow\u2069 \x00 \" ' & {{7*7}} </pre>"  # noqa: E501
"""HTML, Markdown, escape sequences, marks of direction, NUL, quotes, a template."""
FORBIDDEN = "\x00\x1b\x9b\u202e\u2069"
"""Characters of it that must not reach a terminal or a page."""


def hostile(field: str) -> str:
    """Return the hostile text for a field, so that it can be recognised."""
    return f"{field} {HOSTILE_TEXT}"


def fill(connection: Connection) -> None:
    """Write a failed job with a done, a failed and a waiting task, their files, log and worker."""

    def add(table: Any, **row: Any) -> None:
        connection.execute(insert(table).values(row))

    add(tables.hosts, id=1, name=hostile("host"), cpus=1, memory=1.0)
    add(tables.workers, id="w", host_id=1, machine=hostile("machine")[:160], pid=1, process_started=0.0, cpus=1,
        worker_types=json.dumps([hostile("type")]), state="lost", started_at=1.0, heartbeat_at=2.0, ended_at=3.0,
        reason=hostile("worker reason"))  # fmt: skip
    chain = {
        "job_name": hostile("job"),
        "task_list": [{"task": "null", hostile("key"): hostile("value")}] * 3,
    }
    add(tables.jobs, id=1, name=hostile("job"), working_directory=hostile("dir"), state="running",
        chain=json.dumps(chain),
        source=hostile("source"), seed=hostile("seed")[:80], if_exists="fail", retries=0, backoff=1.0, priority=0,
        submitted_at=1e9, started_at=1e9, driver=hostile("driver")[:80], driver_seen_at=4e9)  # fmt: skip
    for number, state in ((1, "running"), (2, "done"), (3, "failed"), (4, "waiting")):
        _task(add, number, state)
    for number, state in ((1, "done"), (2, "failed")):
        _attempt(add, number, state)


def _task(add: Any, number: int, state: str) -> None:
    loop = hostile("loop")
    metadata = {
        loop: hostile("loop value"),
        f"{loop}_index": 0,
        hostile("metadata"): hostile("metadata value"),
    }
    add(tables.tasks, id=number, job_id=1, parent_id=None if number == 1 else 1, ordinal=number,
        address=str(number), path=f"task_list[{number - 2}]", task_type="execution_chain" if number == 1 else "null",
        name=hostile("name"), job_name=hostile("job"), working_directory=hostile("dir"), state=state,
        metadata=json.dumps(metadata), settings=json.dumps({hostile("setting"): hostile("setting value")}),
        requires=json.dumps([hostile("requires")] if state == "waiting" else []), pending=False, retries_left=0,
        stalls_left=0, accepted_attempt_id=1 if number == 2 else None, reason=hostile("reason"), created_at=1e9,
        ended_at=1e9)  # fmt: skip
    if number == 1:
        return
    add(tables.products, id=number, working_directory=hostile("dir"), name=hostile(f"file {number}"), key=str(number),
        current_version_id=1 if number == 2 else None)  # fmt: skip
    add(tables.task_products, task_id=number, direction="out", semantic=hostile("out")[:80], product_id=number)
    add(tables.task_products, task_id=number, direction="in", semantic=hostile("in")[:80],
        product_id=max(2, number - 1))  # fmt: skip


def _attempt(add: Any, number: int, state: str) -> None:
    add(tables.attempts, id=number, task_id=number + 1, job_id=1, number=1, task_type="null", state=state, priority=0,
        available_at=0.0, queued_at=1e9, worker_id="w", claimed_at=1e9, ended_at=1e9)  # fmt: skip
    add(tables.attempt_results, attempt_id=number, started_at=1e9, ended_at=1e9, wall=1.0, cpu=1.0, cpu_children=1.0,
        peak_memory=1.0, qc_passed=state == "done", checks=json.dumps([[hostile("check"), False, hostile("detail")]]),
        output_metadata=json.dumps({"outcome": hostile("outcome"), hostile("output"): hostile("output value")}),
        reason=hostile("attempt reason"))  # fmt: skip
    add(tables.log_entries, attempt_id=number, job_id=1, logged_at=1e9, level=30 + 10 * (number - 1),
        logger=hostile("logger"), message=hostile("message"), traceback=hostile("traceback"))  # fmt: skip
    if state == "done":
        add(tables.product_versions, id=1, product_id=2, attempt_id=1, semantic=hostile("out")[:80],
            store_path="../../../etc/passwd", size=5, sha256="0" * 64, passed_qc=True, created_at=1e9)  # fmt: skip


def make(folder: Path) -> TaskDatabase:
    """Return a new task database in ``folder`` with hostile texts."""
    database = TaskDatabase(f"sqlite:///{folder}/eas.sqlite")
    initialise(database, registry.load())
    with database.write() as connection:
        fill(connection)
    return database
