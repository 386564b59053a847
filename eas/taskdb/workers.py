"""Workers and their hosts in the task database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from eas.states import WorkerState
from eas.taskdb import tables


class Process(NamedTuple):
    """Identity of a process on its machine: machine id, process id, and start time [s]."""

    machine: str
    pid: int
    started: float


class Host(NamedTuple):
    """A machine, or a pod: its name, CPUs and memory [GB]."""

    name: str
    cpus: int
    memory: float


def register(
    connection: Connection,
    *,
    worker_id: str,
    host: Host,
    process: Process,
    worker_types: Sequence[str],
    cpus: int,
    now: float,
) -> None:
    """Record a worker that starts now, under an id of its own, with ``cpus`` assigned to it."""
    row = {
        "id": worker_id,
        "host_id": _host(connection, host),
        "machine": process.machine,
        "pid": process.pid,
        "process_started": process.started,
        "worker_types": json.dumps(list(worker_types)),
        "cpus": cpus,
        "state": WorkerState.ALIVE,
        "started_at": now,
        "heartbeat_at": now,
    }
    connection.execute(insert(tables.workers), row)


def _host(connection: Connection, host: Host) -> int:
    known = select(tables.hosts.c.id).where(tables.hosts.c.name == host.name)
    found = connection.execute(known).scalar()
    if found is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(tables.hosts).values(**host._asdict()))
        except IntegrityError:
            pass  # another worker of this host was quicker
        found = connection.execute(known).scalar_one()
    return int(found)


def record_heartbeat(connection: Connection, worker_id: str, now: float) -> None:
    """Record a worker's heartbeat, also if another process has marked it as lost meanwhile."""
    worker = tables.workers
    here = (worker.c.id == worker_id) & (worker.c.state != WorkerState.LEFT)
    connection.execute(
        update(worker).where(here).values(heartbeat_at=now, state=WorkerState.ALIVE, ended_at=None, reason=None)
    )


def mark_left(connection: Connection, worker_id: str, reason: str, now: float) -> None:
    """Record that a worker exited by itself, and why."""
    worker = tables.workers
    values = {"state": WorkerState.LEFT, "ended_at": now, "reason": reason}
    connection.execute(update(worker).where(worker.c.id == worker_id).values(**values))


def alive_on(connection: Connection, machine: str) -> dict[str, Process]:
    """Return the processes of workers recorded as alive on a machine, by worker id."""
    worker = tables.workers
    query = select(worker).where(worker.c.machine == machine, worker.c.state == WorkerState.ALIVE)
    return {row.id: Process(row.machine, row.pid, row.process_started) for row in connection.execute(query)}


def mark_lost(connection: Connection, worker_ids: Sequence[str], reason: str, now: float) -> None:
    """Mark workers as lost: their processes ended without signing off."""
    worker = tables.workers
    lost = worker.c.id.in_(worker_ids) & (worker.c.state == WorkerState.ALIVE)
    connection.execute(update(worker).where(lost).values(state=WorkerState.LOST, ended_at=now, reason=reason))


def without_heartbeat(connection: Connection, since: float) -> list[str]:
    """Return the workers recorded as alive that have sent no heartbeat since ``since`` [Unix time, s]."""
    worker = tables.workers
    query = select(worker.c.id).where(worker.c.state == WorkerState.ALIVE, worker.c.heartbeat_at < since)
    return list(connection.execute(query).scalars())


def lost_since(connection: Connection, since: float) -> list[tuple[str, float]]:
    """Return the workers marked as lost since ``since`` [Unix time, s], with the time of the mark."""
    worker = tables.workers
    query = select(worker.c.id, worker.c.ended_at).where(worker.c.state == WorkerState.LOST, worker.c.ended_at >= since)
    return [(row.id, row.ended_at) for row in connection.execute(query.order_by(worker.c.ended_at))]
