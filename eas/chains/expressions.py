"""Safe evaluation of the expressions in a task chain.

An expression is data from a user. It is parsed once, checked against lists of what is allowed
(``syntax``), and evaluated by a subclass of simpleeval's evaluator that counts every step and
measures every value (``limits``), calling bounded functions only (``functions``, ``formats``).
"""

from __future__ import annotations

import ast
import operator
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from simpleeval import EvalWithCompoundTypes

from eas.chains import functions, limits, syntax
from eas.chains.formats import format_value, render, unknown_key
from eas.chains.limits import RefusedError
from eas.chains.syntax import Parsed
from eas.errors import ExpressionError, MissingMetadataError

_OPENERS = ("(", "'", '"')
_SCALARS = frozenset({int, float, str, bool, type(None)})
_MISSING = object()


def is_expression(value: object) -> bool:
    """Return whether ``value`` is a string that is an expression: its first non-blank character is (, ' or "."""
    return isinstance(value, str) and value.lstrip().startswith(_OPENERS)


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression sees.

    Attributes
    ----------
    metadata:
        Inherited metadata.
    requested:
        Name of a sibling (or child) to its output metadata; None while that is not there yet.
    seed:
        Key of its random numbers: the job's seed and the task's address.
    """

    metadata: Mapping[str, Any]
    requested: Mapping[str, Mapping[str, Any]] | None = None
    seed: str = ""


def evaluate(expression: str, scope: Scope, where: str = "") -> Any:
    """Return the value of ``expression``: a number, string, boolean, None, list or dictionary.

    ``where`` is the key path of the expression in its descriptor; random numbers hang on it and
    on ``scope.seed``, so they do not depend on the order of evaluation.

    Raises MissingMetadataError if it reads ``requested_metadata`` where there is none yet, and
    ExpressionError for everything else that cannot be.
    """
    return evaluate_checked(expression, check(expression), scope, where)


def evaluate_checked(expression: str, parsed: Parsed, scope: Scope, where: str = "") -> Any:
    """Do as ``evaluate`` with what ``check`` has returned for ``expression``."""
    evaluator = _evaluator()
    try:
        if parsed.template is not None:
            return render(parsed.template, (), scope.metadata)
        return plain(evaluator.run(parsed.body, scope, where))
    except RefusedError as error:
        raise ExpressionError(expression, error.what, cure=error.cure) from None
    except _NotYetError:
        raise MissingMetadataError(
            expression,
            "reads requested_metadata, which is not available here",
            cure="name the task whose metadata it needs in requires_metadata_from",
        ) from None
    except RecursionError:
        raise ExpressionError(expression, "is nested too deeply", cure="use fewer brackets") from None
    except Exception as error:
        what = str(error) or type(error).__name__
        raise ExpressionError(
            expression, f"cannot be evaluated: {what[:200]} ({type(error).__name__})", cure=_cure(error)
        ) from None
    finally:
        evaluator.forget()


def check(expression: str) -> Parsed:
    """Parse ``expression`` and check what it is made of, without evaluating it.

    Raises ExpressionError if it is not valid or uses something that is not allowed.
    """
    parsed = _parsed(expression)
    if isinstance(parsed, Parsed):
        return parsed
    raise ExpressionError(expression, parsed.what, cure=parsed.cure)


def uses_requested_metadata(expression: str) -> bool:
    """Return whether ``expression`` reads ``requested_metadata`` anywhere."""
    return check(expression).uses_requested


@lru_cache(maxsize=8192)
def _parsed(expression: str) -> Parsed | RefusedError:
    try:
        return syntax.parse(expression)
    except RefusedError as error:
        return RefusedError(error.what, cure=error.cure)


def plain(value: Any) -> Any:
    """Return ``value`` as JSON has it (tuples and ranges become lists), or raise RefusedError."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, list | tuple | range):
        return [plain(element) for element in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise RefusedError("makes a dictionary with keys that are not strings", cure="use str(...) for the keys")
        return {key: plain(element) for key, element in value.items()}
    raise RefusedError(f"gives a {type(value).__name__}, which JSON cannot hold", cure="give numbers, strings or lists")


def _cure(error: Exception) -> str:
    if isinstance(error, ZeroDivisionError):
        return "divide by something that is not zero"
    if isinstance(error, OverflowError):
        return "use smaller numbers"
    return "check the values that it is given, and their types"


class _NotYetError(Exception):
    """requested_metadata is read and not there."""


class _Evaluator(EvalWithCompoundTypes):  # type: ignore[misc]
    """simpleeval's evaluator with a budget, without a way to any object but plain data."""

    def __init__(self) -> None:
        operators = {
            ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: functions.multiply, ast.Div: operator.truediv,
            ast.FloorDiv: operator.floordiv, ast.Mod: functions.modulo, ast.Pow: functions.power,
            ast.LShift: functions.left_shift, ast.RShift: operator.rshift,
            ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.Invert: operator.invert,
            ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_,
            ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
            ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
            ast.In: lambda left, right: left in right, ast.NotIn: lambda left, right: left not in right,
        }  # fmt: skip
        super().__init__(operators=operators, functions={}, names={})
        # simpleeval adds constructors of its own, which the static check does not let through.
        self.functions = dict(functions.FUNCTIONS)
        self.forget()

    def run(self, body: ast.expr, scope: Scope, where: str) -> Any:
        self._max_count = 0
        self._left = limits.MAX_WORK
        self._scope = scope
        self._where = where
        return self._eval(body)

    def forget(self) -> None:
        """Drop what the last evaluation saw."""
        self._scope = Scope({})
        self._where = ""
        self._left = 0
        self._generator: Random | None = None
        self.nodes[ast.Name] = self._eval_name

    def _eval(self, node: ast.AST) -> Any:
        self._left -= 1
        value = self.nodes[type(node)](node)
        if type(value) is not float and value is not self._scope.metadata:
            self._left -= limits.size(value)
        if self._left < 0:
            raise RefusedError("takes too many steps", cure="make it simpler, or its lists shorter")
        return value

    def _eval_constant(self, node: ast.Constant) -> Any:
        return node.value

    def _eval_name(self, node: ast.Name) -> Any:
        name = node.id
        if name == "metadata":
            return self._scope.metadata
        if name == "requested_metadata":
            if self._scope.requested is None:
                raise _NotYetError
            return self._scope.requested
        if name in functions.VALUES:
            return functions.VALUES[name]
        raise RefusedError(f"the name {name!r} is not known", cure=f"an expression sees {', '.join(syntax.NAMES)}")

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        assert isinstance(node.value, ast.Name)
        return (functions.CONSTANTS if node.value.id == "constants" else functions.VALUES)[node.attr]

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        container = self._eval(node.value)
        key = self._eval(node.slice)
        if isinstance(container, Mapping):
            value = container.get(key, _MISSING)
            if value is _MISSING:
                what = ast.unparse(node.value)
                raise unknown_key(key, container, what if len(what) < 80 else "the dictionary")
            return value
        if not isinstance(container, str | list | tuple | range):
            raise RefusedError(f"a {type(container).__name__} has no elements")
        return container[key]

    def _eval_call(self, node: ast.Call) -> Any:
        function = node.func
        if isinstance(function, ast.Name):
            return self.functions[function.id](*self._arguments(node), **self._named(node))
        assert isinstance(function, ast.Attribute)
        base = function.value.id if isinstance(function.value, ast.Name) else ""
        if base == "random":
            return functions.call_random(self._random(), function.attr, self._arguments(node), self._named(node))
        if base == "math":
            return functions.FUNCTIONS[function.attr](*self._arguments(node), **self._named(node))
        target = self._eval(function.value)
        if function.attr == "format" and isinstance(target, str):
            return render(target, self._arguments(node), self._named(node))
        kind = dict if isinstance(target, Mapping) else type(target)
        method = functions.METHODS.get(kind, {}).get(function.attr)
        if method is None:
            raise RefusedError(f"a {kind.__name__} has no method {function.attr!r} here")
        return method(target, *self._arguments(node), **self._named(node))

    def _arguments(self, node: ast.Call) -> list[Any]:
        return [self._eval(argument) for argument in node.args]

    def _named(self, node: ast.Call) -> Mapping[str, Any]:
        if not node.keywords:
            return {}
        if len(node.keywords) == 1 and node.keywords[0].arg is None:
            return self._mapping(node.keywords[0].value)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                named.update(self._mapping(keyword.value))
            else:
                named[keyword.arg] = self._eval(keyword.value)
        return named

    def _mapping(self, node: ast.expr) -> Mapping[str, Any]:
        value = self._eval(node)
        if not isinstance(value, Mapping):
            raise RefusedError(f"unpacks a {type(value).__name__} with **", cure="unpack a dictionary: **metadata")
        return value

    def _random(self) -> Random:
        if self._generator is None:
            self._generator = Random(f"{self._scope.seed}|{self._where}")
        return self._generator

    def _eval_formattedvalue(self, node: ast.FormattedValue) -> str:
        value = self._eval(node.value)
        spec = self._eval(node.format_spec) if node.format_spec else ""
        conversion = chr(node.conversion) if node.conversion > 0 else None
        return format_value(value, spec, conversion)

    def _eval_joinedstr(self, node: ast.JoinedStr) -> str:
        text = ""
        for part in node.values:
            text += self._eval(part)
            limits.size(text)
        return text


_local = threading.local()


def _evaluator() -> _Evaluator:
    """Return this thread's evaluator: making one costs more than most evaluations."""
    found = getattr(_local, "evaluator", None)
    if found is None:
        found = _local.evaluator = _Evaluator()
    assert isinstance(found, _Evaluator)
    return found
