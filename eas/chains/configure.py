"""Configuring a task: its descriptor's expressions evaluated with what it inherits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from eas.chains.expressions import Scope, evaluate_checked, is_expression
from eas.chains.paths import check_relative_path, child_path
from eas.chains.ranges import kind
from eas.chains.recipes import Expression, Part, Recipe
from eas.chains.structure import CONTROL_KEYS, required_names
from eas.errors import ChainError, ExpressionError, MissingMetadataError, Problem, StorePathError, UnknownTaskTypeError
from eas.model import TaskSpec
from eas.registry import Registry

Memory = dict[str, dict[tuple[str, ...], Any]]
"""Values of expressions, by the metadata that they read."""
MAX_REMEMBERED = 1000
"""Most values that are remembered for one expression."""


class Configuration:
    """Configures tasks that inherit the same: the children of one parent.

    Siblings often share an expression (what one writes, another reads), so values are remembered
    as long as this object lives.
    """

    def __init__(
        self,
        registry: Registry,
        source: str,
        parent: TaskSpec,
        seed: str,
        *,
        requested: Mapping[str, Mapping[str, Any]] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._registry = registry
        self._source = source
        self._parent = parent
        self._seed = seed
        self._scope = Scope(parent.metadata, requested)
        self._memory: dict[str, Any] = {}
        self._shared: Memory = {} if memory is None else memory
        self._recipe: Recipe
        self._address = ""
        self._pending = False

    def task(self, recipe: Recipe, address: str) -> TaskSpec:
        """Return the task of ``recipe`` at ``address``.

        Raises ChainError if something in it cannot be evaluated or is not what it should be.
        """
        self._recipe = recipe
        self._address = address
        self._pending = False
        if recipe.constant:
            return self._constant_task(recipe, address)
        parent = self._parent
        spec = TaskSpec(
            address,
            recipe.path,
            self._task_type(recipe.task),
            self._string(recipe.name, "name"),
            self._string(recipe.job_name, "job_name") or parent.job_name,
            self._directory(recipe.working_directory) or parent.working_directory,
            parent.metadata,
            self._fill(recipe.settings),
            self._products(recipe.inputs, "inputs"),
            self._products(recipe.outputs, "outputs"),
            self._requires(recipe.requires),
            self._pending,
        )
        # Arguments are evaluated from left to right, so all of them have had their say by now.
        if not recipe.fixed_names:
            self._check_required(spec)
        return spec

    def _constant_task(self, recipe: Recipe, address: str) -> TaskSpec:
        parent = self._parent
        return TaskSpec(
            address,
            recipe.path,
            recipe.task.value,
            recipe.name.value,
            recipe.job_name.value or parent.job_name,
            recipe.working_directory.value or parent.working_directory,
            parent.metadata,
            recipe.settings.value,
            recipe.inputs.value,
            recipe.outputs.value,
            tuple(recipe.requires.value),
        )

    def _fill(self, part: Part) -> Any:
        return part.fill(self._evaluate) if part.dynamic else part.value

    def _evaluate(self, part: Expression) -> Any:
        if part.keys is not None:
            return self._remembered(part, part.keys)
        expression: str = part.value
        if expression in self._memory:
            return self._memory[expression]
        value = self._value(part)
        if not (part.parsed.uses_random or self._pending or isinstance(value, list | dict)):
            self._memory[expression] = value
        return value

    def _remembered(self, part: Expression, keys: tuple[str, ...]) -> Any:
        values = self._shared.setdefault(part.value, {})
        # By representation: 1, 1.0 and True are equal, and are printed differently.
        key = tuple([repr(self._scope.metadata.get(name, ...)) for name in keys])
        if key not in values:
            if len(values) >= MAX_REMEMBERED:
                values.clear()
            values[key] = self._value(part)
        return values[key]

    def _value(self, part: Expression) -> Any:
        scope = self._scope
        if part.parsed.uses_random:
            scope = Scope(scope.metadata, scope.requested, self._seed + self._address)
        try:
            return evaluate_checked(part.value, part.parsed, scope, part.where)
        except MissingMetadataError as error:
            if self._recipe.asks:
                self._pending = True
                return part.value
            self._fail(part.where, error.what, error.cure)
        except ExpressionError as error:
            self._fail(part.where, error.what, error.cure)

    def _task_type(self, part: Part) -> str | None:
        if not part.dynamic:
            return part.value  # type: ignore[no-any-return]
        value = self._fill(part)
        if not isinstance(value, str):
            self._fail("task", f"must be a string, and is {kind(value)}", "give a task type")
        if self._pending:
            return None
        try:
            name = self._registry.task_type(value).name
        except UnknownTaskTypeError as error:
            self._fail("task", error.what, error.cure)
        if lacking := [key for key in CONTROL_KEYS.get(name, ()) if key not in self._recipe.keys]:
            self._fail("task", f"is {name}, but the key {lacking[0]!r} is missing", f"give {lacking[0]!r}")
        return name

    def _string(self, part: Part, key: str) -> str | None:
        value = self._fill(part)
        if part.dynamic and (not isinstance(value, str) or not value.strip()):
            what = "is empty" if isinstance(value, str) else f"must be a string, and is {kind(value)}"
            self._fail(key, what, f"give an expression whose value is a string: {part.value}")
        return value  # type: ignore[no-any-return]

    def _directory(self, part: Part) -> str | None:
        if not part.dynamic:
            return part.value  # type: ignore[no-any-return]
        value = self._string(part, "working_directory")
        if value is not None and value is not part.value:
            self._check_name(value, "working_directory")
        return value

    def _products(self, part: Part, key: str) -> Mapping[str, str]:
        if not part.dynamic:
            return part.value  # type: ignore[no-any-return]
        products: dict[str, str] = self._fill(part)
        for semantic, file_name in products.items():
            self._check_product(file_name, key, semantic)
        return products

    def _check_product(self, file_name: Any, key: str, semantic: str) -> None:
        if not isinstance(file_name, str):
            where = child_path(key, semantic)
            self._fail(where, f"a file name must be a string, and is {kind(file_name)}", "give a string")
        # A raw expression is left where it waits for metadata; its value is checked when it is there.
        if self._pending and is_expression(file_name):
            return
        try:
            check_relative_path(file_name)
        except StorePathError as error:
            self._fail(child_path(key, semantic), error.what, error.cure)

    def _check_name(self, value: str, where: str) -> None:
        try:
            check_relative_path(value)
        except StorePathError as error:
            self._fail(where, error.what, error.cure)

    def _requires(self, part: Part) -> tuple[str, ...]:
        names: Iterable[Any] = self._fill(part)
        if part.dynamic:
            for index, name in enumerate(names):
                if not isinstance(name, str) or is_expression(name):
                    where = f"requires_metadata_from[{index}]"
                    self._fail(where, "must be known before any metadata is requested", "give the name of a task")
        return tuple(names)

    def _check_required(self, spec: TaskSpec) -> None:
        if spec.task_type is None:
            return
        task_type = self._registry.task_types[spec.task_type]
        for what in ("inputs", "outputs"):
            if problems := list(required_names(task_type, getattr(spec, what), what, spec.path)):
                raise ChainError(self._source, problems)

    def _fail(self, where: str, message: str, cure: str) -> NoReturn:
        dot = "" if where.startswith("[") else "."
        raise ChainError(self._source, [Problem(f"{self._recipe.path}{dot}{where}", message, cure)])
