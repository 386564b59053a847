"""Parses a chain's JSON document into its tree, with all checks that need no evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from eas.chains.declaration_checks import (
    control_warnings,
    metadata_problem,
    required_names,
    setting_warnings,
    unknown_names,
    unknown_settings,
)
from eas.chains.json_reader import json_type_name
from eas.chains.limits import NotAllowedError
from eas.chains.part_parser import PartContext, PartParser
from eas.chains.paths import child_path
from eas.chains.problems import ProblemList
from eas.chains.ranges import loop_values, quoted_numbers, range_name, read_numbers
from eas.chains.siblings import Siblings
from eas.chains.syntax import is_expression
from eas.chains.tree import (
    CONTROL_KEYS,
    EMPTY,
    EVALUATED_AT_EXPANSION,
    NONE,
    Conditional,
    Constant,
    Descriptor,
    DictPart,
    DoWhile,
    ExecutionChain,
    ForLoop,
    Leaf,
    Part,
    Undetermined,
)
from eas.errors import Problem, UnknownTaskTypeError
from eas.model import CHAIN, CONDITIONAL, CONTROL_TASKS, FOR_LOOP
from eas.names import closest_names
from eas.registry import Registry

FILES: tuple[Literal["inputs"], Literal["outputs"]] = ("inputs", "outputs")
_LABELS = ("name", "job_name", "working_directory")
LANGUAGE_KEYS = ("task", *_LABELS, *FILES, "requires_metadata_from", *EVALUATED_AT_EXPANSION)
"""Keys of a descriptor that are not settings."""
_NOT_SETTINGS = frozenset(LANGUAGE_KEYS)
_KNOWN = _NOT_SETTINGS.union(*(keys.settings for keys in CONTROL_KEYS.values()))
FILE_KEYS = ("job_name", "working_directory", "task_list", "$schema")
"""Keys of a chain's file; editors read ``$schema``."""
_IDENTIFIER_HINT = "use letters, digits and _, beginning with a letter"


class Parser(PartParser):
    """Parses a document in one pass.

    Attributes
    ----------
    nodes:
        All descriptors by their JSON paths.
    problems, refused, warnings:
        Errors; errors that apply only to new submissions, not to jobs submitted before; and warnings. If there
        are problems, the tree is incomplete.
    """

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self.nodes: dict[str, Descriptor] = {}
        self.refused = ProblemList()
        self._registry = registry

    def document(self, document: Any) -> None:
        """Parse the whole file."""
        if not isinstance(document, dict):
            self.problems.add("", f"the file holds {json_type_name(document)}", 'write an object with a "task_list"')
            return
        own = PartContext("")
        job_name, directory = (self.label(document, key, own) for key in ("job_name", "working_directory"))
        tasks = self._task_list(document, "task_list", "", required=True)
        self._warn(unknown_settings(FILE_KEYS, document, ""))
        constant = isinstance(job_name, Constant) and isinstance(directory, Constant)
        self.nodes[""] = ExecutionChain(
            "", Constant(CHAIN), job_name=job_name, working_directory=directory, tasks=tasks, constant=constant
        )

    def _task_list(self, holder: dict[str, Any], key: str, path: str, *, required: bool) -> tuple[Descriptor, ...]:
        if key not in holder:
            if required:
                self._missing(holder, key, path, 'give "task_list": a list of tasks')
            return ()
        tasks = holder[key]
        here = child_path(path, key)
        if not isinstance(tasks, list):
            self.problems.add(
                here, f"must be a list of tasks, and is {json_type_name(tasks)}", "put the tasks between [ and ]"
            )
            return ()
        siblings = Siblings(map(_name, tasks))
        found = []
        for index, task in enumerate(tasks):
            descriptor = self._task(task, f"{here}[{index}]", siblings)
            if descriptor is not None:
                found.append(descriptor)
            siblings.advance(_name(task), _literal_type(task))
        return tuple(found)

    def _missing(self, holder: dict[str, Any], key: str, path: str, hint: str) -> None:
        near = [] if self.problems.full else closest_names(key, (each for each in holder if each not in _KNOWN), 1)
        guess = f"is {near[0]!r} a misspelling of it? " if near else ""
        self.problems.add(path, f"the key {key!r} is missing", guess + hint)

    def _task(self, task: Any, path: str, siblings: Siblings) -> Descriptor | None:
        if not isinstance(task, dict):
            hint = 'write {"task": "a task type", ...}'
            self.problems.add(path, f"a task must be an object, and is {json_type_name(task)}", hint)
            return None
        own = PartContext(path, self.names(task, "requires_metadata_from", path))
        parts = {key: self.label(task, key, own) for key in ("task", *_LABELS)}
        if "task" not in task:
            self._missing(task, "task", path, 'give "task": a task type')
        parts |= {what: self.products(task, what, own) for what in ("inputs", "outputs")}
        kind_of_task = parts["task"].value if isinstance(parts["task"], Constant) else None
        settings = {key: value for key, value in task.items() if key not in _NOT_SETTINGS}
        if kind_of_task == FOR_LOOP:
            self._for_loop(settings, own)
        parts |= {"requires": self.requires(own), "settings": self.part(settings, "", own) if settings else EMPTY}
        self._check_names(own, siblings.name_problem)
        self._check_requests(own, siblings.types)
        self._check_type(kind_of_task, task, parts, path)
        self._check_settings(kind_of_task, settings, path)
        descriptor = self._descriptor(kind_of_task, task, own, parts)
        if self.problems:
            return None  # the tree is not used if there are problems: save the memory
        self.nodes[path] = descriptor
        return descriptor

    def _check_names(self, own: PartContext, problem_of: Callable[[str], tuple[str, str] | None]) -> None:
        for index, name in enumerate(own.names):
            if not self.problems.full and (problem := problem_of(name)):
                self.problems.add(f"{child_path(own.path, own.key)}[{index}]", *problem)

    def _check_requests(self, own: PartContext, types: Mapping[str, str]) -> None:
        """Warn if expressions read metadata that the named tasks, of literal ``types``, do not return."""
        for path, name, key in own.metadata_lookups:
            task_type = self._registry.task_types.get(types.get(name, ""))
            if task_type and not self.warnings.full and (problem := metadata_problem(task_type, name, key)):
                self.warnings.add(path, *problem)

    def _check_type(self, name: str | None, task: dict[str, Any], parts: Mapping[str, Any], path: str) -> None:
        if not name:
            return
        try:
            task_type = self._registry.task_type(name)
        except UnknownTaskTypeError as error:
            self.problems.add(child_path(path, "task"), error.what, error.hint)
            return
        for what in FILES:
            if isinstance(task.get(what, {}), dict) and not _has_dynamic_keys(parts[what]):
                for problem in required_names(task_type, parts[what].value, what, path):
                    self.problems.add(problem.path, problem.message, problem.hint)
            for problem in unknown_names(task_type, parts[what].value, what, path):
                self.refused.add(problem.path, problem.message, problem.hint)

    def _check_settings(self, name: str | None, settings: dict[str, Any], path: str) -> None:
        task_type = self._registry.task_types.get(name or "")
        if task_type is None or self.warnings.full:
            return
        if task_type.control:
            self._warn(control_warnings(task_type.name, settings, path, LANGUAGE_KEYS))
        elif (declared := task_type.declared_settings()) is not None:
            self._warn(setting_warnings(declared, settings, path, LANGUAGE_KEYS))

    def _warn(self, warnings: Iterable[Problem]) -> None:
        for each in warnings:
            self.warnings.add(each.path, each.message, each.hint)
            if self.warnings.full:
                return

    def _descriptor(
        self, name: str | None, task: dict[str, Any], own: PartContext, parts: dict[str, Any]
    ) -> Descriptor:
        fixed = isinstance(parts["task"], Constant)
        parts["constant"] = all(isinstance(part, Constant) for part in parts.values())
        parts["fixed_names"] = fixed and not any(_has_dynamic_keys(parts[what]) for what in ("inputs", "outputs"))
        path = own.path
        if not fixed:
            tasks = self._task_list(task, "task_list", path, required=False)
            others = self._task_list(task, "else_task_list", path, required=False)
            criterion = self._repeat_criterion(task, path)
            return Undetermined(
                path, **parts, tasks=tasks, else_tasks=others, repeat_criterion=criterion, keys=frozenset(task)
            )
        if name not in CONTROL_TASKS:
            return Leaf(path, **parts)
        tasks = self._task_list(task, "task_list", path, required=name != CONDITIONAL)
        if name == CHAIN:
            return ExecutionChain(path, **parts, tasks=tasks)
        if name == FOR_LOOP:
            return ForLoop(path, **parts, tasks=tasks)
        if name == CONDITIONAL:
            self._criterion(task, "criterion", path)
            others = self._task_list(task, "else_task_list", path, required=False)
            return Conditional(path, **parts, tasks=tasks, else_tasks=others)
        self._identifier(task, "iteration_name", path)
        self._criterion(task, "repeat_criterion", path)
        return DoWhile(path, **parts, tasks=tasks, repeat_criterion=self._repeat_criterion(task, path))

    def _identifier(self, task: dict[str, Any], key: str, path: str) -> None:
        if key not in task:
            self._missing(task, key, path, f'give "{key}": the name by which the children read the value')
        elif message := identifier_fault(task[key]):
            self.problems.add(child_path(path, key), message, _IDENTIFIER_HINT)

    def _for_loop(self, settings: dict[str, Any], own: PartContext) -> None:
        """Check the range of a loop; convert numbers in quotes to numbers in ``settings``."""
        self._identifier(settings, "parameter", own.path)
        try:
            name = range_name(settings)
            given = settings[name]
            if isinstance(given, list):
                settings[name], quoted = read_numbers(given)
                if quoted:
                    self.warnings.add(child_path(own.path, name), *quoted_numbers(quoted))
            loop_values({name: _without_expressions(name, settings[name])})
        except NotAllowedError as error:
            self.problems.add(own.path, error.what, error.hint)

    def _criterion(self, task: dict[str, Any], key: str, path: str) -> None:
        value = task.get(key)
        if key not in task:
            self._missing(task, key, path, f'give "{key}": an expression in brackets')
        elif not is_expression(value) and not isinstance(value, int | float):
            message = f"must be an expression or a boolean, and is {json_type_name(value)}"
            self.problems.add(child_path(path, key), message, "put brackets around it: \"(metadata['x'] > 0)\"")
        elif key == "repeat_criterion" and not isinstance(value, str) and value:
            message = "is always true: the loop never ends"
            self.problems.add(child_path(path, key), message, "give an expression of metadata")

    def _repeat_criterion(self, task: dict[str, Any], path: str) -> Part:
        key = "requires_metadata_from_child"
        own = PartContext(path, self.names(task, key, path), key)
        tasks = task.get("task_list")
        children = Siblings(map(_name, tasks if isinstance(tasks, list) else ()))
        if isinstance(tasks, list):
            self._check_names(own, children.child_problem)
            for each in tasks:
                children.advance(_name(each), _literal_type(each))
        criterion = self.part(task["repeat_criterion"], "repeat_criterion", own) if "repeat_criterion" in task else NONE
        self._check_requests(own, children.types)
        return criterion


def identifier_fault(value: Any) -> str | None:
    """Return the fault of ``value`` as a loop's parameter or iteration name, or None if it is valid."""
    if is_expression(value):
        return None
    if not isinstance(value, str):
        return f"must be a name, and is {json_type_name(value)}"
    text = value.strip()
    if text.isidentifier() and not text.startswith("_") and len(text) <= _LONGEST_WORD:
        return None
    return f"{value[:60]!r} is not a valid name in expressions"


_LONGEST_WORD = 200


def _name(task: Any) -> str | None:
    """Return the name by which siblings refer to a task, or None."""
    name = task.get("name") if isinstance(task, dict) else None
    if not isinstance(name, str):
        return None
    return name if is_expression(name) else name.strip()


def _literal_type(task: Any) -> str:
    """Return the task type of a descriptor, empty where there is none; an expression names no type."""
    name = task.get("task") if isinstance(task, dict) else None
    return name.strip() if isinstance(name, str) else ""


def _has_dynamic_keys(part: Part) -> bool:
    return isinstance(part, DictPart) and bool(part.keys)


def _without_expressions(name: str, given: Any) -> Any:
    """Return ``given`` with a harmless value in the place of each expression, to check the rest."""
    if is_expression(given):
        return [] if name == "values" else [1, 1, 1]
    return [1 if is_expression(each) else each for each in given] if isinstance(given, list) else given
