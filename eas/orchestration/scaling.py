"""Decides how many workers of each type to start, from queued tasks, running tasks and their durations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from eas.errors import RequestError
from eas.orchestration import waiting_work
from eas.registry import BASE_WORKER_TYPE, Registry
from eas.taskdb.engine import AnyRow, TaskDatabase
from eas.taskdb.queries import scaling as sql

STARTUP_COST = 15.0
"""Cost of starting a worker [s]: a process, or a container, and the imports of its tasks."""
MAX_STARTING = 4
"""Number of workers that may be starting at a time, or as many as are alive if that is more."""
STUCK_AFTER = 45.0
"""Time [s] after which a starting worker counts as stuck: the cluster has no room, or is still pulling the image."""
FULL_BACKOFF = 120.0
"""Time [s] after the cluster was full during which only one worker at a time is started."""


@dataclass(frozen=True)
class WorkerTypeLoad:
    """The work of one worker type, and its workers.

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
    stuck:
        Starting workers for which the cluster has had no room for ``STUCK_AFTER`` seconds.
    seconds:
        Estimated duration of the queued attempts on one worker [s], from recent attempts of each job and type.
    unmeasured:
        Queued attempts of unknown duration, which ``seconds`` does not include.
    mean_wall:
        Mean wall-clock time of its tasks that ended recently [s]; None if there are none.
    rate:
        Number of its tasks that ended recently, per second.
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
    stuck: int = 0
    seconds: float = 0.0
    unmeasured: int = 0
    mean_wall: float | None = None
    rate: float = 0.0
    paused: tuple[str, ...] = ()
    held_back: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self) | {"paused": list(self.paused)}


@dataclass(frozen=True)
class ScalingDecision:
    """How many workers of a type to start now, the reason, and how many stuck ones to stop (``cancel_stuck``)."""

    worker_type: str
    start: int
    reason: str
    load: WorkerTypeLoad
    cancel_stuck: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        own = {
            "worker_type": self.worker_type,
            "start": self.start,
            "cancel_stuck": self.cancel_stuck,
            "reason": self.reason,
        }
        return own | self.load.to_json()


@dataclass(frozen=True)
class Starting:
    """Workers that were started and are not alive yet; ``stuck``: those of them that have waited for long."""

    count: int = 0
    stuck: int = 0


class QueueSnapshot(NamedTuple):
    """Queues, ended attempts and responsive workers at one moment, as the queries return them."""

    queues: Sequence[AnyRow]
    paces: Sequence[AnyRow]
    alive: Sequence[AnyRow]
    now: float


def read_loads(
    database: TaskDatabase, registry: Registry, starting: Mapping[str, Starting] | None = None, *, lease: float
) -> list[WorkerTypeLoad]:
    """Return the load of each worker type that runs some task type, by name.

    A worker without a heartbeat for ``lease`` seconds is not alive, even if it is not marked as lost yet.
    """
    now = database.now()
    queues, ended, alive = database.fetch(
        lambda c: (
            sql.queues(c, now),
            sql.recent_durations(c, now, now - waiting_work.MAX_AGE, waiting_work.SLOT),
            sql.responsive_workers(c, now - lease),
        )
    )
    types: dict[str, list[str]] = {}
    for each in registry.task_types.values():
        if each.implementation:
            types.setdefault(each.worker_type, []).append(each.name)
    return compute_loads(types, QueueSnapshot(queues, ended, alive, now), starting or {})


def compute_loads(
    types: Mapping[str, Sequence[str]],
    seen: QueueSnapshot,
    starting: Mapping[str, Starting],
    startup: float = STARTUP_COST,
) -> list[WorkerTypeLoad]:
    """Return the load of each worker type, by name; ``types`` maps it to the task types that it runs. Pure."""
    found = []
    for worker_type in sorted(types):
        own = [row for row in seen.alive if worker_type in json.loads(row.worker_types)]
        serving = seen.alive if worker_type == BASE_WORKER_TYPE else own
        idle = sum(row.running == 0 for row in serving)
        begun = starting.get(worker_type, Starting())
        load = _load(worker_type, set(types[worker_type]), seen, startup)
        found.append(replace(load, workers=len(own), idle=idle, starting=begun.count, stuck=begun.stuck))
    return found


def _load(worker_type: str, names: Set[str], seen: QueueSnapshot, startup: float) -> WorkerTypeLoad:
    """Return the work of a worker type, without its workers."""
    rows = [row for row in seen.queues if row.task_type in names]
    serving = [row for row in rows if not row.paused]
    work = waiting_work.waiting(rows, [row for row in seen.paces if row.task_type in names], seen.now, startup)
    oldest = [row.oldest for row in serving if row.oldest is not None]
    return WorkerTypeLoad(
        worker_type,
        queued=sum(int(row.due) for row in serving),
        oldest=max(0.0, seen.now - min(oldest)) if oldest else None,
        running=sum(int(row.running) for row in rows),
        seconds=work.seconds,
        unmeasured=work.unmeasured,
        mean_wall=work.mean_wall,
        rate=work.rate,
        paused=tuple(sorted({row.task_type for row in rows if row.paused})),
        held_back=sum(int(row.due) for row in rows if row.paused),
    )


def decide(
    loads: Sequence[WorkerTypeLoad],
    minimum: int,
    maximum: int,
    *,
    startup: float = STARTUP_COST,
    pending: int = MAX_STARTING,
) -> list[ScalingDecision]:
    """Return how many workers of each type to start.

    Starting a worker takes ``startup`` seconds. One worker is justified for each ``startup`` seconds of queued
    work, at most one for each queued attempt; idle and starting workers are subtracted. At least one worker is
    justified if the type has none, or if an attempt has waited longer than ``startup``. For work of unknown
    duration one worker is started first, to measure it. The result keeps between ``minimum`` and ``maximum``
    workers of each type, unless there are more already.

    At most ``pending`` workers, or as many as are alive, are starting at a time; the worker type with most work
    per worker comes first. If some are stuck, the cluster is full: one worker keeps waiting for room, and the
    others are stopped.

    Nothing here stops a worker: workers exit by themselves when they are idle. Raises RequestError for
    limits that contradict each other.
    """
    if not 0 <= minimum <= maximum:
        raise RequestError(
            f"the minimum of {minimum} workers and the maximum of {maximum} contradict each other",
            hint="give 0 <= minimum <= maximum",
        )
    demands = [_Demand.of(load, minimum, maximum, startup) for load in loads]
    full = any(load.stuck for load in loads)
    if full:
        _wait_for_room(demands)
    else:
        _share_out(demands, max(pending, sum(load.workers for load in loads) if pending >= MAX_STARTING else 0))
    return [each.decision(startup, full=full) for each in demands]


class CapacityMemory:
    """Remembers when the cluster was full, to start fewer workers for a while. One object for each scaler."""

    def __init__(self) -> None:
        self._full_at: float | None = None

    def decide(
        self, loads: Sequence[WorkerTypeLoad], minimum: int, maximum: int, now: float, *, startup: float = STARTUP_COST
    ) -> list[ScalingDecision]:
        """Return what to start; ``now`` is any clock [s]."""
        if any(load.stuck for load in loads):
            self._full_at = now
        full_lately = self._full_at is not None and now - self._full_at < FULL_BACKOFF
        return decide(loads, minimum, maximum, startup=startup, pending=1 if full_lately else MAX_STARTING)


@dataclass
class _Demand:
    """The number of workers that one type needs, and the number to start."""

    load: WorkerTypeLoad
    needed: int
    wanted: int
    least: int
    """Workers to start to reach the minimum."""
    most: int
    """Workers to start to reach the maximum."""
    start: int = 0
    cancel_stuck: int = 0

    @classmethod
    def of(cls, load: WorkerTypeLoad, minimum: int, maximum: int, startup: float) -> _Demand:
        there = load.workers + load.starting
        needed = _needed(load, startup)
        wanted = max(needed - load.idle - load.starting, 0)
        most = max(maximum - there, 0)
        return cls(load, needed, wanted, min(max(minimum - there, 0), most), most)

    @property
    def urgency(self) -> tuple[bool, bool, float]:
        """Sort key: types without a worker first, of these the ones with a stuck worker; then by work per worker."""
        there = self.load.workers + self.load.starting - self.load.stuck + self.start
        waits = there == 0 and self.load.stuck > 0
        return there == 0, waits, (self.load.seconds + self.load.unmeasured) / (there + 1)

    def decision(self, startup: float, *, full: bool) -> ScalingDecision:
        return ScalingDecision(
            self.load.worker_type, self.start, _reason(self, startup, full=full), self.load, self.cancel_stuck
        )


def _share_out(demands: Sequence[_Demand], pending: int) -> None:
    """Assign starts one by one to the most urgent worker type, up to ``pending`` starting workers in total."""
    for each in demands:
        each.start = each.least
    free = pending - sum(each.load.starting + each.start for each in demands)
    while free > 0:
        open_ones = [each for each in demands if each.start < min(max(each.wanted, each.least), each.most)]
        if not open_ones:
            return
        max(open_ones, key=lambda each: each.urgency).start += 1
        free -= 1


def _wait_for_room(demands: Sequence[_Demand]) -> None:
    """Keep one worker of the most urgent type waiting for room; stop the other stuck ones."""
    for each in demands:
        each.cancel_stuck = each.load.stuck
    needy = [each for each in demands if each.needed > each.load.idle and each.load.stuck + each.most > 0]
    if not needy:
        return
    first = max(needy, key=lambda each: each.urgency)
    if first.load.stuck:
        first.cancel_stuck -= 1
    elif first.load.starting == 0:
        first.start = 1


def _needed(load: WorkerTypeLoad, startup: float) -> int:
    """Return how many workers the queued tasks justify, idle and starting ones included."""
    if not load.queued:
        return 0
    justified = int(load.seconds // startup)
    if justified < 1:
        alone = load.workers + load.starting == 0
        justified = 1 if alone or (load.oldest or 0.0) >= startup else 0
    return min(load.queued, justified)


def _reason(demand: _Demand, startup: float, *, full: bool) -> str:
    load, start = demand.load, demand.start
    held = f"; {load.held_back} more in paused queues ({', '.join(load.paused)})" if load.paused else ""
    if load.queued:
        mean = "unknown duration" if load.mean_wall is None else f"{load.mean_wall:.3g} s each"
        text = f"{load.queued} queued, the oldest for {load.oldest or 0.0:.0f} s"
        text += f", about {load.seconds:.3g} s of work ({mean})"
        if load.unmeasured:
            text += f" and {load.unmeasured} tasks of unknown duration"
        text += f"; justifies {demand.needed} workers (startup cost {startup:g} s)"
    else:
        text = "nothing queued"
    text += f"{held}; {load.workers} alive, {load.idle} idle, {load.starting} starting"
    if load.stuck:
        text += f", {load.stuck} of them without room"
    if demand.cancel_stuck:
        text += f"; taking {demand.cancel_stuck} back"
    if start > demand.wanted:
        return f"{text}; starting {start} (minimum)"
    if start < demand.wanted:
        return f"{text}; starting {start} of {demand.wanted} ({_limit(demand, full=full)})"
    return f"{text}; starting {start}"


def _limit(demand: _Demand, *, full: bool) -> str:
    if full:
        return "no room"
    return "maximum" if demand.start == demand.most else "others are starting"
