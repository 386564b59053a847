"""Resources that a deployment assigned to each worker type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from eas.taskdb import tables

TYPES = tables.worker_types


class Assigned(NamedTuple):
    """Resources of a worker: ``cpu`` cores, ``gpu`` devices, ``memory`` [GB]."""

    cpu: float
    gpu: int
    memory: float


def assign(connection: Connection, assigned: Mapping[str, Assigned]) -> list[str]:
    """Record the assigned resources of worker types; return the names of unknown worker types."""
    unknown = []
    for name, each in assigned.items():
        values = {"assigned_cpu": each.cpu, "assigned_gpu": each.gpu, "assigned_memory": each.memory}
        there = connection.execute(select(TYPES.c.name).where(TYPES.c.name == name)).first()
        if there is None:
            unknown.append(name)
        connection.execute(update(TYPES).where(TYPES.c.name == name).values(**values))
    return unknown


def assigned(connection: Connection) -> dict[str, Assigned]:
    """Return what was assigned, by worker type; types without an assignment are not in it."""
    rows = connection.execute(select(TYPES).where(TYPES.c.assigned_cpu.is_not(None)))
    return {row.name: Assigned(row.assigned_cpu, row.assigned_gpu or 0, row.assigned_memory) for row in rows}
