"""Estimates what a chain needs before it runs: time, CPU time, memory and disk, from recorded attempts."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eas import html_tables
from eas.chains import plan
from eas.chains.grammar import Chain
from eas.chains.plan import Bounds, Plan
from eas.chains.planner import TaskGroup
from eas.chains.task_counts import UNDETERMINED
from eas.errors import RequestError
from eas.operations.job_options import PLANNING_SEED, SubmitOptions
from eas.operations.makespan import makespan
from eas.operations.plan import names_of
from eas.plain_text import duration_text, size_text
from eas.registry import Registry
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries.recorded_usage import Recorded, Usage, recorded


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Median of a quantity, with its 10 % and 90 % quantiles ``low`` and ``high``."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles:
        """Return the quantiles of one or more values."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        tenths = statistics.quantiles(values, n=10, method="inclusive")
        return cls(tenths[0], statistics.median(values), tenths[-1])


@dataclass(frozen=True, slots=True)
class TaskTypeEstimate:
    """Resources that one task of a type needs, from recorded attempts.

    Attributes
    ----------
    least, tasks:
        Number of tasks without and with those in branches that may not run.
    attempts:
        Number of recorded attempts; 0: ``wall`` and the other spans are guessed from other task types.
    same_name:
        Whether the attempts are those of jobs with the chain's name.
    wall, cpu, memory, disk:
        Wall-clock time [s], CPU time with children [s], peak memory [MB], size of the files it makes [B].
    """

    task_type: str
    worker_type: str
    least: int
    tasks: int
    attempts: int
    same_name: bool
    wall: Quantiles
    cpu: Quantiles
    memory: Quantiles
    disk: Quantiles


@dataclass(frozen=True, slots=True)
class WorkerTypeEstimate:
    """Resources that all tasks of a worker type need.

    Attributes
    ----------
    tasks, attempts:
        Number of tasks, and of the recorded attempts of their types.
    busy, cpu:
        Wall-clock time of all tasks together, and their CPU time [s].
    memory:
        Peak memory of one task [MB], of the type that needs most.
    disk:
        Size of all files [B].
    """

    worker_type: str
    tasks: int
    attempts: int
    busy: Quantiles
    cpu: Quantiles
    memory: Quantiles
    disk: Quantiles


@dataclass(frozen=True, slots=True)
class Estimate:
    """Resources and time that a chain needs on a number of workers.

    Attributes
    ----------
    workers:
        Number of workers, each of which runs tasks of all types, one at a time.
    wall:
        Time from the first task's start to the last one's end [s].
    worker_types, task_types:
        By name.
    guesses:
        Assumptions made where no data are recorded, one sentence each.
    """

    workers: int
    wall: Quantiles
    worker_types: tuple[WorkerTypeEstimate, ...]
    task_types: tuple[TaskTypeEstimate, ...]
    guesses: tuple[str, ...]

    @property
    def attempts(self) -> int:
        """Number of recorded attempts that the estimate is based on."""
        return sum(each.attempts for each in self.task_types)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data: times in s, memory in MB, sizes in B."""
        return asdict(self) | {"attempts": self.attempts}

    def _repr_html_(self) -> str:
        """Return the estimate as a table, for notebooks."""
        return html_tables.table(headline(self), HEADER, worker_type_rows(self), self.guesses)


HEADER = ("worker type", "tasks", "CPU time", "range", "memory", "disk", "attempts")
"""Columns of `worker_type_rows`; the range is that of the CPU time."""
COLUMN_PRECEDENCE = ("worker type", "tasks", "CPU time", "memory", "disk")
"""Columns that are kept on narrow terminals, most important first."""


def headline(estimate: Estimate) -> str:
    """Return the estimated time in words."""
    workers = "1 worker" if estimate.workers == 1 else f"{estimate.workers} workers"
    based = f"{estimate.attempts} recorded attempt{'' if estimate.attempts == 1 else 's'}"
    return f"wall time on {workers}: {_times(estimate.wall)}, from {based}"


def worker_type_rows(estimate: Estimate) -> list[tuple[str, ...]]:
    """Return a row of texts for each worker type; see `HEADER`."""
    return [
        (
            each.worker_type,
            str(each.tasks),
            duration_text(each.cpu.median),
            _range(each.cpu),
            size_text(each.memory.high * 1e6),
            size_text(each.disk.median),
            str(each.attempts),
        )
        for each in estimate.worker_types
    ]


def _times(span: Quantiles) -> str:
    return f"{duration_text(span.median)} ({_range(span)})" if span.low != span.high else duration_text(span.median)


def _range(span: Quantiles) -> str:
    return f"{duration_text(span.low)} to {duration_text(span.high)}"


def estimate_chain(
    database: TaskDatabase | None, registry: Registry, chain: Chain, workers: int
) -> tuple[Plan, Estimate]:
    """Return the plan of a chain, and the estimate for a number of workers.

    Raises ChainError as a plan does, RequestError where no attempt of any of its task types is recorded.
    """
    job_name, directory = names_of(chain, registry, SubmitOptions())
    walked = plan.walk(chain, registry, PLANNING_SEED, job_name=job_name, working_directory=directory)
    planned = plan.summarise(chain, registry, walked)
    groups = walked.planner.groups()
    types = sorted({each.task_type for each in groups if each.task_type})
    found = database.fetch(lambda connection: recorded(connection, job_name, types)) if database and types else {}
    return planned, estimate(groups, found, registry, workers, planned.leaves)


def estimate(
    groups: Sequence[TaskGroup], found: Mapping[str, Recorded], registry: Registry, workers: int, leaves: Bounds
) -> Estimate:
    """Return the estimate for the tasks in ``groups``, from recorded attempts of their types.

    ``leaves``: bounds of their number. Raises RequestError where ``found`` has none of the types.
    """
    least = _counted(each for each in groups if each.certain)
    most = _counted(groups)
    if most and not found:
        raise RequestError(
            "no attempt of any of its task types is recorded: there is nothing to estimate from",
            hint="run the chain with a few loop values first, under the same job_name",
        )
    types = tuple(_of_type(name, least[name], most[name], found, registry) for name in sorted(most))
    walls = {each.task_type: each.wall for each in types}
    return Estimate(
        workers,
        _wall_clock(groups, walls, workers),
        tuple(_of_worker_type(name, types) for name in sorted({each.worker_type for each in types})),
        types,
        tuple(_guesses(types, leaves)),
    )


def _counted(groups: Iterable[TaskGroup]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for each in groups:
        if each.task_type:
            counts[each.task_type] += each.count
    return counts


def _wall_clock(groups: Sequence[TaskGroup], walls: Mapping[str, Quantiles], workers: int) -> Quantiles:
    """Return the simulated wall time with the low, median and high durations of all tasks."""
    low = [walls[each.task_type].low if each.task_type and each.certain else None for each in groups]
    median = [walls[each.task_type].median if each.task_type else None for each in groups]
    high = [walls[each.task_type].high if each.task_type else None for each in groups]
    return Quantiles(*(makespan(groups, durations, workers) for durations in (low, median, high)))


def _of_type(name: str, least: int, most: int, found: Mapping[str, Recorded], registry: Registry) -> TaskTypeEstimate:
    worker_type = _worker_type(name, registry)
    known = found.get(name)
    used = known.attempts if known else _similar(worker_type, found, registry)
    return TaskTypeEstimate(
        name,
        worker_type,
        least,
        most,
        len(known.attempts) if known else 0,
        known is not None and known.same_name,
        *(Quantiles.of([each[place] for each in used]) for place in range(len(Usage._fields))),
    )


def _similar(worker_type: str, found: Mapping[str, Recorded], registry: Registry) -> list[Usage]:
    """Return the attempts of all types of a worker type; of all worker types where it has none."""
    of_worker = [each for name, each in found.items() if _worker_type(name, registry) == worker_type]
    return [used for each in of_worker or found.values() for used in each.attempts]


def _worker_type(task_type: str, registry: Registry) -> str:
    known = registry.task_types.get(task_type)
    return known.worker_type if known else UNDETERMINED


def _of_worker_type(name: str, types: Iterable[TaskTypeEstimate]) -> WorkerTypeEstimate:
    own = [each for each in types if each.worker_type == name]
    return WorkerTypeEstimate(
        name,
        sum(each.tasks for each in own),
        sum(each.attempts for each in own),
        busy=_total((each, each.wall) for each in own),
        cpu=_total((each, each.cpu) for each in own),
        memory=max((each.memory for each in own), key=lambda span: span.high),
        disk=_total((each, each.disk) for each in own),
    )


def _total(spans: Iterable[tuple[TaskTypeEstimate, Quantiles]]) -> Quantiles:
    """Return the sum over all tasks; ``low`` leaves out tasks that may not run."""
    parts = [(each.least * span.low, each.tasks * span.median, each.tasks * span.high) for each, span in spans]
    return Quantiles(*(sum(column) for column in zip(*parts, strict=True)))


def _guesses(types: Sequence[TaskTypeEstimate], leaves: Bounds) -> Iterator[str]:
    for each in types:
        if not each.attempts:
            yield f"no attempt of {each.task_type} is recorded: the values of the other task types are assumed"
        elif not each.same_name:
            yield f"{each.task_type}: from jobs of other names, whose settings may differ"
    counted = sum(each.tasks for each in types)
    least, most = leaves
    if (least, most) != (counted, counted):
        bounds = f"at least {least}" if most is None else f"{least}" if most == least else f"{least} to {most}"
        yield (
            f"{bounds} tasks run, depending on data: the estimate counts {counted}, "
            "with both branches of conditionals, one iteration of do-while loops, and no iteration of loops over data"
        )
