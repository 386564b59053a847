"""Configures tasks: evaluates the expressions of a descriptor with inherited metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from eas.chains.declaration_checks import required_names
from eas.chains.evaluator import Scope
from eas.chains.expressions import evaluate_checked
from eas.chains.json_reader import json_type_name
from eas.chains.paths import check_relative_path, child_path, joined_path
from eas.chains.syntax import is_expression
from eas.chains.text_limits import name_problem, names_fault
from eas.chains.tree import CONTROL_KEYS, Constant, Descriptor, DictPart, Expression, Part, Undetermined
from eas.errors import ChainError, ExpressionError, MissingMetadataError, Problem, StorePathError, UnknownTaskTypeError
from eas.model import TaskSpec
from eas.registry import Registry

ValueCache = dict[str, dict[tuple[str, ...], Any]]
"""Cached values of expressions, by the metadata they read; saves 13 to 26 % of planning large demo_jobs."""
MAX_CACHED_VALUES = 1000
"""Maximum number of cached values of one expression."""


class TaskConfigurator:
    """Configures the children of one parent, which all inherit the same metadata.

    Siblings often contain the same expression (the file that one writes and another reads), so values are cached
    during the lifetime of this object.
    """

    def __init__(
        self,
        registry: Registry,
        source: str,
        parent: TaskSpec,
        seed: str,
        *,
        requested: Mapping[str, Mapping[str, Any]] | None = None,
        memory: ValueCache | None = None,
    ) -> None:
        self._registry = registry
        self._source = source
        self._parent = parent
        self._seed = seed
        self._requested = requested
        self._memory: dict[str, Any] = {}
        self._shared: ValueCache = {} if memory is None else memory
        self._descriptor: Descriptor
        self._address = ""
        self._pending = False

    def configure(self, descriptor: Descriptor, address: str) -> TaskSpec:
        """Return the task of ``descriptor`` at ``address``.

        Raises ChainError if an expression cannot be evaluated or a value is invalid.
        """
        self._descriptor = descriptor
        self._address = address
        self._pending = False
        if descriptor.constant:  # without this branch, planning 10^5 of these takes 11 % longer
            return self._constant_task(descriptor, address)
        parent = self._parent
        spec = TaskSpec(
            address,
            descriptor.path,
            self._task_type(descriptor.task),
            self._label(descriptor.name, "name"),
            self._label(descriptor.job_name, "job_name") or parent.job_name,
            self._label(descriptor.working_directory, "working_directory") or parent.working_directory,
            parent.metadata,
            descriptor.settings.fill(self._evaluate),
            self._products(descriptor.inputs, "inputs"),
            self._products(descriptor.outputs, "outputs"),
            self._requires(descriptor.requires),
            self._pending,
        )
        # Arguments are evaluated from left to right, so ``pending`` is final here.
        if not descriptor.fixed_names:
            self._check_required(spec)
        return spec

    def _constant_task(self, constant: Any, address: str) -> TaskSpec:
        parent = self._parent
        return TaskSpec(
            address,
            constant.path,
            constant.task.value,
            constant.name.value,
            constant.job_name.value or parent.job_name,
            constant.working_directory.value or parent.working_directory,
            parent.metadata,
            constant.settings.value,
            constant.inputs.value,
            constant.outputs.value,
            tuple(constant.requires.value),
        )

    def _evaluate(self, part: Expression) -> Any:
        if part.keys is not None:
            return self._cached_value(part, part.keys)
        expression: str = part.value
        if expression in self._memory:
            return self._memory[expression]
        value = self._value(part)
        if not (part.parsed.uses_random or self._pending or isinstance(value, list | dict)):
            self._memory[expression] = value
        return value

    def _cached_value(self, part: Expression, keys: tuple[str, ...]) -> Any:
        values = self._shared.setdefault(part.value, {})
        # The key is the representation, because 1, 1.0 and True are equal but are formatted differently.
        key = tuple([repr(self._parent.metadata.get(name, ...)) for name in keys])
        if key not in values:
            if len(values) >= MAX_CACHED_VALUES:
                values.clear()
            values[key] = self._value(part)
        return values[key]

    def _value(self, part: Expression) -> Any:
        scope = Scope(self._parent.metadata, self._requested, self._seed + self._address)
        try:
            return evaluate_checked(part.value, part.parsed, scope, part.where)
        except MissingMetadataError as error:
            if self._descriptor.requires.value:
                self._pending = True
                return part.value
            self._raise(part.where, error.what, error.hint)
        except ExpressionError as error:
            self._raise(part.where, error.what, error.hint)

    def _task_type(self, part: Part) -> str | None:
        if isinstance(part, Constant):
            return part.value  # type: ignore[no-any-return]
        value = part.fill(self._evaluate)
        if not isinstance(value, str):
            self._raise("task", f"must be a string, and is {json_type_name(value)}", "give a task type")
        if self._pending:
            return None
        try:
            name = self._registry.task_type(value.strip()).name
        except UnknownTaskTypeError as error:
            self._raise("task", error.what, error.hint)
        given = self._descriptor.keys if isinstance(self._descriptor, Undetermined) else frozenset()
        needed = CONTROL_KEYS[name].required if name in CONTROL_KEYS else ()
        if missing := [key for key in needed if key not in given]:
            self._raise("task", f"is {name}, but the key {missing[0]!r} is missing", f"give {missing[0]!r}")
        return name

    def _label(self, part: Part, key: str) -> str | None:
        """Return a string of the task, or its expression if that needs metadata which are not available yet."""
        if isinstance(part, Constant):
            return part.value  # type: ignore[no-any-return]
        value = part.fill(self._evaluate)
        text = value.strip() if isinstance(value, str) else ""
        if not text:
            what = "is empty" if isinstance(value, str) else f"must be a string, and is {json_type_name(value)}"
            self._raise(key, what, f"give an expression whose value is a string: {part.value}")
        # A pending task is stored with the expression in the column of the value, so its length is checked, too.
        if fault := name_problem(text, key):
            self._raise(key, *fault)
        if key == "working_directory" and value is not part.value:
            self._check_path(text, key)
        return text

    def _products(self, part: Part, key: str) -> Mapping[str, str]:
        if isinstance(part, Constant):
            return part.value  # type: ignore[no-any-return]
        assert isinstance(part, DictPart)
        filled: dict[str, Any] = part.fill(self._evaluate)
        # Without an expression among the keys, the parser has checked them.
        products = {
            self._semantic(name, key) if part.keys else name: self._file_name(each, key, name)
            for name, each in filled.items()
        }
        if len(products) < len(part.value):
            self._raise(key, "gives one name twice", "let the keys evaluate to different names")
        return products

    def _semantic(self, name: str, key: str) -> str:
        text = name.strip()
        if self._pending and is_expression(name):
            return text
        if fault := name_problem(text, "semantic") if text else ("an empty name", "name what the file is to the task"):
            self._raise(child_path(key, name), *fault)
        return text

    def _file_name(self, file_name: Any, key: str, semantic: str) -> str:
        if not isinstance(file_name, str):
            where = child_path(key, semantic)
            self._raise(where, f"a file name must be a string, and is {json_type_name(file_name)}", "give a string")
        # A pending expression is kept; its value is checked when the metadata are available.
        if self._pending and is_expression(file_name):
            return file_name
        return self._check_path(file_name.strip(), key, semantic)

    def _check_path(self, value: str, key: str, semantic: str = "") -> str:
        try:
            check_relative_path(value)
        except StorePathError as error:
            self._raise(child_path(key, semantic) if semantic else key, error.what, error.hint)
        return value

    def _requires(self, part: Part) -> tuple[str, ...]:
        if isinstance(part, Constant):
            return tuple(part.value)
        names: list[Any] = part.fill(self._evaluate)
        for index, name in enumerate(names):
            where = f"requires_metadata_from[{index}]"
            if not isinstance(name, str) or is_expression(name):
                self._raise(where, "must be known before any metadata is requested", "give the name of a task")
            names[index] = name.strip()
            if fault := name_problem(names[index]):
                self._raise(where, *fault)
        if fault := names_fault(names):
            self._raise("requires_metadata_from", *fault)
        return tuple(names)

    def _check_required(self, spec: TaskSpec) -> None:
        if spec.task_type is None:
            return
        task_type = self._registry.task_types[spec.task_type]
        for what in ("inputs", "outputs"):
            if problems := list(required_names(task_type, getattr(spec, what), what, spec.path)):
                raise ChainError(self._source, problems)

    def _raise(self, where: str, message: str, hint: str) -> NoReturn:
        raise ChainError(self._source, [Problem(joined_path(self._descriptor.path, where), message, hint)])
