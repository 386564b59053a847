"""Static check of an expression: what it is made of, before anything of it is evaluated."""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from eas.chains import formats
from eas.chains.functions import CONSTANTS, FUNCTIONS, MATH, METHOD_NAMES, RANDOM, VALUES
from eas.chains.limits import BIG, MAX_DEPTH, MAX_EXPRESSION, MAX_TEXT, RefusedError

SPACES = ("constants", "random", "math")
NAMES = ("constants", "metadata", "requested_metadata", "random", *VALUES)
"""Names that an expression sees, besides functions."""

_PLAIN_NODES = (
    ast.Expression, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Subscript, ast.Slice,
    ast.Dict, ast.Tuple, ast.List, ast.Set, ast.ListComp, ast.GeneratorExp, ast.DictComp,
    ast.JoinedStr, ast.FormattedValue, ast.keyword,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip
_FORBIDDEN = {
    ast.Lambda: "lambda is not allowed",
    ast.NamedExpr: "assignment (:=) is not allowed",
    ast.Await: "await is not allowed",
    ast.Yield: "yield is not allowed",
    ast.YieldFrom: "yield is not allowed",
    ast.Starred: "unpacking with * is not allowed",
    ast.SetComp: "a set comprehension is not allowed",
    ast.MatMult: "the operator @ is not known",
}
_BUILTINS = [name for name in FUNCTIONS if name not in MATH or name == "pow"]
_PARSING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Parsed:
    """An expression that passed the static check.

    Attributes
    ----------
    body:
        Syntax tree of the expression.
    uses_requested:
        Whether it reads ``requested_metadata``.
    requested_names:
        Literal names that it looks up in ``requested_metadata``.
    metadata_keys:
        Literal names that it looks up in ``metadata``; None if it may look up any.
    uses_random:
        Whether it draws random numbers.
    template:
        The format string, where all of it is ``'...'.format(**metadata)``; else None.
    """

    body: ast.expr
    uses_requested: bool
    requested_names: frozenset[str]
    metadata_keys: frozenset[str] | None
    uses_random: bool
    template: str | None = None


def parse(text: str) -> Parsed:
    """Parse and check ``text``; raise RefusedError if it is not an expression of this language."""
    if len(text) > MAX_EXPRESSION:
        raise RefusedError(f"is longer than {MAX_EXPRESSION} characters", cure="move work into a task")
    tree = _tree(text.strip())
    checker = _Checker(tree)
    checker.check()
    keys = None if checker.any_metadata else frozenset(checker.metadata_keys)
    return Parsed(
        tree.body,
        checker.uses_requested,
        frozenset(checker.requested_names),
        keys,
        checker.uses_random,
        _whole_template(tree.body),
    )


def _whole_template(body: ast.expr) -> str | None:
    if not isinstance(body, ast.Call) or body.args or len(body.keywords) != 1 or body.keywords[0].arg is not None:
        return None
    if not _is_name(body.keywords[0].value, "metadata") or not isinstance(body.func, ast.Attribute):
        return None
    text = body.func.value
    return text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else None


def _tree(text: str) -> ast.Expression:
    cure = "it must be one Python expression; a string that starts with (, ' or \" is read as one"
    try:
        # Old escapes and the like make Python warn, which is of no use to who wrote the chain.
        with _PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval")
    except SyntaxError as error:
        where = f" at character {error.offset}" if error.offset else ""
        raise RefusedError(f"is not valid Python{where}: {error.msg}", cure=cure) from None
    except (RecursionError, MemoryError):
        raise RefusedError("is nested too deeply", cure="use fewer brackets") from None
    except (ValueError, UnicodeError) as error:
        raise RefusedError(f"is not valid Python: {error}", cure=cure) from None


class _Checker:
    """Walks a syntax tree without recursion; refuses all that is not on the lists."""

    def __init__(self, tree: ast.Expression) -> None:
        self.tree = tree
        self.uses_requested = self.uses_random = self.any_metadata = False
        self.metadata_keys: set[str] = set()
        self.requested_names: set[str] = set()
        self.variables: set[str] = set()
        self.special: dict[type[ast.AST], Callable[[ast.AST], Iterator[ast.AST]]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.BinOp: self._binop,
            ast.Subscript: self._subscript,
            ast.comprehension: self._comprehension,
        }

    def check(self) -> None:
        stack: list[tuple[ast.AST, int]] = [(self.tree, 0)]
        self._collect_variables()
        while stack:
            node, depth = stack.pop()
            if depth > MAX_DEPTH:
                raise RefusedError(f"is nested deeper than {MAX_DEPTH} levels", cure="use fewer brackets and operators")
            special = self.special.get(type(node))
            if special is None and not isinstance(node, _PLAIN_NODES):
                raise RefusedError(f"{type(node).__name__} is not allowed")
            children = ast.iter_child_nodes(node) if special is None else special(node)
            stack.extend((child, depth + 1) for child in children)

    def _collect_variables(self) -> None:
        for node in ast.walk(self.tree):
            if message := _FORBIDDEN.get(type(node)):
                raise RefusedError(message, cure="only plain expressions are")
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                if node.id in NAMES or node.id in FUNCTIONS or node.id.startswith("__"):
                    raise RefusedError(f"the name {node.id!r} is taken", cure="name the variable differently")
                self.variables.add(node.id)

    def _constant(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.Constant)
        value = node.value
        if value is not None and not isinstance(value, str | int | float):
            raise RefusedError(
                f"a constant of type {type(value).__name__} is not allowed", cure="use numbers or strings"
            )
        if isinstance(value, int) and value >= BIG:
            raise RefusedError("holds an integer that is too large", cure="use smaller numbers, or floats")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise RefusedError("holds a string that is too long")
        yield from ()

    def _name(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.Name)
        name = node.id
        if name == "requested_metadata":
            self.uses_requested = True
        elif name == "metadata":
            self.any_metadata = True
        elif name in SPACES:
            raise RefusedError(f"{name!r} cannot stand alone", cure=f"write {name}.something")
        elif name not in VALUES and name not in self.variables:
            if name in FUNCTIONS:
                raise RefusedError(f"{name!r} is a function", cure=f"call it: {name}(...)")
            raise _unknown("name", name, (*NAMES, *FUNCTIONS), f"an expression sees {', '.join(NAMES)}, and functions")
        yield from ()

    def _attribute(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.Attribute)
        _no_underscore(node)
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        if base == "constants":
            if node.attr not in CONSTANTS:
                raise _unknown("constant", node.attr, CONSTANTS, f"known are {', '.join(CONSTANTS)}")
        elif base != "math" or node.attr not in VALUES:
            cure = f"write {base}[{node.attr!r}]" if "metadata" in base else "only constants have attributes"
            raise RefusedError(f"the attribute .{node.attr} is not allowed", cure=cure)
        yield from ()

    def _call(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.Call)
        function = node.func
        method = ""
        if isinstance(function, ast.Attribute):
            method = self._method(function)
            if method:
                yield function.value
        elif not isinstance(function, ast.Name):
            raise RefusedError("calls something that is no function", cure="call functions by their names")
        elif function.id not in FUNCTIONS:
            raise _unknown(
                "function", function.id, FUNCTIONS, f"there are {', '.join(_BUILTINS)}, and math's functions"
            )
        template = function.value if isinstance(function, ast.Attribute) and method == "format" else None
        keys = _template_keys(template)
        for keyword in node.keywords:
            if keyword.arg is None:
                if method != "format":
                    raise RefusedError("** is allowed in .format() only", cure="give the arguments by name")
                if keys is not None and len(node.keywords) == 1 and _is_name(keyword.value, "metadata"):
                    self.metadata_keys |= keys
                    continue
            yield keyword.value
        yield from node.args

    def _method(self, function: ast.Attribute) -> str:
        """Check what is called; return the method's name if it is one of a value."""
        _no_underscore(function)
        base = function.value.id if isinstance(function.value, ast.Name) else ""
        if base in SPACES:
            known = {"random": RANDOM, "math": MATH, "constants": ()}[base]
            if function.attr not in known:
                raise _unknown(
                    f"{base} function", function.attr, known, f"known are {', '.join(sorted(known)) or 'none'}"
                )
            self.uses_random |= base == "random"
            return ""
        if function.attr not in METHOD_NAMES:
            raise _unknown(
                "method", function.attr, METHOD_NAMES, "methods that change or reach into things are not allowed"
            )
        return function.attr

    def _binop(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            formats.percent_fields(node.left.value)
        yield from ast.iter_child_nodes(node)

    def _subscript(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.Subscript)
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(key, str) and _is_name(node.value, "metadata"):
            self.metadata_keys.add(key)
            return
        if isinstance(key, str) and _is_name(node.value, "requested_metadata"):
            self.requested_names.add(key)
        yield node.value
        yield node.slice

    def _comprehension(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.comprehension)
        if node.is_async:
            raise RefusedError("async is not allowed")
        stack = [node.target]
        while stack:
            target = stack.pop()
            if isinstance(target, ast.Tuple | ast.List):
                stack.extend(target.elts)
            elif not isinstance(target, ast.Name):
                raise RefusedError("a loop variable must be a plain name")
        yield node.iter
        yield from node.ifs


def _template_keys(template: ast.expr | None) -> set[str] | None:
    """Return the keys of a constant format template (checking it), or None if it is not constant."""
    if not isinstance(template, ast.Constant) or not isinstance(template.value, str):
        return None
    return {field.key for field in formats.template(template.value) if isinstance(field.key, str)}


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _no_underscore(node: ast.Attribute) -> None:
    if node.attr.startswith("_"):
        raise RefusedError(f"the attribute .{node.attr} is not allowed", cure="no attribute may start with _")


def _unknown(what: str, name: str, known: Collection[str], otherwise: str) -> RefusedError:
    near = get_close_matches(name[:60], known, n=3, cutoff=0.7)
    cure = f"did you mean {' or '.join(near)}? {otherwise}" if near else otherwise
    return RefusedError(f"the {what} {name[:60]!r} is not known", cure=cure)
