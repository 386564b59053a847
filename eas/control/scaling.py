"""How many workers of each type pay off, by what waits, what runs, and how long it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from eas.errors import RequestError
from eas.registry import BASE_WORKER_TYPE, Registry
from eas.taskdb import loads as sql
from eas.taskdb.engine import AnyRow, TaskDatabase

RECENT = 900.0
"""So far back tasks tell how fast their type is now [s]."""
STARTUP = 15.0
"""What starting a worker costs [s]: a process, or a container, and the imports of its tasks."""
UNKNOWN_WALL = 60.0
"""What a task is taken to last of whose type none has ended lately [s]."""


@dataclass(frozen=True)
class Load:
    """What one worker type has to do, and who does it.

    Attributes
    ----------
    queued:
        Attempts that a worker could claim now (due, and not of a paused queue).
    oldest:
        How long the first of them has waited [s]; None where there is none.
    running:
        Attempts of its task types that run.
    workers, idle:
        Workers of the type that are alive, and those of them that run nothing. Every worker runs the
        tasks of ``eas-base`` too, so that its idle ones are those of all types.
    starting:
        Workers that were started and are not alive yet.
    seconds:
        Work that waits, in seconds of one worker: by the mean wall-clock time of each task type.
    mean_wall:
        Mean wall-clock time of its tasks that ended lately [s]; None where none has.
    rate:
        Of its tasks, so many ended lately each second.
    paused:
        Task types of it whose queue is paused; ``held_back`` attempts of theirs are queued.
    """

    worker_type: str
    queued: int = 0
    oldest: float | None = None
    running: int = 0
    workers: int = 0
    idle: int = 0
    starting: int = 0
    seconds: float = 0.0
    mean_wall: float | None = None
    rate: float = 0.0
    paused: tuple[str, ...] = ()
    held_back: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self) | {"paused": list(self.paused)}


@dataclass(frozen=True)
class Decision:
    """How many workers of a type to start now, and why, in words."""

    worker_type: str
    start: int
    reason: str
    load: Load

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"worker_type": self.worker_type, "start": self.start, "reason": self.reason} | self.load.to_json()


def survey(
    database: TaskDatabase, registry: Registry, starting: Mapping[str, int] | None = None, *, lease: float
) -> list[Load]:
    """Return the load of each worker type that runs some task type, by name.

    ``starting`` says how many workers of each type were started and are not alive yet. A worker that
    was not heard of for ``lease`` seconds is not alive, whether somebody has noticed that or not.
    """
    now = database.now()
    queues, paces, alive = database.fetch(
        lambda c: (sql.queues(c, now), sql.paces(c, now - RECENT), sql.alive_workers(c, now - lease))
    )
    seen = _Seen({row.task_type: row for row in queues}, {row.task_type: row for row in paces}, now)
    found = []
    for worker_type in sorted({each.worker_type for each in registry.task_types.values() if each.implementation}):
        names = sorted(each.name for each in registry.task_types.values() if each.worker_type == worker_type)
        own = [row for row in alive if worker_type in json.loads(row.worker_types)]
        serving = alive if worker_type == BASE_WORKER_TYPE else own
        idle = sum(row.running == 0 for row in serving)
        found.append(_load(worker_type, names, seen, (len(own), idle, (starting or {}).get(worker_type, 0))))
    return found


class _Seen(NamedTuple):
    """What SQL says by task type, at one moment."""

    queues: Mapping[str, AnyRow]
    paces: Mapping[str, AnyRow]
    now: float


def _load(worker_type: str, names: Sequence[str], seen: _Seen, workers: tuple[int, int, int]) -> Load:
    rows = [seen.queues[name] for name in names if name in seen.queues]
    serving = [row for row in rows if not row.paused]
    ended = sum(seen.paces[name].ended for name in names if name in seen.paces)
    wall = sum(seen.paces[name].ended * float(seen.paces[name].mean_wall) for name in names if name in seen.paces)
    mean = wall / ended if ended else None
    oldest = [row.oldest for row in serving if row.oldest is not None]

    def each(task_type: str) -> float:
        pace = seen.paces.get(task_type)
        return float(pace.mean_wall) if pace is not None else (UNKNOWN_WALL if mean is None else mean)

    return Load(
        worker_type,
        queued=sum(int(row.due) for row in serving),
        oldest=max(0.0, seen.now - min(oldest)) if oldest else None,
        running=sum(int(row.running) for row in rows),
        workers=workers[0],
        idle=workers[1],
        starting=workers[2],
        seconds=sum(int(row.due) * each(row.task_type) for row in serving),
        mean_wall=mean,
        rate=ended / RECENT,
        paused=tuple(row.task_type for row in rows if row.paused),
        held_back=sum(int(row.due) for row in rows if row.paused),
    )


def decide(loads: Sequence[Load], minimum: int, maximum: int, *, startup: float = STARTUP) -> list[Decision]:
    """Return how many workers of each type to start so that it pays off.

    A worker costs ``startup`` seconds before it does anything: one more is started for each
    ``startup`` seconds of work that wait, but never more than attempts wait, and not for those that
    idle or starting workers will take. The first worker of a type is started for whatever waits, and
    so is one more where something has waited longer than a start takes. There are at least
    ``minimum`` and at most ``maximum`` workers of each type then, unless more are there already.

    Nothing here ends a worker: they leave by themselves when they are idle. Raises RequestError for
    limits that contradict each other.
    """
    if not 0 <= minimum <= maximum:
        raise RequestError(
            f"between {minimum} and {maximum} workers of each type is no choice", cure="give 0 <= minimum <= maximum"
        )
    return [_decide(load, minimum, maximum, startup) for load in loads]


def _decide(load: Load, minimum: int, maximum: int, startup: float) -> Decision:
    there = load.workers + load.starting
    needed = _needed(load, startup)
    wanted = max(needed - load.idle - load.starting, 0)
    start = min(max(wanted, minimum - there), max(maximum - there, 0))
    return Decision(load.worker_type, start, _reason(load, needed, wanted, start, startup), load)


def _needed(load: Load, startup: float) -> int:
    """Return how many workers what waits is worth, those that are there and free among them."""
    if not load.queued:
        return 0
    worth = int(load.seconds // startup)
    if worth < 1:
        alone = load.workers + load.starting == 0
        worth = 1 if alone or (load.oldest or 0.0) >= startup else 0
    return min(load.queued, worth)


def _reason(load: Load, needed: int, wanted: int, start: int, startup: float) -> str:
    held = f"; {load.held_back} more in paused queues ({', '.join(load.paused)})" if load.paused else ""
    if load.queued:
        mean = "an unknown pace" if load.mean_wall is None else f"{load.mean_wall:.3g} s each"
        text = (
            f"{load.queued} wait, the first for {load.oldest or 0.0:.0f} s, about {load.seconds:.3g} s of work ({mean})"
        )
        text += f"; worth {needed} at {startup:g} s for a start"
    else:
        text = "nothing waits"
    text += f"{held}; {load.workers} alive, {load.idle} free, {load.starting} starting"
    if start > wanted:
        return f"{text}: start {start}, the least there shall be"
    if start < wanted:
        return f"{text}: start {start} of {wanted}, the most there may be"
    return f"{text}: start {start}"
