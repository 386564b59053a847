"""Static check of the syntax tree of an expression, before it is evaluated."""

from __future__ import annotations

import ast
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from eas.chains import formats
from eas.chains.functions import CONSTANTS, FUNCTIONS, MATH, RANDOM, VALUES
from eas.chains.limits import MAX_DEPTH, MAX_EXPRESSION, MAX_TEXT, TOO_LARGE_INTEGER, NotAllowedError
from eas.names import closest_names

NAMESPACES = ("constants", "random", "math")
NAMES = ("constants", "metadata", "requested_metadata", "random", *VALUES)
"""Names available to expressions, besides functions."""

_ALLOWED_NODES = (
    ast.Expression, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Subscript, ast.Slice,
    ast.Dict, ast.Tuple, ast.List, ast.ListComp, ast.GeneratorExp, ast.DictComp,
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
    ast.Set: "a set is not allowed",
    ast.SetComp: "a set comprehension is not allowed",
    ast.MatMult: "the operator @ is not known",
}
_OPENERS = ("(", "'", '"')
_BUILTINS = [name for name in FUNCTIONS if name not in MATH or name == "pow"]
_PARSING = threading.Lock()
_MAX_CACHED_CHARACTERS = 200_000
_TAKES_KEY = ("sorted", "min", "max")


def is_expression(value: object) -> bool:
    """Return whether ``value`` is a string that is an expression: its first non-blank character is (, ' or "."""
    return isinstance(value, str) and value.lstrip().startswith(_OPENERS)


@dataclass(frozen=True, slots=True)
class Parsed:
    """An expression that passed the static check.

    Attributes
    ----------
    uses_requested:
        Whether it reads ``requested_metadata``.
    requested_names:
        Literal names that it looks up in ``requested_metadata``.
    requested_keys:
        Pairs of literals, a name and the key that it looks up in ``requested_metadata[name]``.
    metadata_keys:
        Literal names that it looks up in ``metadata``, sorted; None if it may look up any.
    uses_random:
        Whether it draws random numbers.
    template:
        The format string if the whole expression is ``'...'.format(**metadata)``; else None. By the
        evaluator, planning three of four large demo_jobs takes 11 to 31 % longer.
    """

    uses_requested: bool
    requested_names: frozenset[str]
    metadata_keys: tuple[str, ...] | None
    uses_random: bool
    template: str | None = None
    requested_keys: frozenset[tuple[str, str]] = frozenset()


def parse(text: str) -> Parsed:
    """Parse and check ``text``; raise NotAllowedError if it is not an expression of this language."""
    if len(text) > MAX_EXPRESSION:
        raise NotAllowedError(f"is longer than {MAX_EXPRESSION} characters", hint="move work into a task")
    tree = _tree(text.strip())
    checker = _Checker(tree)
    checker.check()
    keys = None if checker.any_metadata else tuple(sorted(checker.metadata_keys))
    names, pairs = frozenset(checker.requested_names), frozenset(checker.requested_keys)
    return _shared(Parsed(checker.uses_requested, names, keys, checker.uses_random, _whole_template(tree.body), pairs))


@lru_cache(maxsize=256)
def _shared(parsed: Parsed) -> Parsed:
    """Return one object for all that are equal: most expressions of a file read the same metadata.

    Without it, reading 1 MB of short expressions takes 86 MB of memory, where 60 are allowed.
    """
    return parsed


class _TreeCache:
    """LRU cache of syntax trees, limited because a tree takes 200 bytes per character of its expression."""

    def __init__(self) -> None:
        self._trees: OrderedDict[str, ast.expr] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def get(self, text: str) -> ast.expr:
        with self._lock:
            found = self._trees.get(text)
            if found is not None:
                self._trees.move_to_end(text)
                return found
        found = _tree(text.strip()).body
        with self._lock:
            self._characters += 0 if text in self._trees else len(text)
            self._trees[text] = found
            while self._characters > _MAX_CACHED_CHARACTERS:
                oldest, _ = self._trees.popitem(last=False)
                self._characters -= len(oldest)
        return found


_bodies = _TreeCache()


def syntax_tree(text: str) -> ast.expr:
    """Return the syntax tree of ``text``, which ``parse`` accepted."""
    return _bodies.get(text)


def function_name(node: ast.expr) -> str | None:
    """Return which function of the language ``node`` names, as ``map`` and ``key=`` take it; None if it is none."""
    if isinstance(node, ast.Attribute) and _is_name(node.value, "math") and node.attr in MATH:
        return node.attr
    return node.id if isinstance(node, ast.Name) and node.id in FUNCTIONS and node.id != "map" else None


def _whole_template(body: ast.expr) -> str | None:
    if not isinstance(body, ast.Call) or body.args or len(body.keywords) != 1 or body.keywords[0].arg is not None:
        return None
    if not _is_name(body.keywords[0].value, "metadata") or not isinstance(body.func, ast.Attribute):
        return None
    text = body.func.value
    return text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else None


def _tree(text: str) -> ast.Expression:
    hint = "it must be one Python expression; a string that starts with (, ' or \" is read as one"
    try:
        # Python warns of invalid escapes and the like. The lock is needed because catch_warnings is not thread-safe.
        with _PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval")
    except SyntaxError as error:
        where = f" at character {error.offset}" if error.offset else ""
        raise NotAllowedError(f"is not valid Python{where}: {error.msg}", hint=hint) from None
    except (RecursionError, MemoryError):
        raise NotAllowedError("is nested too deeply", hint="use fewer brackets") from None
    except (ValueError, UnicodeError) as error:
        raise NotAllowedError(f"is not valid Python: {error}", hint=hint) from None


class _Checker:
    """Walks a syntax tree without recursion; rejects all nodes and names that are not on the allowlists."""

    def __init__(self, tree: ast.Expression) -> None:
        self.tree = tree
        self.uses_requested = self.uses_random = self.any_metadata = False
        self.metadata_keys: set[str] = set()
        self.requested_names: set[str] = set()
        self.requested_keys: set[tuple[str, str]] = set()
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
                raise NotAllowedError(
                    f"is nested deeper than {MAX_DEPTH} levels", hint="use fewer brackets and operators"
                )
            special = self.special.get(type(node))
            if special is None and not isinstance(node, _ALLOWED_NODES):
                raise NotAllowedError(f"{type(node).__name__} is not allowed")
            children = ast.iter_child_nodes(node) if special is None else special(node)
            stack.extend((child, depth + 1) for child in children)

    def _collect_variables(self) -> None:
        for node in ast.walk(self.tree):
            if message := _FORBIDDEN.get(type(node)):
                raise NotAllowedError(message, hint="only plain expressions are")
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                if node.id in NAMES or node.id in FUNCTIONS or node.id.startswith("__"):
                    raise NotAllowedError(f"the name {node.id!r} is taken", hint="name the variable differently")
                self.variables.add(node.id)

    def _constant(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.Constant)
        value = node.value
        if value is not None and not isinstance(value, str | int | float):
            raise NotAllowedError(
                f"a constant of type {type(value).__name__} is not allowed", hint="use numbers or strings"
            )
        if isinstance(value, int) and value >= TOO_LARGE_INTEGER:
            raise NotAllowedError("holds an integer that is too large", hint="use smaller numbers, or floats")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise NotAllowedError("holds a string that is too long")
        yield from ()

    def _name(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.Name)
        name = node.id
        if name == "requested_metadata":
            self.uses_requested = True
        elif name == "metadata":
            self.any_metadata = True
        elif name in NAMESPACES:
            raise NotAllowedError(f"{name!r} cannot be used alone", hint=f"write {name}.something")
        elif name not in VALUES and name not in self.variables:
            if name in FUNCTIONS:
                raise NotAllowedError(f"{name!r} is a function", hint=f"call it: {name}(...)")
            raise _unknown("name", name, (*NAMES, *FUNCTIONS), f"available: {', '.join(NAMES)}, and functions")
        yield from ()

    def _attribute(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.Attribute)
        _no_underscore(node)
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        if base == "constants":
            if node.attr not in CONSTANTS:
                raise _unknown("constant", node.attr, CONSTANTS, f"known are {', '.join(CONSTANTS)}")
        elif base != "math" or node.attr not in VALUES:
            hint = f"write {base}[{node.attr!r}]" if "metadata" in base else "only constants have attributes"
            raise NotAllowedError(f"the attribute .{node.attr} is not allowed", hint=hint)
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
            raise NotAllowedError(
                "calls an expression that is not a function name", hint="call functions by their names"
            )
        elif function.id not in FUNCTIONS:
            raise _unknown(
                "function", function.id, FUNCTIONS, f"there are {', '.join(_BUILTINS)}, and math's functions"
            )
        template = function.value if isinstance(function, ast.Attribute) and method == "format" else None
        keys = _template_keys(template)
        own = function.id if isinstance(function, ast.Name) else ""
        arguments = list(node.args)
        if own == "map" and (not arguments or function_name(arguments.pop(0)) is None):
            raise NotAllowedError("map takes the name of a function first", hint="for example map(str, range(3))")
        for keyword in node.keywords:
            if keyword.arg == "key" and own in _TAKES_KEY:
                if function_name(keyword.value) is None:
                    raise NotAllowedError("key= takes the name of a function", hint="for example key=abs")
                continue
            if keyword.arg is None:
                if method != "format":
                    raise NotAllowedError("** is allowed in .format() only", hint="give the arguments by name")
                if keys is not None and len(node.keywords) == 1 and _is_name(keyword.value, "metadata"):
                    self.metadata_keys |= keys
                    continue
            yield keyword.value
        yield from arguments

    def _method(self, function: ast.Attribute) -> str:
        """Check what is called; return the method's name if it is one of a value."""
        _no_underscore(function)
        base = function.value.id if isinstance(function.value, ast.Name) else ""
        if base in NAMESPACES:
            known = {"random": RANDOM, "math": MATH, "constants": ()}[base]
            if function.attr not in known:
                raise _unknown(
                    f"{base} function", function.attr, known, f"known are {', '.join(sorted(known)) or 'none'}"
                )
            self.uses_random |= base == "random"
            return ""
        if function.attr != "format":
            hint = f"write {base}[...]" if "metadata" in base else "only strings have a method: format"
            raise NotAllowedError(f"the method .{function.attr} is not allowed", hint=hint)
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
        outer = node.value.slice if isinstance(node.value, ast.Subscript) else None
        if isinstance(outer, ast.Constant) and isinstance(outer.value, str) and isinstance(key, str):
            assert isinstance(node.value, ast.Subscript)
            if _is_name(node.value.value, "requested_metadata"):
                self.requested_keys.add((outer.value, key))
        yield node.value
        yield node.slice

    def _comprehension(self, node: ast.AST) -> Iterator[ast.AST]:
        assert isinstance(node, ast.comprehension)
        if node.is_async:
            raise NotAllowedError("async is not allowed")
        stack = [node.target]
        while stack:
            target = stack.pop()
            if isinstance(target, ast.Tuple | ast.List):
                stack.extend(target.elts)
            elif not isinstance(target, ast.Name):
                raise NotAllowedError("a loop variable must be a plain name")
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
        raise NotAllowedError(f"the attribute .{node.attr} is not allowed", hint="no attribute may start with _")


def _unknown(what: str, name: str, known: Collection[str], otherwise: str) -> NotAllowedError:

    def hint() -> str:
        near = closest_names(name, known, cutoff=0.7)
        return f"did you mean {' or '.join(near)}? {otherwise}" if near else otherwise

    return NotAllowedError(f"the {what} {name[:60]!r} is not known", hint=hint)
