"""The registry of task types and worker types, built in or added by third parties.

Third parties add theirs by an entry point of the group ``eas.task_types`` that names a function
without parameters; it returns a dictionary shaped like ``registry.yaml``.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any, Literal, TypeAlias

import yaml

from eas.errors import SettingsError, UnknownTaskTypeError
from eas.model import CONTROL_TASKS
from eas.names import closest_names
from eas.tasks.output_metadata import MetadataKey
from eas.tasks.settings import Setting

BASE_WORKER_TYPE = "eas-base"
ENTRY_POINT_GROUP = "eas.task_types"
SemanticNames: TypeAlias = tuple[str, ...] | Mapping[str, str]
"""Semantic names of files; a mapping also has their meanings."""


@dataclass(frozen=True, slots=True)
class WorkerType:
    """A worker type and the resources that it requests: ``cpu`` cores, ``gpu`` devices, ``memory`` [GB]."""

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
        ``module:class``, imported only when a task runs; empty for a task type that this release cannot run.
    requires:
        Modules that must be importable where it runs.
    reserved:
        Why chains must not use it; empty if they may.
    meaning:
        One-line description, for the documentation.
    papers:
        Publications of its method.
    inputs, outputs:
        Required semantic names, optionally with their meanings.
    optional_inputs, optional_outputs:
        Optional semantic names.
    settings:
        The settings that its code reads: a list of `eas.tasks.settings.Setting`, or ``module:name`` of
        one, imported where a chain is checked. Empty for a type without any; None where they are not
        declared: then its settings, inputs and outputs are not checked for unknown names.
    metadata:
        The output metadata that its code returns: a list of `eas.tasks.output_metadata.MetadataKey`, or
        ``module:name`` of one. None where they are not declared: then no request for one is checked.
    metadata_from:
        Inputs whose metadata it also returns; if two have the same key, the last of these inputs takes precedence.
    input_metadata:
        The metadata that it reads of its inputs, declared in the same way.
    any_files:
        Whether inputs and outputs of any name are allowed, although its settings are declared.
    dynamic_outputs:
        Whether it makes file products that the chain does not name (``TaskContext.new_output``).
    time_limit:
        Seconds after which an attempt is stopped; None for no limit.
    deterministic:
        Whether its results never depend on ``TaskContext.seed``. Its products are then reused
        whatever the seeds of the jobs are.
    noise_setting:
        Dotted name of a setting (``specs.noise``). If it is missing or 0, the results do not depend on the seed.
    """

    name: str
    worker_type: str = ""
    implementation: str = ""
    control: bool = False
    reserved: str = ""
    requires: tuple[str, ...] = ()
    meaning: str = ""
    papers: tuple[str, ...] = ()
    inputs: SemanticNames = ()
    outputs: SemanticNames = ()
    optional_inputs: SemanticNames = ()
    optional_outputs: SemanticNames = ()
    settings: tuple[Setting, ...] | str | None = None
    metadata: tuple[MetadataKey, ...] | str | None = None
    metadata_from: tuple[str, ...] = ()
    input_metadata: tuple[MetadataKey, ...] | str = ()
    any_files: bool = False
    dynamic_outputs: bool = False
    time_limit: float | None = None
    deterministic: bool = False
    noise_setting: str = ""

    def uses_seed(self, settings: Mapping[str, Any]) -> bool:
        """Return whether results with these settings may depend on the task's seed; True where that is unknown."""
        if self.deterministic or not self.noise_setting:
            return not self.deterministic
        value: Any = settings
        for key in self.noise_setting.split("."):
            if value is None:
                return False
            if not isinstance(value, Mapping):
                return True
            value = value.get(key)
        return not (value is None or value == 0)

    def declared_settings(self) -> tuple[Setting, ...] | None:
        """Return the settings that its code reads; None where they are not declared.

        Raises SettingsError where the registry names a declaration that is none.
        """
        if not isinstance(self.settings, str):
            return self.settings
        return _declaration(self.name, "settings", self.settings, Setting)

    def declared_metadata(self) -> tuple[MetadataKey, ...] | None:
        """Return the output metadata of its own, besides those of `metadata_from`; None where they are not declared.

        Raises SettingsError where the registry names a declaration that is none.
        """
        if not isinstance(self.metadata, str):
            return self.metadata
        return _declaration(self.name, "metadata", self.metadata, MetadataKey)

    def declared_input_metadata(self) -> tuple[MetadataKey, ...]:
        """Return the metadata that it reads of its inputs. Raises as `declared_metadata` does."""
        if not isinstance(self.input_metadata, str):
            return self.input_metadata
        return _declaration(self.name, "input_metadata", self.input_metadata, MetadataKey)

    def known_files(self, what: Literal["inputs", "outputs"]) -> tuple[str, ...] | None:
        """Return all semantic names of inputs or outputs that it may be given; None where that may be any."""
        if self.any_files or self.settings is None:
            return None
        return tuple(self.file_meanings(what))

    def file_meanings(self, what: Literal["inputs", "outputs"]) -> dict[str, str]:
        """Return the declared semantic names of inputs or outputs, optional ones last, with their meanings."""
        names = (getattr(self, what), getattr(self, f"optional_{what}"))
        return {name: each[name] if isinstance(each, Mapping) else "" for each in names for name in each}

    def missing_modules(self) -> list[str]:
        """Return the required modules that are not installed here."""
        return [name for name in self.requires if importlib.util.find_spec(name) is None]


@cache
def _declaration(name: str, what: str, place: str, kind: Any) -> tuple[Any, ...]:
    """Return the declaration in ``place``, a list of objects of a ``kind``; ``what`` it is of task type ``name``."""
    module, _, attribute = place.partition(":")
    try:
        found = tuple(getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"the {what} of task type {name}, {place}, cannot be imported: {error}",
            hint="give module:name of a list of declarations in the registry",
        ) from error
    if wrong := [each for each in found if not isinstance(each, kind)]:
        raise SettingsError(f"the {what} of task type {name}: {wrong[0]!r} declares none")
    return found


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
            near = closest_names(name, self._usable(), limit=5, cutoff=0.5)
            hint = f"nearest names: {', '.join(near)}" if near else f"usable are: {', '.join(self._usable())}"
            raise UnknownTaskTypeError(f"unknown task type {name[:80]!r}", hint=hint)
        if found.reserved:
            raise UnknownTaskTypeError(
                f"task type {name!r} cannot be used: {found.reserved}",
                hint=f"usable are: {', '.join(self._usable())}",
            )
        return found

    def _usable(self) -> list[str]:
        """Return the task types that a chain may use and this release can run, sorted."""
        types = self.task_types.values()
        return sorted(each.name for each in types if not each.reserved and (each.control or each.implementation))

    def dynamic_output_types(self) -> frozenset[str]:
        """Return the task types whose file products are known only once they have run."""
        return frozenset(each.name for each in self.task_types.values() if each.dynamic_outputs)

    def task_types_of(self, worker_types: Iterable[str]) -> list[str]:
        """Return the names of the task types that workers of ``worker_types`` run, sorted."""
        wanted = {BASE_WORKER_TYPE, *worker_types}
        if unknown := wanted - set(self.worker_types):
            raise SettingsError(
                f"unknown worker type {', '.join(sorted(unknown))}",
                hint=f"known are: {', '.join(sorted(self.worker_types))}",
            )
        return sorted(
            each.name for each in self.task_types.values() if each.worker_type in wanted and each.implementation
        )

    def installed_worker_types(self) -> list[str]:
        """Return the worker types with at least one task type, all of whose modules are here."""
        runnable = {each.worker_type for each in self.task_types.values() if each.implementation}
        incomplete = {each.worker_type for each in self.task_types.values() if each.missing_modules()}
        return sorted(runnable - incomplete)


def builtin() -> dict[str, Any]:
    """Return the package's own part of the registry, as ``registry.yaml`` has it."""
    # libyaml's parser, where PyYAML is built with it: every command reads this file, in 1 ms instead of 8.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(files("eas").joinpath("registry.yaml").read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
    assert isinstance(content, dict)
    return content


def merge_registries(parts: Iterable[tuple[str, Mapping[str, Any]]]) -> Registry:
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
        raise SettingsError(f"the registry has no control tasks {', '.join(sorted(missing))}")
    return Registry(task_types, worker_types)


def _add(known: dict[str, Any], origin: str, name: str, entry: TaskType | WorkerType) -> None:
    if name in known:
        raise SettingsError(f"{origin} defines {name!r}, which is defined already", hint="choose another name")
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
                hint="repair or uninstall that package",
            ) from error
    return merge_registries(parts)
