"""A model of a cluster that drives the scaler's own decisions, event by event: no clock, no threads.

Nodes have cores; a worker's pod waits until one has room, then takes some time to start; it runs tasks one after
another, exits when idle or when its time is over. Times are those measured on a Kubernetes 1.36 of two cores.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from eas.orchestration import scaling, waiting_work
from eas.orchestration.scaling import QueueSnapshot, ScalingDecision, Starting

SCALE_INTERVAL = 10.0
SUBMIT = 4.0
"""From the scaler's decision to a pod [s]: Prefect's worker looks every 2 s."""
STARTS = (8.0, 25.0)
"""From a node to the first claim [s]: container, imports, registration."""
CANCELLATION_DELAY = 5.0
WORKER_TIME_LIMIT = 600.0


@dataclass(frozen=True)
class Work:
    """Tasks of one type of one job: how long each takes [s]. ``at``: when they are queued."""

    worker_type: str
    walls: Sequence[float]
    at: float = 0.0


@dataclass
class Pod:
    """A worker."""

    worker_type: str
    asked_at: float
    node: int | None = None
    scheduled_at: float | None = None
    alive_at: float | None = None
    ended_at: float | None = None
    running: tuple[int, float, float] | None = None  # job, since, wall
    idle_since: float | None = None
    worked: float = 0.0
    tasks: int = 0
    leaving: bool = False


@dataclass
class Outcome:
    """What came of it. ``waits``: the longest time between two tasks begun of each work, beyond its own tasks'."""

    makespan: float
    pod_seconds: float
    wasted: float
    first_begun: dict[int, float]
    longest_gap: dict[int, float]
    most_pending: int
    pods: int


@dataclass
class Model:
    """One run: ``nodes`` are cores of each node, ``cores`` what a worker of a type asks for."""

    nodes: Sequence[float]
    cores: Mapping[str, float]
    works: Sequence[Work]
    maximum: int = 8
    idle_exit: float = 20.0
    seed: int = 1
    now: float = 0.0
    pods: list[Pod] = field(default_factory=list)
    events: list[tuple[float, int, str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.free = list(self.nodes)
        self.numbers = itertools.count()
        self.queued: dict[int, deque[float]] = {job: deque() for job in range(len(self.works))}
        self.ended: dict[int, list[tuple[float, float]]] = {job: [] for job in range(len(self.works))}
        self.left = sum(len(each.walls) for each in self.works)
        self.scaler = scaling.CapacityMemory()
        self.begun: dict[int, list[float]] = {job: [] for job in range(len(self.works))}
        self.most_pending = 0
        self.active: list[Pod] = []

    # -- events --------------------------------------------------------------------------------

    def at(self, when: float, what: str, about: Any = None) -> None:
        heapq.heappush(self.events, (when, next(self.numbers), what, about))

    def run(self) -> Outcome:
        for job, work in enumerate(self.works):
            self.at(work.at, "queue", job)
        self.at(3.0, "look")
        while self.left or self.active:
            self.now, _, what, about = heapq.heappop(self.events)
            assert self.now < 30 * 86400, "it does not end"
            getattr(self, f"_{what}")(about)
        return self._outcome()

    def _queue(self, job: int) -> None:
        self.queued[job].extend(self.works[job].walls)
        for pod in list(self.active):
            if pod.idle_since is not None and pod.ended_at is None:
                self._next(pod)

    def _look(self, _: Any) -> None:
        if not self.left:
            for pod in list(self.active):  # what waits for room would be taken back now; nothing needs it
                if pod.ended_at is None and pod.scheduled_at is None:
                    self._end(pod)
            return
        for decision in self.decisions():
            self._carry_out(decision)
        self.most_pending = max(
            self.most_pending, sum(p.scheduled_at is None and p.ended_at is None for p in list(self.active))
        )
        self.at(self.now + SCALE_INTERVAL, "look")

    def _carry_out(self, decision: ScalingDecision) -> None:
        for _ in range(decision.start):
            pod = Pod(decision.worker_type, self.now)
            self.pods.append(pod)
            self.active.append(pod)
            self.at(self.now + SUBMIT, "schedule", pod)
        mine = [p for p in list(self.active) if p.worker_type == decision.worker_type and self._is_stuck(p)]
        for pod in mine[len(mine) - decision.cancel_stuck :] if decision.cancel_stuck else []:
            self.at(self.now + CANCELLATION_DELAY, "cancel_stuck", pod)

    def _cancel_stuck(self, pod: Pod) -> None:
        if pod.scheduled_at is None and pod.ended_at is None:
            self._end(pod)

    def _schedule(self, pod: Pod) -> None:
        if pod.ended_at is not None or pod.scheduled_at is not None:
            return
        wanted = self.cores[pod.worker_type]
        fitting = [node for node, free in enumerate(self.free) if free >= wanted - 1e-9]
        if not fitting:
            return  # tried again when a pod ends
        pod.node = max(fitting, key=lambda node: self.free[node])
        self.free[pod.node] -= wanted
        pod.scheduled_at = self.now
        self.at(self.now + self.random.uniform(*STARTS), "alive", pod)

    def _alive(self, pod: Pod) -> None:
        pod.alive_at = self.now
        self._next(pod)

    def _next(self, pod: Pod) -> None:
        """Take the next task, or be idle."""
        assert pod.alive_at is not None
        if self.now - pod.alive_at >= WORKER_TIME_LIMIT:
            self._end(pod)
            return
        for job, work in enumerate(self.works):
            if work.worker_type == pod.worker_type and self.queued[job]:
                wall = self.queued[job].popleft()
                pod.running, pod.idle_since = (job, self.now, wall), None
                self.begun[job].append(self.now)
                self.at(self.now + wall, "done", pod)
                return
        if pod.idle_since is None:
            pod.idle_since = self.now
            self.at(self.now + self.idle_exit, "idle", pod)

    def _done(self, pod: Pod) -> None:
        assert pod.running is not None
        job, _, wall = pod.running
        pod.worked, pod.tasks, pod.running = pod.worked + wall, pod.tasks + 1, None
        self.ended[job].append((self.now, wall))
        self.left -= 1
        self.finished_at = self.now
        self._next(pod)

    def _idle(self, pod: Pod) -> None:
        if pod.ended_at is None and pod.idle_since is not None and self.now - pod.idle_since >= self.idle_exit - 1e-6:
            self._end(pod)

    def _end(self, pod: Pod) -> None:
        pod.ended_at, pod.idle_since = self.now, None
        self.active.remove(pod)
        if pod.node is not None:
            self.free[pod.node] += self.cores[pod.worker_type]
            for each in list(self.active):
                if each.scheduled_at is None and each.ended_at is None and each.asked_at + SUBMIT <= self.now:
                    self._schedule(each)

    # -- what the scaler sees ------------------------------------------------------------------

    def _is_stuck(self, pod: Pod) -> bool:
        waits = pod.alive_at is None and pod.ended_at is None
        return waits and self.now - pod.asked_at > scaling.STUCK_AFTER and pod.scheduled_at is None

    def decisions(self) -> list[ScalingDecision]:
        """Decide as the scaler does, from what SQL and Prefect would say."""
        starting = {}
        for name in self.cores:
            mine = [p for p in list(self.active) if p.worker_type == name and p.alive_at is None and p.ended_at is None]
            starting[name] = Starting(len(mine), sum(map(self._is_stuck, mine)))
        alive = [
            SimpleNamespace(worker_types=json.dumps([p.worker_type]), running=int(p.running is not None))
            for p in list(self.active)
            if p.alive_at is not None and p.ended_at is None
        ]
        types = {name: [f"task-{name}"] for name in self.cores}
        seen = QueueSnapshot(self._queue_rows(), self._pace_rows(), alive, self.now)  # type: ignore[arg-type]
        return self.scaler.decide(scaling.compute_loads(types, seen, starting), 0, self.maximum, self.now)

    def _queue_rows(self) -> list[Any]:
        rows = []
        for job, work in enumerate(self.works):
            since = [p.running[1] for p in list(self.active) if p.running is not None and p.running[0] == job]
            due = len(self.queued[job])
            if due or since:
                rows.append(
                    SimpleNamespace(
                        job_id=job,
                        task_type=f"task-{work.worker_type}",
                        due=due,
                        running=len(since),
                        paused=0,
                        running_since=sum(since) / len(since) if since else None,
                        oldest=work.at if due else None,
                    )
                )
        return rows

    def _pace_rows(self) -> list[Any]:
        rows = []
        for job, work in enumerate(self.works):
            counts: Counter[int] = Counter()
            walls: Counter[int] = Counter()
            for ended, wall in self.ended[job][-500:]:
                interval = int((self.now - ended) // waiting_work.SLOT)
                counts[interval] += 1
                walls[interval] += wall  # type: ignore[assignment]
            rows += [
                SimpleNamespace(
                    job_id=job,
                    task_type=f"task-{work.worker_type}",
                    slot=each,
                    ended=counts[each],
                    wall=walls[each],
                )
                for each in counts
            ]
        return rows

    # -- results -------------------------------------------------------------------------------

    def _outcome(self) -> Outcome:
        held = [(p.ended_at or self.now) - p.scheduled_at for p in self.pods if p.scheduled_at is not None]
        used = 0.0
        for pod in self.pods:
            if pod.scheduled_at is not None and pod.tasks:
                assert pod.alive_at is not None
                used += pod.worked + (pod.alive_at - pod.scheduled_at)
        gaps = {}
        for job, work in enumerate(self.works):
            times = [work.at, *self.begun[job]]
            gaps[job] = max((b - a for a, b in itertools.pairwise(times)), default=0.0)
        return Outcome(
            makespan=self.finished_at, pod_seconds=sum(held), wasted=sum(held) - used,
            first_begun={job: times[0] - self.works[job].at for job, times in self.begun.items() if times},
            longest_gap=gaps, most_pending=self.most_pending, pods=len(self.pods),
        )  # fmt: skip


def optimal_makespan(model: Model) -> float:
    """Return the makespan of one who knows all durations, starts the longest first, and has the whole cluster for it.

    Of several types, each is taken by itself and all together by their cores: the larger one counts.
    """
    start = SUBMIT + sum(STARTS) / 2
    cores = sum(sum(work.walls) * model.cores[work.worker_type] for work in model.works)
    bounds = [cores / sum(model.nodes)]
    for name in model.cores:
        workers = min(model.maximum, sum(int(node / model.cores[name] + 1e-9) for node in model.nodes))
        own = [work for work in model.works if work.worker_type == name]
        bounds.append(_longest_first([wall for work in own for wall in work.walls], workers))
        bounds += [work.at + _longest_first(work.walls, workers) for work in own]
    return start + max(bounds)


def _longest_first(walls: Sequence[float], workers: int) -> float:
    ends = [0.0] * workers
    for wall in sorted(walls, reverse=True):
        heapq.heappush(ends, heapq.heappop(ends) + wall)
    return max(ends)
