"""What can be said about a chain without evaluating anything: shapes, names, task types, expressions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from eas.chains import expressions
from eas.chains.expressions import is_expression
from eas.chains.limits import RefusedError
from eas.chains.paths import check_relative_path, child_path
from eas.chains.ranges import kind, loop_values, range_name
from eas.errors import ExpressionError, Problem, StorePathError, UnknownTaskTypeError
from eas.model import CHAIN, CONDITIONAL, CONTROL_TASKS, DO_WHILE, FOR_LOOP
from eas.registry import Registry, TaskType

LATER = ("task_list", "else_task_list", "repeat_criterion")
"""Keys of a descriptor whose expressions wait for their own turn."""
CONTROL_KEYS: Mapping[str, tuple[str, ...]] = {
    CHAIN: ("task_list",),
    FOR_LOOP: ("task_list", "parameter"),
    CONDITIONAL: ("criterion",),
    DO_WHILE: ("task_list", "iteration_name", "repeat_criterion"),
}
"""Keys that a control task must have."""
PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_KNOWN = {"task", "name", "inputs", "outputs", "job_name", "working_directory", "parameter", "iteration_name"} | {
    *LATER
}


def check_document(document: Any, registry: Registry) -> list[Problem]:
    """Return all that is wrong with a chain file's document, in its order."""
    return _Check(registry).document(document)


def required_names(task_type: TaskType, given: Mapping[str, Any], what: str, path: str) -> Iterator[Problem]:
    """Yield a problem for each semantic name that ``task_type`` must be given and is not."""
    for name in getattr(task_type, what):
        if name in given:
            continue
        message = f"{task_type.name} needs {what}.{name}"
        near = difflib.get_close_matches(name, given, n=1)
        cure = f"did you mean {near[0]!r}? " if near else ""
        yield Problem(path, message, f'{cure}give "{what}": {{"{name}": "a file name"}}')


def sibling_problem(
    name: str, earlier: Collection[str | None], later: Collection[str | None]
) -> tuple[str, str] | None:
    """Return what is wrong with asking ``earlier`` siblings for the metadata of ``name``, and the cure."""
    if name not in earlier and name in later:
        return f"the task {name!r} comes later in this task_list", "move it before this task"
    return _name_problem(name, earlier, "earlier task of this task_list")


def child_problem(name: str, children: Collection[str | None]) -> tuple[str, str] | None:
    """Return what is wrong with asking ``children`` of a loop for the metadata of ``name``, and the cure."""
    return _name_problem(name, children, "child of this loop")


def _name_problem(name: str, names: Collection[str | None], who: str) -> tuple[str, str] | None:
    count = sum(1 for each in names if each == name)
    if count == 1:
        return None
    if count:
        what, _, where = who.partition(" of ")
        return f"{name!r} is the name of {count} {what}s of {where}", "give each of them its own name"
    known = sorted({each for each in names if isinstance(each, str)})
    near = difflib.get_close_matches(name, known, n=1)
    cure = f"did you mean {near[0]!r}? " if near else ""
    listed = f"there are {', '.join(known)}" if known else 'give one of them a "name"'
    return f"no {who} is named {name!r}", cure + listed


class _Check:
    """Collects problems on one walk through a document."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.problems: list[Problem] = []

    def document(self, document: Any) -> list[Problem]:
        if not isinstance(document, dict):
            self._add("", f"the file holds {kind(document)}", 'write an object with a "task_list"')
            return self.problems
        for key in ("job_name", "working_directory"):
            if key in document:
                self._string(document, key, "")
        if isinstance(directory := document.get("working_directory"), str):
            self._file_name(directory, "working_directory")
        self._task_list(document, "task_list", "", required=True)
        return self.problems

    def _add(self, path: str, message: str, cure: str = "") -> None:
        self.problems.append(Problem(path, message, cure))

    def _task_list(self, descriptor: dict[str, Any], key: str, path: str, *, required: bool) -> None:
        here = child_path(path, key)
        if key not in descriptor:
            if required:
                self._missing(descriptor, key, path, 'give "task_list": a list of tasks')
            return
        tasks = descriptor[key]
        if not isinstance(tasks, list):
            self._add(here, f"must be a list of tasks, and is {kind(tasks)}", "put the tasks between [ and ]")
            return
        names = [task.get("name") if isinstance(task, dict) else None for task in tasks]
        for index, task in enumerate(tasks):
            self._task(task, f"{here}[{index}]", names[:index], names[index + 1 :])

    def _missing(self, descriptor: dict[str, Any], key: str, path: str, cure: str) -> None:
        near = [each for each in difflib.get_close_matches(key, descriptor, n=2, cutoff=0.6) if each not in _KNOWN]
        hint = f"did you mean this by {near[0]!r}? " if near else ""
        self._add(path, f"the key {key!r} is missing", hint + cure)

    def _task(self, task: Any, path: str, earlier: list[Any], later: list[Any]) -> None:
        if not isinstance(task, dict):
            self._add(path, f"a task must be an object, and is {kind(task)}", 'write {"task": "a task type", ...}')
            return
        self._task_type(task, path)
        for key in ("name", "job_name", "working_directory"):
            if key in task:
                self._string(task, key, path)
        self._literal_file_name(task.get("working_directory"), child_path(path, "working_directory"))
        for what in ("inputs", "outputs"):
            self._products(task, what, path)
        self._requires(task, path, earlier, later)
        self._expressions(task, path)

    def _string(self, holder: dict[str, Any], key: str, path: str) -> None:
        value = holder[key]
        here = child_path(path, key)
        if not isinstance(value, str):
            self._add(here, f"must be a string, and is {kind(value)}", "put it in double quotes")
        elif not value.strip():
            self._add(here, "is empty", f"give a {key}, or leave the key out")

    def _task_type(self, task: dict[str, Any], path: str) -> None:
        if "task" not in task:
            self._missing(task, "task", path, 'give "task": a task type')
            return
        self._string(task, "task", path)
        name = task["task"]
        if not isinstance(name, str) or not name.strip():
            return
        if is_expression(name):
            self._task_list(task, "task_list", path, required=False)
            self._task_list(task, "else_task_list", path, required=False)
            return
        try:
            task_type = self.registry.task_type(name)
        except UnknownTaskTypeError as error:
            self._add(child_path(path, "task"), error.what, error.cure)
            return
        if name in CONTROL_TASKS:
            self._control(name, task, path)
        for what in ("inputs", "outputs"):
            given = task.get(what, {})
            if isinstance(given, dict) and not any(map(is_expression, given)):
                self.problems.extend(required_names(task_type, given, what, path))

    def _control(self, name: str, task: dict[str, Any], path: str) -> None:
        self._task_list(task, "task_list", path, required=name != CONDITIONAL)
        settings: dict[str, Callable[[dict[str, Any], str], None]] = {
            CHAIN: lambda task, path: None,
            FOR_LOOP: self._for_loop,
            CONDITIONAL: self._conditional,
            DO_WHILE: self._do_while,
        }
        settings[name](task, path)

    def _identifier(self, task: dict[str, Any], key: str, path: str) -> None:
        here = child_path(path, key)
        if key not in task:
            self._missing(task, key, path, f'give "{key}": the name of the value that the children see')
        elif message := identifier_fault(task[key]):
            self._add(here, message, "use letters, digits and _, beginning with a letter")

    def _for_loop(self, task: dict[str, Any], path: str) -> None:
        self._identifier(task, "parameter", path)
        try:
            name = range_name(task)
            given = task[name]
            if is_expression(given) or (isinstance(given, list) and any(map(is_expression, given))):
                given = _placeholders(name, given)
            loop_values({name: given})
        except RefusedError as error:
            self._add(path, error.what, error.cure)

    def _conditional(self, task: dict[str, Any], path: str) -> None:
        self._task_list(task, "else_task_list", path, required=False)
        self._criterion(task, "criterion", path)

    def _criterion(self, task: dict[str, Any], key: str, path: str) -> None:
        value = task.get(key)
        if key not in task:
            self._missing(task, key, path, f'give "{key}": an expression in brackets')
        elif not is_expression(value) and not isinstance(value, int | float):
            message = f"must be an expression or a boolean, and is {kind(value)}"
            self._add(child_path(path, key), message, "put brackets around it: \"(metadata['x'] > 0)\"")

    def _do_while(self, task: dict[str, Any], path: str) -> None:
        self._identifier(task, "iteration_name", path)
        self._criterion(task, "repeat_criterion", path)
        criterion = task.get("repeat_criterion")
        if isinstance(criterion, int | float) and criterion:
            self._add(
                child_path(path, "repeat_criterion"),
                "is always true: the loop never ends",
                "give an expression of metadata",
            )
        names = self._names(task, "requires_metadata_from_child", path)
        tasks = task.get("task_list")
        if isinstance(tasks, list):
            children = [child.get("name") for child in tasks if isinstance(child, dict)]
            self._siblings(names, "requires_metadata_from_child", path, children, None)
        self._expression_uses(criterion, child_path(path, "repeat_criterion"), names, "requires_metadata_from_child")

    def _products(self, task: dict[str, Any], what: str, path: str) -> None:
        here = child_path(path, what)
        products = task.get(what, {})
        if not isinstance(products, dict):
            cure = f'write "{what}": {{"lightcurve": "a file name"}}'
            self._add(here, f"must be an object of names and file names, and is {kind(products)}", cure)
            return
        for semantic, file_name in products.items():
            place = child_path(here, semantic)
            if not isinstance(file_name, str):
                self._add(place, f"a file name must be a string, and is {kind(file_name)}", "put it in double quotes")
            else:
                self._literal_file_name(file_name, place)

    def _literal_file_name(self, value: Any, path: str) -> None:
        if isinstance(value, str) and not is_expression(value):
            self._file_name(value, path)

    def _file_name(self, value: str, path: str) -> None:
        try:
            check_relative_path(value)
        except StorePathError as error:
            self._add(path, error.what, error.cure)

    def _names(self, task: dict[str, Any], key: str, path: str) -> list[str]:
        names = task.get(key, [])
        here = child_path(path, key)
        if not isinstance(names, list):
            self._add(here, f"must be a list of names, and is {kind(names)}", "put the names between [ and ]")
            return []
        for index, name in enumerate(names):
            if not isinstance(name, str) or not name:
                message = "is empty" if name == "" else f"must be a task's name, and is {kind(name)}"
                self._add(f"{here}[{index}]", message, "give the `name` of another task")
        return [name for name in names if isinstance(name, str) and name]

    def _requires(self, task: dict[str, Any], path: str, earlier: list[Any], later: list[Any]) -> None:
        names = self._names(task, "requires_metadata_from", path)
        self._siblings(names, "requires_metadata_from", path, earlier, later)

    def _siblings(self, names: list[str], key: str, path: str, earlier: list[Any], later: list[Any] | None) -> None:
        """Check names asked for; those of a loop's children (``later`` None) may stand anywhere."""
        if any(map(is_expression, earlier)):
            return  # what they are named is known when they are expanded
        for index, name in enumerate(names):
            if is_expression(name):
                continue
            problem = child_problem(name, earlier) if later is None else sibling_problem(name, earlier, later)
            if problem:
                self._add(f"{child_path(path, key)}[{index}]", *problem)

    def _expressions(self, task: dict[str, Any], path: str) -> None:
        requires = task.get("requires_metadata_from", [])
        names = [each for each in requires if isinstance(each, str)] if isinstance(requires, list) else []
        own = {key: value for key, value in task.items() if key not in LATER}
        stack: list[tuple[Any, str]] = [(own, path)]
        while stack:
            value, here = stack.pop()
            if isinstance(value, dict):
                for key in value:
                    self._expression_uses(key, here, names, "requires_metadata_from")
                stack.extend((value[key], child_path(here, key)) for key in reversed(value))
            elif isinstance(value, list):
                stack.extend((value[i], child_path(here, i)) for i in reversed(range(len(value))))
            else:
                self._expression_uses(value, here, names, "requires_metadata_from")

    def _expression_uses(self, value: Any, path: str, names: list[str], key: str) -> None:
        """Check an expression, and that it asks for the metadata that it reads."""
        if not is_expression(value):
            return
        try:
            parsed = expressions.check(value)
        except ExpressionError as error:
            self._add(path, error.what, error.cure)
            return
        if parsed.uses_requested and not names:
            self._add(path, f"reads requested_metadata, but the task has no {key}", f'give "{key}": [a task\'s name]')
        elif not any(map(is_expression, names)):
            for unknown in sorted(parsed.requested_names.difference(names)):
                self._add(
                    path, f"reads the metadata of {unknown!r}, which is not in {key}", f"add {unknown!r} to {key}"
                )


def identifier_fault(value: Any) -> str | None:
    """Return why ``value`` cannot be a loop's parameter or iteration name, or None if it can."""
    if is_expression(value):
        return None
    if not isinstance(value, str):
        return f"must be a name, and is {kind(value)}"
    return None if PARAMETER.match(value) else f"{value[:60]!r} is no name that an expression could use"


def _placeholders(name: str, given: Any) -> Any:
    """Return ``given`` with a harmless value in the place of each expression, to check the rest."""
    if isinstance(given, str):
        return [] if name == "values" else [1, 1, 1]
    return [1 if is_expression(each) else each for each in given]
