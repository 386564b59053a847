"""What must be true at the end, whatever happened: ``python -m tests.chaos.checker < request.json``.

It shares no code with the product: plain SQL by sqlite3 or PyMySQL, and hashlib. The request names the database
(``sqlite``: a path, or ``mysql``: the arguments of ``pymysql.connect``), the folder of the file store, and the leaf
tasks, by type, that the chains of the jobs have together. It prints what is lost or doubled, a line each.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pymysql

ENDED = ("done", "failed", "stalled")
"""States of attempts that have a result."""


class Database:
    """Runs SQL; rows are tuples."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.connection: Any = (
            sqlite3.connect(request["sqlite"]) if "sqlite" in request else pymysql.connect(**request["mysql"])
        )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        cursor = self.connection.cursor()
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]


def jobs_and_tasks(database: Database, expected: Mapping[str, int]) -> Iterator[str]:
    """Find jobs and tasks that are not done, or that are too few or too many."""
    for job, state in database.rows("SELECT id, state FROM jobs WHERE state <> 'done'"):
        yield f"lost: job {job} is {state}"
    for task, kind, state, reason in database.rows(
        "SELECT id, task_type, state, reason FROM tasks WHERE state <> 'done'"
    ):
        yield f"lost: task {task} ({kind}) is {state}: {reason}"
    leaves = "SELECT task_type, COUNT(*) FROM tasks WHERE task_type NOT LIKE 'execution%' GROUP BY task_type"
    found = dict(database.rows(leaves))
    for kind in sorted({*found, *expected}):
        has, wanted = found.get(kind, 0), expected.get(kind, 0)
        if has != wanted:
            yield f"{'lost' if has < wanted else 'doubled'}: {has} tasks of type {kind}, and the chains have {wanted}"


def attempts(database: Database) -> Iterator[str]:
    """Find tasks without exactly one accepted attempt, and attempts that are open or have no result, or two."""
    done = Counter(task for (task,) in database.rows("SELECT task_id FROM attempts WHERE state = 'done'"))
    owner = dict(database.rows("SELECT id, task_id FROM attempts WHERE state = 'done'"))
    for task, accepted, kind in database.rows("SELECT id, accepted_attempt_id, task_type FROM tasks"):
        if kind is None or kind.startswith("execution"):
            continue
        if done[task] != 1:
            yield f"{'lost' if done[task] < 1 else 'doubled'}: task {task} has {done[task]} accepted results"
        if owner.get(accepted) != task:
            yield f"lost: task {task} names attempt {accepted} as accepted, which is not a done one of its own"
    for attempt, state in database.rows("SELECT id, state FROM attempts WHERE state IN ('queued', 'running')"):
        yield f"lost: attempt {attempt} is left {state}"
    results = Counter(attempt for (attempt,) in database.rows("SELECT attempt_id FROM attempt_results"))
    for attempt, state in database.rows("SELECT id, state FROM attempts"):
        if state in ENDED and results[attempt] != 1:
            yield f"lost: attempt {attempt} is {state} with {results[attempt]} results"


def files(database: Database, store: Path) -> Iterator[str]:
    """Find versions and products that are not what SQL has recorded."""
    versions = database.rows(
        "SELECT id, product_id, attempt_id, store_path, size, sha256, passed_qc FROM product_versions"
    )
    recorded = {row[0]: row for row in versions}
    for number, _, attempt, where, size, digest, _ in versions:
        if (fault := _differs(store / where, digest, size)) is not None:
            yield f"lost: version {number} of attempt {attempt}: {where} {fault}"
    accepted = dict(database.rows("SELECT id, accepted_attempt_id FROM tasks"))
    makers = dict(database.rows("SELECT product_id, task_id FROM task_products WHERE direction = 'out'"))
    good = Counter(row[1] for row in versions if row[6] and row[2] == accepted.get(makers.get(row[1])))
    products = database.rows("SELECT id, working_directory, name, current_version_id FROM products")
    for product, directory, name, current in products:
        where = f"{directory}/{name}"
        if good[product] != 1:
            yield f"{'lost' if good[product] < 1 else 'doubled'}: {where} has {good[product]} accepted versions"
        elif current not in recorded or recorded[current][2] != accepted[makers[product]]:
            yield f"lost: the current version of {where} is {current}, which is not of the accepted attempt"
        elif (fault := _differs(store / where, recorded[current][5], recorded[current][4])) is not None:
            yield f"lost: {where} {fault}"


def _differs(path: Path, digest: str, size: int) -> str | None:
    if not path.is_file():
        return "is not there"
    content = path.read_bytes()
    if len(content) != size:
        return f"has {len(content)} bytes, not {size}"
    return None if hashlib.sha256(content).hexdigest() == digest else "has another checksum"


def main() -> int:
    """Check what the request on standard input names; 0 if nothing is lost or doubled."""
    request = json.load(sys.stdin)
    database = Database(request)
    found = [
        *jobs_and_tasks(database, request["tasks"]),
        *attempts(database),
        *files(database, Path(request["store"])),
    ]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
