"""What must be true at the end, whatever happened."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from sqlalchemy import Connection, func, select

from eas.control.summary import summarise
from eas.model import CONTROL_TASKS
from eas.taskdb import tables
from eas.taskdb.engine import TaskDatabase

TASK, ATTEMPT, RESULT = tables.tasks, tables.attempts, tables.attempt_results
VERSION, PRODUCT, LINK = tables.product_versions, tables.products, tables.task_products


def violations(database: TaskDatabase, store: Path) -> list[str]:
    """Return what is not as it must be."""
    with database.read() as connection:
        found = [*_jobs(connection), *_tasks(connection), *_attempts(connection), *_versions(connection, store)]
        job_ids = list(connection.execute(select(tables.jobs.c.id)).scalars())
    for job_id in job_ids:
        found += _totals(database, job_id)
    return found


def _jobs(connection: Connection) -> list[str]:
    rows = connection.execute(select(tables.jobs.c.id, tables.jobs.c.state))
    return [f"job {row.id} is {row.state}" for row in rows if row.state != "done"]


def _tasks(connection: Connection) -> list[str]:
    found = []
    done = Counter(connection.execute(select(ATTEMPT.c.task_id).where(ATTEMPT.c.state == "done")).scalars())
    for row in connection.execute(select(TASK)):
        if row.state != "done":
            found.append(f"task {row.id} ({row.task_type}) is {row.state}: {row.reason}")
        elif row.task_type not in CONTROL_TASKS and done[row.id] != 1:
            found.append(f"task {row.id} has {done[row.id]} accepted results")
    wrong = (
        select(TASK.c.id)
        .outerjoin(ATTEMPT, ATTEMPT.c.id == TASK.c.accepted_attempt_id)
        .where(TASK.c.task_type.not_in(sorted(CONTROL_TASKS)))
        .where((ATTEMPT.c.task_id != TASK.c.id) | (ATTEMPT.c.state != "done") | ATTEMPT.c.id.is_(None))
    )
    return found + [f"task {task} does not name its accepted attempt" for task in connection.execute(wrong).scalars()]


def _attempts(connection: Connection) -> list[str]:
    open_ones = select(ATTEMPT.c.id, ATTEMPT.c.state).where(ATTEMPT.c.state.in_(["queued", "running"]))
    found = [f"attempt {row.id} is left {row.state}" for row in connection.execute(open_ones)]
    bare = select(ATTEMPT.c.id).outerjoin(RESULT, RESULT.c.attempt_id == ATTEMPT.c.id)
    bare = bare.where(RESULT.c.attempt_id.is_(None), ATTEMPT.c.state.in_(["done", "failed", "stalled"]))
    return found + [f"attempt {each} ended without a result" for each in connection.execute(bare).scalars()]


def _versions(connection: Connection, store: Path) -> list[str]:
    found = []
    for row in connection.execute(select(VERSION)):
        path = store / row.store_path
        if not path.is_file():
            found.append(f"version {row.id} of attempt {row.attempt_id} is missing: {row.store_path}")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != row.sha256 or path.stat().st_size != row.size:
            found.append(f"version {row.id} is not what SQL recorded")
    current = (
        select(PRODUCT.c.id, VERSION.c.attempt_id, TASK.c.accepted_attempt_id)
        .join(LINK, (LINK.c.product_id == PRODUCT.c.id) & (LINK.c.direction == "out"))
        .join(TASK, TASK.c.id == LINK.c.task_id)
        .outerjoin(VERSION, VERSION.c.id == PRODUCT.c.current_version_id)
    )
    wrong = [row for row in connection.execute(current) if row.attempt_id != row.accepted_attempt_id]
    found += [f"product {row.id} shows attempt {row.attempt_id}, not {row.accepted_attempt_id}" for row in wrong]
    return found + _plain_names(connection, store)


def _plain_names(connection: Connection, store: Path) -> list[str]:
    """Return the products that people do not find under their names, or find something else there."""
    query = select(PRODUCT.c.working_directory, PRODUCT.c.name, VERSION.c.sha256)
    query = query.join(VERSION, VERSION.c.id == PRODUCT.c.current_version_id)
    found = []
    for row in connection.execute(query):
        path = store / row.working_directory / row.name
        if not path.is_file():
            found.append(f"{row.working_directory}/{row.name} is not there")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != row.sha256:
            found.append(f"{row.working_directory}/{row.name} is not the current version")
    return found


def _totals(database: TaskDatabase, job_id: int) -> list[str]:
    """Compare the report of a job with a count that a person would make in SQL."""
    query = select(TASK.c.task_type, TASK.c.state, func.count()).where(TASK.c.job_id == job_id)
    with database.read() as connection:
        counted = {
            (row[0], row[1]): row[2] for row in connection.execute(query.group_by(TASK.c.task_type, TASK.c.state))
        }
    reported = {
        (task_type, str(state)): count
        for task_type, states in summarise(database, job_id).counts.items()
        for state, count in states.items()
        if count
    }
    return [] if reported == counted else [f"job {job_id}: reported {reported}, counted {counted}"]


def tally(database: TaskDatabase) -> dict[str, int]:
    """Return how many jobs, tasks and attempts by state there are."""
    with database.read() as connection:
        states = select(ATTEMPT.c.state, func.count()).group_by(ATTEMPT.c.state)
        found = {f"attempts {row[0]}": row[1] for row in connection.execute(states)}
        leaves = select(func.count()).select_from(TASK).where(TASK.c.task_type.not_in(sorted(CONTROL_TASKS)))
        found["tasks"] = connection.execute(leaves).scalar_one()
        found["jobs"] = connection.execute(select(func.count()).select_from(tables.jobs)).scalar_one()
    return found
