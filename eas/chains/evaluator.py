"""Evaluates a checked syntax tree with limits on steps and sizes of values, calling only bounded functions."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

from eas.chains import formats, functions, limits, syntax
from eas.chains.formats import format_value, render, unknown_key
from eas.chains.limits import NotAllowedError

_MISSING = object()
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: functions.multiply, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: functions.modulo, ast.Pow: functions.power,
    ast.LShift: functions.left_shift, ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.Invert: operator.invert,
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: functions.contains, ast.NotIn: lambda left, right: not functions.contains(left, right),
}  # fmt: skip


class MetadataNotAvailableError(Exception):
    """An expression reads requested_metadata that are not available yet."""


class Scope(NamedTuple):
    """Names and values available to an expression.

    Attributes
    ----------
    metadata:
        Inherited metadata.
    requested:
        Name of a sibling (or child) to its output metadata; None if they are not available yet.
    seed:
        Key of its random numbers: the job's seed and the task's address.
    """

    metadata: Mapping[str, Any]
    requested: Mapping[str, Mapping[str, Any]] | None = None
    seed: str = ""


class Evaluator:
    """Evaluates one expression, once. ``where`` is its key path, which is part of the seed of random numbers."""

    def __init__(self, scope: Scope, where: str) -> None:
        self._scope = scope
        self._where = where
        self._steps_left = limits.MAX_STEPS
        self._variables: dict[str, Any] = {}
        self._generator: Random | None = None

    def value(self, node: ast.AST) -> Any:
        """Return the value of ``node``; raise NotAllowedError if it is too large or too much work."""
        self._steps_left -= 1
        value = _HANDLERS[type(node)](self, node)
        if type(value) is not float and value is not self._scope.metadata:
            self._steps_left -= limits.cost(value)
        self._charge(0)
        return value

    def _charge(self, steps: int) -> None:
        """Count ``steps``; raise NotAllowedError if the expression exceeds its budget."""
        self._steps_left -= steps
        if self._steps_left < 0:
            raise NotAllowedError("takes too many steps", hint="make it simpler, or its lists shorter")

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        name = node.id
        if name in self._variables:
            return self._variables[name]
        if name == "metadata":
            return self._scope.metadata
        if name == "requested_metadata":
            if self._scope.requested is None:
                raise MetadataNotAvailableError
            return self._scope.requested
        if name in functions.VALUES:
            return functions.VALUES[name]
        raise NotAllowedError(f"the name {name!r} is not known", hint=f"available names: {', '.join(syntax.NAMES)}")

    def _attribute(self, node: ast.Attribute) -> Any:
        assert isinstance(node.value, ast.Name)
        return (functions.CONSTANTS if node.value.id == "constants" else functions.VALUES)[node.attr]

    def _subscript(self, node: ast.Subscript) -> Any:
        container = self.value(node.value)
        key = self.value(node.slice)
        if isinstance(container, Mapping):
            value = container.get(key, _MISSING)
            if value is _MISSING:
                what = ast.unparse(node.value)
                raise unknown_key(key, container, what if len(what) < 80 else "the dictionary")
            return value
        if not isinstance(container, str | list | tuple | range):
            raise NotAllowedError(f"a {type(container).__name__} has no elements")
        return container[key]

    def _slice(self, node: ast.Slice) -> slice:
        return slice(*(part and self.value(part) for part in (node.lower, node.upper, node.step)))

    def _unary(self, node: ast.UnaryOp) -> Any:
        return _OPERATORS[type(node.op)](self.value(node.operand))

    def _binary(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Mod):
            self._charge(formats.parsing_cost(left))
        return _OPERATORS[type(node.op)](left, right)

    def _boolean(self, node: ast.BoolOp) -> Any:
        ends_at = isinstance(node.op, ast.Or)
        value = None
        for each in node.values:
            value = self.value(each)
            if bool(value) is ends_at:
                break
        return value

    def _compare(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for symbol, each in zip(node.ops, node.comparators, strict=True):
            right = self.value(each)
            if isinstance(symbol, ast.In | ast.NotIn):
                self._charge(functions.search_cost(left, right))
            if not _OPERATORS[type(symbol)](left, right):
                return False
            left = right
        return True

    def _if(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _list(self, node: ast.List) -> list[Any]:
        return [self.value(each) for each in node.elts]

    def _tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self._list(node))  # type: ignore[arg-type]

    def _dict(self, node: ast.Dict) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, each in zip(node.keys, node.values, strict=True):
            if key is None:
                made.update(self._mapping(each))
            else:
                made[self.value(key)] = self.value(each)
        return made

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> list[Any]:
        found: list[Any] = []
        outer = self._variables
        for _ in self._loop(node.generators):
            found.append(self.value(node.elt))
            if len(found) > limits.MAX_ITEMS:
                raise NotAllowedError(
                    f"makes a list of more than {limits.MAX_ITEMS} elements", hint="use fewer elements"
                )
        self._variables = outer
        return found

    def _dict_comprehension(self, node: ast.DictComp) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        outer = self._variables
        for _ in self._loop(node.generators):
            found[self.value(node.key)] = self.value(node.value)
            if len(found) > limits.MAX_KEYS:
                raise NotAllowedError(f"makes a dictionary of more than {limits.MAX_KEYS} keys")
        self._variables = outer
        return found

    def _loop(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Iterate over nested ``for`` clauses, setting their variables."""
        if not generators:
            yield
            return
        first, *others = generators
        variables = self._variables
        for value in iterable(self.value(first.iter)):
            self._variables = {**variables}
            self._assign(first.target, value)
            self._steps_left -= 1 + len(variables)
            if all(self.value(condition) for condition in first.ifs):
                yield from self._loop(others)
            self._variables = variables

    def _assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self._variables[target.id] = value
            return
        assert isinstance(target, ast.Tuple | ast.List)
        for name, each in zip(target.elts, iterable(value), strict=True):
            self._assign(name, each)

    def _call(self, node: ast.Call) -> Any:
        function = node.func
        base = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
        if isinstance(function, ast.Attribute) and base not in ("random", "math"):
            text = self.value(function.value)
            if not isinstance(text, str):
                raise NotAllowedError(f"a {type(text).__name__} has no method {function.attr!r} here")
            self._charge(formats.parsing_cost(text))
            return render(text, [self.value(each) for each in node.args], self._named(node))
        name = function.attr if isinstance(function, ast.Attribute) else function.id  # type: ignore[attr-defined]
        if base == "random":
            arguments, named = [self.value(each) for each in node.args], self._named(node)
            self._charge(functions.draw_cost(name, arguments, named))
            return functions.call_random(self._random(), name, arguments, named)
        if name == "map":
            return self._map(node)
        key = next((keyword.value for keyword in node.keywords if keyword.arg == "key"), None)
        arguments = [self.value(each) for each in node.args]
        named = self._named(node)
        if key is not None:
            named = {**named, "key": self._with_charge(functions.FUNCTIONS[syntax.function_name(key) or ""])}
        return functions.FUNCTIONS[name](*arguments, **named)

    def _map(self, node: ast.Call) -> list[Any]:
        function = self._with_charge(functions.FUNCTIONS[syntax.function_name(node.args[0]) or ""])
        lists = [iterable(self.value(each)) for each in node.args[1:]]
        return [function(*values) for values in zip(*lists, strict=False)]

    def _with_charge(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` with each call counted as steps."""

        def call(*arguments: Any) -> Any:
            value = function(*arguments)
            self._charge(1 + limits.cost(value) + sum(map(limits.cost, arguments)))
            return value

        return call

    def _named(self, node: ast.Call) -> Mapping[str, Any]:
        if len(node.keywords) == 1 and node.keywords[0].arg is None:
            return self._mapping(node.keywords[0].value)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                named.update(self._mapping(keyword.value))
            elif keyword.arg != "key" or syntax.function_name(keyword.value) is None:
                named[keyword.arg] = self.value(keyword.value)
        return named

    def _mapping(self, node: ast.expr) -> Mapping[str, Any]:
        value = self.value(node)
        if not isinstance(value, Mapping):
            raise NotAllowedError(f"unpacks a {type(value).__name__} with **", hint="unpack a dictionary: **metadata")
        return value

    def _random(self) -> Random:
        if self._generator is None:
            self._generator = Random(f"{self._scope.seed}|{self._where}")
        return self._generator

    def _formatted(self, node: ast.FormattedValue) -> str:
        value = self.value(node.value)
        spec = self.value(node.format_spec) if node.format_spec else ""
        conversion = chr(node.conversion) if node.conversion > 0 else None
        return format_value(value, spec, conversion)

    def _joined(self, node: ast.JoinedStr) -> str:
        parts = []
        length = 0
        for part in node.values:
            parts.append(self.value(part))
            length += len(parts[-1])
            if length > limits.MAX_TEXT:
                raise NotAllowedError(f"makes a string of more than {limits.MAX_TEXT} characters")
        return "".join(parts)


def iterable(value: Any) -> Iterable[Any]:
    """Return ``value`` if it is iterable, or raise NotAllowedError."""
    if isinstance(value, str | list | tuple | range | Mapping):
        return value
    raise NotAllowedError(f"a {type(value).__name__} has no elements")


_HANDLERS: Mapping[type[ast.AST], Callable[[Evaluator, Any], Any]] = {
    ast.Constant: Evaluator._constant, ast.Name: Evaluator._name, ast.Attribute: Evaluator._attribute,
    ast.Subscript: Evaluator._subscript, ast.Slice: Evaluator._slice, ast.UnaryOp: Evaluator._unary,
    ast.BinOp: Evaluator._binary, ast.BoolOp: Evaluator._boolean, ast.Compare: Evaluator._compare,
    ast.IfExp: Evaluator._if, ast.List: Evaluator._list, ast.Tuple: Evaluator._tuple, ast.Dict: Evaluator._dict,
    ast.ListComp: Evaluator._comprehension, ast.GeneratorExp: Evaluator._comprehension,
    ast.DictComp: Evaluator._dict_comprehension, ast.Call: Evaluator._call,
    ast.JoinedStr: Evaluator._joined, ast.FormattedValue: Evaluator._formatted,
}  # fmt: skip
