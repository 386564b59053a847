"""Plans a chain without running it, and finds problems of the chain as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from eas import html_tables
from eas.chains.grammar import Chain
from eas.chains.planner import MAX_TASKS, Planner
from eas.chains.products import External, Maker
from eas.chains.task_counts import PRODUCTS, Counts
from eas.errors import ChainError, Problem
from eas.registry import Registry

Bounds = tuple[int, int | None]
"""Minimum and maximum (None: depends on data, unbounded)."""


@dataclass(frozen=True)
class Plan:
    """The plan of a chain.

    Attributes
    ----------
    tasks:
        By task type, control tasks included and the whole chain counted as one
        ``execution_chain``: bounds of the number of tasks. A type that depends on data counts as
        ``undetermined``.
    total, leaves, product_count:
        Bounds of the number of all tasks, of those that workers run, and of file products.
    depth:
        Levels of nesting: 1 for the chain itself, 2 for its tasks, and so on.
    longest_path:
        Tasks that workers run, on the longest path of dependencies (one iteration of a loop whose
        end depends on data).
    dynamic:
        Whether a branch, a loop or a name depends on data.
    open_products:
        JSON paths of the tasks that may make products whose names are not known beforehand. Where
        there are any, an input in ``external`` may still be made by this job.
    products:
        By working directory and file name: the task that makes it.
    external:
        Inputs that no task of this chain makes, as far as is known.
    worker_types:
        Worker types that its tasks need, sorted.
    warnings:
        Warnings; the chain can run nevertheless.
    """

    tasks: Mapping[str, Bounds]
    total: Bounds
    leaves: Bounds
    product_count: Bounds
    depth: int
    longest_path: int
    dynamic: bool
    open_products: tuple[str, ...]
    worker_types: tuple[str, ...]
    products: Mapping[str, Mapping[str, Maker]] = field(repr=False)
    external: tuple[External, ...] = field(repr=False)
    warnings: tuple[Problem, ...] = ()

    def each_product(self) -> Iterator[tuple[str, str, Maker]]:
        """Yield working directory, file name and maker of each product that is known."""
        for directory, files in self.products.items():
            for file_name, maker in files.items():
                yield directory, file_name, maker

    def _repr_html_(self) -> str:
        """Return the numbers of tasks as a table, for notebooks."""
        bounds = [*sorted(self.tasks.items()), ("total", self.total), ("file products", self.product_count)]
        rows = [(name, least, "unbounded" if most is None else most) for name, (least, most) in bounds]
        return html_tables.table("", ("task type", "at least", "at most"), rows)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as ``eas plan --json`` prints it."""
        return {
            "tasks": {name: _bounds(each) for name, each in self.tasks.items()},
            "total": _bounds(self.total),
            "leaves": _bounds(self.leaves),
            "products": _bounds(self.product_count),
            "depth": self.depth,
            "longest_path": self.longest_path,
            "dynamic": self.dynamic,
            "worker_types": list(self.worker_types),
            "external_inputs": [
                {"working_directory": each.working_directory, "file_name": each.file_name, "path": each.path}
                for each in self.external
            ],
        }


@dataclass(frozen=True)
class PlanWalk:
    """The result of a walk through a valid chain."""

    planner: Planner
    counts: Counts


def walk(
    chain: Chain,
    registry: Registry,
    seed: str,
    *,
    job_name: str,
    working_directory: str,
    max_tasks: int = MAX_TASKS,
) -> PlanWalk:
    """Walk through all that ``chain`` would run. Raises ChainError with all problems found."""
    planner = Planner(chain, registry, seed, max_tasks)
    counts = planner.run(job_name, working_directory)
    if problems := [*chain.submission_problems, *planner.problems]:
        raise ChainError(chain.source, problems)
    return PlanWalk(planner, counts)


def plan(
    chain: Chain,
    registry: Registry,
    seed: str,
    *,
    job_name: str,
    working_directory: str,
    max_tasks: int = MAX_TASKS,
) -> Plan:
    """Return the plan of ``chain`` under the given names.

    Raises ChainError with all problems that are known before running: expressions that cannot be
    evaluated, products with two makers, cycles, unknown names, loops without end, and more than
    ``max_tasks`` tasks. Inputs that no task of the chain makes are allowed: another job may make them.
    """
    walked = walk(chain, registry, seed, job_name=job_name, working_directory=working_directory, max_tasks=max_tasks)
    return summarise(chain, registry, walked)


def summarise(chain: Chain, registry: Registry, walked: PlanWalk) -> Plan:
    """Return the plan of a chain through which ``walked`` has gone."""
    planner, counts = walked.planner, walked.counts
    return Plan(
        tasks=counts.types(),
        total=counts.total(),
        leaves=counts.leaves(),
        product_count=counts.bounds(PRODUCTS),
        depth=planner.depth,
        longest_path=planner.longest_path,
        dynamic=planner.dynamic,
        open_products=tuple(planner.open_products),
        worker_types=_worker_types(counts, registry),
        products=planner.made(),
        external=tuple(planner.products.external()),
        warnings=(*chain.warnings, *planner.warnings.values()),
    )


def _worker_types(counts: Counts, registry: Registry) -> tuple[str, ...]:
    types = [registry.task_types[name] for name in counts.types() if name in registry.task_types]
    return tuple(sorted({each.worker_type for each in types if each.worker_type}))


def _bounds(bounds: Bounds) -> dict[str, int | None]:
    return {"min": bounds[0], "max": bounds[1]}
