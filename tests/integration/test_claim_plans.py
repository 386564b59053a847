"""A claim reads the attempts that it is given by their ids, however many are queued."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from eas.registry import load
from eas.taskdb import attempt_claims
from eas.taskdb.attempt_claims import LockedAttempt
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise


@pytest.mark.parametrize("count", [1, 20, 128, 500])
def test_sqlite_finds_what_is_claimed_by_id(tmp_path: Path, count: int) -> None:
    """sqlite plans without statistics: from some dozens of ids on it would read the index of the queue instead."""
    database = TaskDatabase(f"sqlite:///{tmp_path}/eas.sqlite")
    initialise(database, load())
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "attempts" in statement and "tasks" not in statement and not statement.startswith("EXPLAIN"):
            rows = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(str(row[3]) for row in rows)

    event.listen(database.engine, "before_cursor_execute", explain)
    with database.write() as connection:
        assert attempt_claims.lock_attempts(connection, range(1, count + 1), 1.0) == []
        with contextlib.suppress(RuntimeError):  # there are no such attempts
            attempt_claims.claim(
                connection, "worker", [LockedAttempt(0, number, number) for number in range(1, count + 1)], 1.0
            )
    database.close()
    assert len(plans) >= 2
    assert {plan for plan in plans if "INTEGER PRIMARY KEY" not in plan} == set()
