"""The registry of task types and worker types: the package's own, and third parties'.

Third parties add theirs by an entry point of the group ``eas.task_types`` that names a function
without parameters; it returns a dictionary shaped like ``registry.yaml``.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any

import yaml

from eas.errors import SettingsError, UnknownTaskTypeError
from eas.model import CONTROL_TASKS
from eas.tasks.base import Task

BASE_WORKER_TYPE = "eas-base"
ENTRY_POINT_GROUP = "eas.task_types"


@dataclass(frozen=True, slots=True)
class WorkerType:
    """A kind of worker: what it asks for. ``cpu`` cores, ``gpu`` devices, ``memory`` [GB]."""

    name: str
    cpu: float = 1
    gpu: int = 0
    memory: float = 8
    extra: str = ""


@dataclass(frozen=True, slots=True)
class TaskType:
    """A kind of task.

    Attributes
    ----------
    worker_type:
        The worker type that runs it; empty for control tasks.
    implementation:
        ``module:class``, loaded only where the task runs; empty for a type of the language that
        this release cannot run.
    requires:
        Modules that must be importable where it runs.
    reserved:
        Why no chain may use it; empty where one may.
    inputs, outputs:
        Semantic names that a task of this type must be given.
    dynamic_outputs:
        Whether it makes file products that the chain does not name (``TaskContext.new_output``).
    time_limit:
        Seconds after which an attempt is stopped; None for no limit.
    """

    name: str
    worker_type: str = ""
    implementation: str = ""
    control: bool = False
    reserved: str = ""
    requires: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    optional_outputs: tuple[str, ...] = ()
    dynamic_outputs: bool = False
    time_limit: float | None = None

    def missing_modules(self) -> list[str]:
        """Return the required modules that are not installed here."""
        return [name for name in self.requires if importlib.util.find_spec(name) is None]

    def load(self) -> type[Task]:
        """Import and return the class that implements it."""
        module, _, attribute = self.implementation.partition(":")
        implementation = getattr(importlib.import_module(module), attribute)
        if not (isinstance(implementation, type) and issubclass(implementation, Task)):
            raise SettingsError(
                f"{self.implementation}, of task type {self.name}, is not a subclass of eas.tasks.base.Task"
            )
        return implementation


@dataclass(frozen=True)
class Registry:
    """All task types and worker types that are known here."""

    task_types: Mapping[str, TaskType] = field(default_factory=dict)
    worker_types: Mapping[str, WorkerType] = field(default_factory=dict)

    def task_type(self, name: str) -> TaskType:
        """Return the task type ``name`` if a chain may use it.

        Raises UnknownTaskTypeError, naming the nearest names or why it is reserved.
        """
        found = self.task_types.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.task_types, n=3, cutoff=0.5)
            cure = f"nearest names: {', '.join(near)}" if near else f"known are: {', '.join(sorted(self.task_types))}"
            raise UnknownTaskTypeError(f"unknown task type {name!r}", cure=cure)
        if found.reserved:
            usable = sorted(other.name for other in self.task_types.values() if not other.reserved)
            raise UnknownTaskTypeError(
                f"task type {name!r} cannot be used: {found.reserved}", cure=f"usable are: {', '.join(usable)}"
            )
        return found

    def open_types(self) -> frozenset[str]:
        """Return the task types whose file products are known only once they have run."""
        return frozenset(each.name for each in self.task_types.values() if each.dynamic_outputs)

    def task_types_of(self, worker_types: Iterable[str]) -> list[str]:
        """Return the names of the task types that workers of ``worker_types`` run, sorted."""
        wanted = {BASE_WORKER_TYPE, *worker_types}
        if unknown := wanted - set(self.worker_types):
            raise SettingsError(
                f"unknown worker type {', '.join(sorted(unknown))}",
                cure=f"known are: {', '.join(sorted(self.worker_types))}",
            )
        return sorted(
            each.name for each in self.task_types.values() if each.worker_type in wanted and each.implementation
        )

    def installed_worker_types(self) -> list[str]:
        """Return the worker types with at least one task type, all of whose modules are here."""
        runnable = {each.worker_type for each in self.task_types.values() if each.implementation}
        lacking = {each.worker_type for each in self.task_types.values() if each.missing_modules()}
        return sorted(runnable - lacking)


def builtin() -> dict[str, Any]:
    """Return the package's own part of the registry, as ``registry.yaml`` has it."""
    content = yaml.safe_load(files("eas").joinpath("registry.yaml").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def build(parts: Iterable[tuple[str, Mapping[str, Any]]]) -> Registry:
    """Build a registry from ``(origin, part)`` pairs; two parts must not name the same thing."""
    task_types: dict[str, TaskType] = {}
    worker_types: dict[str, WorkerType] = {}
    for origin, part in parts:
        for name, fields in part.get("worker_types", {}).items():
            _add(worker_types, origin, name, WorkerType(name=name, **fields))
        for name, fields in part.get("task_types", {}).items():
            lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
            _add(task_types, origin, name, TaskType(name=name, **{**fields, **lists}))
    for each in task_types.values():
        if not each.control and each.worker_type not in worker_types:
            raise SettingsError(f"task type {each.name} asks for the unknown worker type {each.worker_type!r}")
    if missing := CONTROL_TASKS - set(task_types):
        raise SettingsError(f"the registry lacks the control tasks {', '.join(sorted(missing))}")
    return Registry(task_types, worker_types)


def _add(known: dict[str, Any], origin: str, name: str, entry: TaskType | WorkerType) -> None:
    if name in known:
        raise SettingsError(f"{origin} defines {name!r}, which is defined already", cure="choose another name")
    known[name] = entry


@cache
def load() -> Registry:
    """Return the registry of everything installed here (read once for each process)."""
    found = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name != "builtin", point.name))
    parts: list[tuple[str, Mapping[str, Any]]] = []
    for point in found:
        try:
            parts.append((point.value, point.load()()))
        except Exception as error:
            raise SettingsError(
                f"the entry point {point.name} = {point.value} of group {ENTRY_POINT_GROUP} cannot be loaded: {error}",
                cure="mend or uninstall that package",
            ) from error
    return build(parts)
