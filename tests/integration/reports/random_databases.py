"""Task databases with whatever can be in them, for tests of the reports."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Connection, insert

from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase

TYPES = ["null", "verify", "transit_search_tls"]
TASK_STATES = ["waiting", "queued", "running", "done", "failed", "stalled", "blocked", "cancelled"]
ENDINGS = ["done", "failed", "stalled", "cancelled"]
NAMES = ["size", "host", "task_id", "wall_clock", "outcome", "Period", 'odd "name"\n, ', "state", "ü"]
TEXTS = st.sampled_from(["", "oh", 'he said "no"', "two\nlines", "a,b", "\r\n", "\0", "é", "x" * 300])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(), TEXTS)
OUTPUTS = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"outcome": st.sampled_from(["PASS", "FAIL", "UNDEFINED", None, 3])},
        optional=dict.fromkeys(["period", "job_name", "size", "passed", "power"], VALUES),
    ),
)
ATTEMPTS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(ENDINGS),
        "started": st.booleans(),
        "wall": st.floats(0, 1e5),
        "output": OUTPUTS,
        "log": st.lists(st.tuples(st.sampled_from([20, 30, 40, 50]), TEXTS, st.none() | TEXTS), max_size=2),
    }
)
LEAVES = st.fixed_dictionaries(
    {
        "type": st.sampled_from([*TYPES, None]),
        "state": st.sampled_from(TASK_STATES),
        "attempts": st.lists(ATTEMPTS, max_size=3),
        "open": st.sampled_from([None, None, "queued", "running"]),
        "reason": st.none() | TEXTS,
    }
)
LOOPS = st.fixed_dictionaries(
    {
        "parameter": st.sampled_from(NAMES),
        "while": st.booleans(),
        "iterations": st.lists(st.tuples(VALUES, st.lists(LEAVES, max_size=2)), max_size=3),
    }
)
JOBS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["sweep", "ü,\n", "other"]),
            "state": st.sampled_from(["submitted", "running", "done", "failed", "cancelled"]),
            "loops": st.lists(LOOPS, max_size=2),
        }
    ),
    max_size=3,
)


class Filler:
    """Writes drawn jobs into an empty task database."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tasks = self.attempts = 0
        self.clock = 1_000_000.0

    def fill(self, jobs: list[dict[str, Any]]) -> None:
        for name in [*TYPES, "execution_chain", "execution_for_loop", "execution_do_while_loop"]:
            self.add(tables.task_types, name=name, worker_type=None, control=name.startswith("execution"))
        self.add(tables.hosts, id=1, name="node, one", cpus=1, memory=1.0)
        self.add(tables.workers, id="w", host_id=1, machine="m", pid=1, process_started=0.0, worker_types="[]", cpus=1,
                 state="alive", started_at=0.0, heartbeat_at=0.0)  # fmt: skip
        for job_id, job in enumerate(jobs, 1):
            self.job(job_id, job)

    def add(self, table: Any, **row: Any) -> None:
        self.connection.execute(insert(table).values(row))

    def job(self, job_id: int, job: dict[str, Any]) -> None:
        self.add(tables.jobs, id=job_id, name=job["name"], working_directory="w", state=job["state"], chain="{}",
                 source="s", seed="0", if_exists="fail", retries=0, backoff=1.0, priority=0, submitted_at=self.clock,
                 started_at=self.clock)  # fmt: skip
        root = self.task(job_id, job["name"], None, 0, "execution_chain", "running", {})
        for ordinal, loop in enumerate(job["loops"]):
            kind = "execution_do_while_loop" if loop["while"] else "execution_for_loop"
            above = self.task(job_id, job["name"], root, ordinal, kind, "running", {})
            for index, (value, leaves) in enumerate(loop["iterations"]):
                metadata = {f"{loop['parameter']}_index": index} | ({} if loop["while"] else {loop["parameter"]: value})
                chain = self.task(job_id, job["name"], above, index, "execution_chain", "done", metadata)
                for place, leaf in enumerate(leaves):
                    self.leaf(job_id, job["name"], chain, place, leaf, metadata)

    def task(self, job_id: int, job_name: str, parent: int | None, ordinal: int, kind: str | None, state: str,
             metadata: dict[str, Any], **more: Any) -> int:  # fmt: skip
        self.tasks += 1
        self.add(tables.tasks, **{
            "id": self.tasks, "job_id": job_id, "parent_id": parent, "ordinal": ordinal, "address": str(self.tasks),
            "path": "p", "task_type": kind, "name": None, "job_name": job_name, "working_directory": "w",
            "state": state, "metadata": json.dumps(metadata), "settings": "{}", "requires": "[]", "pending": False,
            "retries_left": 0, "stalls_left": 0, "created_at": self.clock, "ended_at": self.clock,
        } | more)  # fmt: skip
        return self.tasks

    def leaf(self, job_id: int, job_name: str, parent: int, place: int, leaf: dict[str, Any], metadata: Any) -> None:
        accepted = None
        first = self.attempts + 1
        for attempt in leaf["attempts"] if leaf["type"] else []:
            self.attempts += 1
            if attempt["state"] == "done" and attempt["started"]:
                accepted = self.attempts
        more = {"reason": leaf["reason"], "accepted_attempt_id": accepted}
        task = self.task(job_id, job_name, parent, place, leaf["type"], leaf["state"], metadata, **more)
        self.attempts = first - 1
        for number, attempt in enumerate(leaf["attempts"] if leaf["type"] else [], 1):
            self.attempt(job_id, task, leaf["type"], number, attempt)
        if leaf["open"] and leaf["type"]:
            self.attempts += 1
            self.attempt_row(job_id, task, leaf["type"], 99, leaf["open"], leaf["open"] == "running")

    def attempt_row(self, job_id: int, task: int, kind: str, number: int, state: str, started: bool) -> None:
        self.clock += 10.0
        self.add(tables.attempts, id=self.attempts, task_id=task, job_id=job_id, number=number, task_type=kind,
                 state=state, priority=0, available_at=0.0, queued_at=self.clock,
                 worker_id="w" if started else None, claimed_at=self.clock + 1 if started else None,
                 ended_at=self.clock + 2 if state in ENDINGS else None)  # fmt: skip

    def attempt(self, job_id: int, task: int, kind: str, number: int, attempt: dict[str, Any]) -> None:
        self.attempts += 1
        self.attempt_row(job_id, task, kind, number, attempt["state"], attempt["started"])
        if attempt["started"]:
            self.add(tables.attempt_results, attempt_id=self.attempts, started_at=self.clock + 1,
                     ended_at=self.clock + 1 + attempt["wall"], wall=attempt["wall"], cpu=0.5, cpu_children=0.5,
                     peak_memory=1.0, qc_passed=None, checks="[]", output_metadata=json.dumps(attempt["output"]),
                     reason="it failed")  # fmt: skip
        for level, message, traceback in attempt["log"]:
            self.add(tables.log_entries, attempt_id=self.attempts, job_id=job_id, logged_at=self.clock, level=level,
                     logger="l", message=message, traceback=traceback)  # fmt: skip


def make(jobs: list[dict[str, Any]], folder: Path) -> TaskDatabase:
    """Return a new task database in ``folder``, filled with drawn jobs."""
    database = TaskDatabase(f"sqlite:///{folder / uuid.uuid4().hex}.sqlite")
    with database.write() as connection:
        tables.metadata.create_all(connection)
        Filler(connection).fill(jobs)
    return database
