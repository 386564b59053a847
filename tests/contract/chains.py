"""Jobs and tasks written straight into a task database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from eas.model import AttemptResult, NewVersion, QueuedAttempt, TaskSpec
from eas.queues.base import JobQueue
from eas.states import AttemptState
from eas.taskdb import attempt_claims, attempts, jobs, queue_settings, tables, tasks, workers
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.workers import Process

DIRECTORY = "Müll Ωδός 星/λ"


def spec(number: int, task_type: str = "null", outputs: Mapping[str, str] | None = None) -> TaskSpec:
    return TaskSpec(
        address=str(number),
        path=f"task_list[{number}]",
        task_type=task_type,
        name=f"näme-{number}",
        job_name="contract",
        working_directory=DIRECTORY,
        metadata={"size": 0.1 + number},
        settings={"duration": 0},
        inputs={},
        outputs=outputs or {},
    )


def new_job(connection: Connection, *, retries: int = 0, backoff: float = 1.0) -> int:
    return jobs.add(
        connection,
        now=time.time(),
        name="contract",
        working_directory=DIRECTORY,
        chain="{}",
        source="contract.json",
        seed="0",
        if_exists="fail",
        retries=retries,
        backoff=backoff,
        max_stalls=5,
        priority=0,
    )


def queue_tasks(
    database: TaskDatabase,
    task_types: Sequence[str],
    *,
    priorities: Sequence[int] = (),
    available_at: float = 0.0,
    retries: int = 0,
    backoff: float = 1.0,
    stalls: int = 5,
    outputs: Mapping[str, str] | None = None,
) -> list[QueuedAttempt]:
    """Write a job with tasks of these types, and queue an attempt of each."""

    def work(connection: Connection) -> list[QueuedAttempt]:
        job_id = new_job(connection, retries=retries, backoff=backoff)
        first = tasks.reserve(connection, len(task_types))
        new = {
            first + number: tasks.NewTask(None, spec(number, task_type, outputs))
            for number, task_type in enumerate(task_types)
        }
        tasks.add(connection, job_id, new, retries=retries, max_stalls=stalls, now=time.time())
        items = [
            attempts.QueueItem(
                first + number, job_id, task_type, 1, priorities[number] if priorities else 0, available_at
            )
            for number, task_type in enumerate(task_types)
        ]
        return attempts.queue(connection, items, time.time())

    return database.transact(work)


def new_worker(database: TaskDatabase, worker_id: str, worker_types: Sequence[str] = ("eas-base",)) -> str:
    database.transact(
        lambda c: workers.register(
            c,
            worker_id=worker_id,
            host=workers.Host("höst", 2, 8.0),
            process=Process("machine", 1, 0.0),
            worker_types=worker_types,
            cpus=1,
            now=database.now(),
        )
    )
    return worker_id


def result(attempt_id: int, state: AttemptState = AttemptState.DONE, **values: object) -> AttemptResult:
    now = time.time()
    defaults: dict[str, object] = {"reason": "" if state is AttemptState.DONE else "it failed"}
    return AttemptResult(attempt_id=attempt_id, started=now - 1, ended=now, **(defaults | values))  # type: ignore[arg-type]


def version(attempt_id: int, semantic: str, file_name: str) -> NewVersion:
    return NewVersion(semantic, file_name, f".versions/{attempt_id}/{file_name}", 7, "ab" * 32)


def states(database: TaskDatabase) -> dict[int, str]:
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(select(tables.attempts.c.id, tables.attempts.c.state))}


def task_states(database: TaskDatabase) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(tables.tasks.c.state).order_by(tables.tasks.c.id)).scalars())


def claim_these(database: TaskDatabase, worker_id: str, attempt_ids: Sequence[int]) -> list[int]:
    """Claim those of ``attempt_ids`` that are queued and due, and whose type is not paused."""
    now = database.now()

    def claim(connection: Connection) -> list[int]:
        query = select(tables.attempts.c.id).where(
            tables.attempts.c.task_type.not_in(queue_settings.paused_since(connection))
        )
        wanted = set(connection.execute(query).scalars()) & set(attempt_ids)
        return attempt_claims.claim(
            connection, worker_id, attempt_claims.lock_attempts(connection, sorted(wanted), now), now
        )

    return database.transact(claim)


def claimed_ids(queue: JobQueue, worker_id: str, task_types: Sequence[str], limit: int, timeout: float) -> list[int]:
    """Claim from a queue; return the attempts' ids."""
    return [each.attempt_id for each in queue.claim(worker_id, task_types, limit, timeout)]


def next_ids(store: AttemptClaims, worker_id: str, task_types: Sequence[str], limit: int) -> list[int]:
    """Claim from the task database; return the attempts' ids."""
    return [each.attempt_id for each in store.claim_next(worker_id, task_types, limit)]
