"""The present state: queues, workers, and the timeline of attempts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eas.states import WorkerState
from reports.columns import iso_times, numbers, texts

QUEUE_COLUMNS = ("task_type", "worker_type", "queued", "due", "held_back", "running", "oldest_age [s]",
                 "oldest [UTC]", "paused [UTC]", "workers_alive")  # fmt: skip
WORKER_COLUMNS = ("worker", "host", "pid", "worker_types", "cpus", "state", "started [UTC]", "heartbeat [UTC]",
                  "heartbeat_age [s]", "ended [UTC]", "reason", "done", "failed", "stalled", "running",
                  "running_task_id", "running_for [s]")  # fmt: skip
TIMELINE_COLUMNS = ("worker", "host", "job_id", "job_name", "task_type", "task_id", "attempt_id", "state",
                    "started [UTC]", "ended [UTC]", "start_time [s]", "end_time [s]")  # fmt: skip


def queue_frame(rows: Sequence[Any], served: Mapping[str, int], now: float) -> pd.DataFrame:
    """Return one row for each queue, which is a task type that workers run.

    Parameters
    ----------
    rows:
        As ``eas.taskdb.queries.live.queues`` gives them.
    served:
        How many living workers run each worker type, as ``service_warnings.living_workers`` counts them.
    now:
        Unix time [s].
    """
    task_type, worker_type, queued, due, held, running, oldest, paused = _columns(rows, 8)
    serving = [served.get(kind, 0) for kind in worker_type]
    age = [None if each is None else max(0.0, now - each) for each in oldest]
    values = (texts(task_type), texts(worker_type), _ints(queued), _ints(due), _ints(held), _ints(running),
              numbers(age, 1), texts(iso_times(oldest)), texts(iso_times(paused)), _ints(serving))  # fmt: skip
    return pd.DataFrame(dict(zip(QUEUE_COLUMNS, values, strict=True)))


def worker_frame(rows: Sequence[Any], running: Iterable[Any], now: float) -> pd.DataFrame:
    """Return one row for each registered worker, the newest first, with its current task.

    Parameters
    ----------
    rows, running:
        As ``workers`` and ``running_attempts`` of ``eas.taskdb.queries.live`` give them.
    now:
        Unix time [s].
    """
    current = {row.worker_id: row for row in running}
    doing = [current.get(row.id) for row in rows]
    values = (
        texts(row.id for row in rows),
        texts(row.host for row in rows),
        _ints(row.pid for row in rows),
        texts(", ".join(json.loads(row.worker_types)) for row in rows),
        _ints(row.cpus for row in rows),
        texts(row.state for row in rows),
        texts(iso_times(row.started_at for row in rows)),
        texts(iso_times(row.heartbeat_at for row in rows)),
        numbers((max(0.0, now - row.heartbeat_at) if row.state == WorkerState.ALIVE else None for row in rows), 1),
        texts(iso_times(row.ended_at for row in rows)),
        texts(row.reason or "" for row in rows),
        _ints(row.done for row in rows),
        _ints(row.failed for row in rows),
        _ints(row.stalled for row in rows),
        texts(each.task_type if each else "" for each in doing),
        texts(each.task_id if each else None for each in doing),
        numbers((max(0.0, now - each.claimed_at) if each else None for each in doing), 1),
    )
    return pd.DataFrame(dict(zip(WORKER_COLUMNS, values, strict=True)))


def timeline_frame(rows: Sequence[Any], hosts: dict[str, str], now: float) -> pd.DataFrame:
    """Return one row for each attempt that a worker ran or runs.

    ``start_time`` and ``end_time`` are Unix times [s]; what still runs has an empty end.

    Parameters
    ----------
    rows:
        As ``eas.taskdb.queries.live.worked`` gives them.
    hosts:
        Worker id to the name of its host.
    now:
        Unix time [s]; nothing starts after it.
    """
    worker, job_id, job_name, task_type, task_id, attempt_id, state, start, end = _columns(rows, 9)
    begin = np.minimum(numbers(start, 3), now)
    values = (texts(worker), texts(hosts.get(each, "") for each in worker), _ints(job_id), texts(job_name),
              texts(task_type), _ints(task_id), _ints(attempt_id), texts(state), texts(iso_times(start)),
              texts(iso_times(end)), begin, numbers(end, 3))  # fmt: skip
    return pd.DataFrame(dict(zip(TIMELINE_COLUMNS, values, strict=True)))


def _columns(rows: Sequence[Any], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _ints(values: Iterable[Any]) -> np.ndarray[Any, Any]:
    return np.fromiter((int(each) for each in values), dtype=np.int64)
