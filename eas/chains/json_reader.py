"""Strict JSON reader: reports every problem with its location, and hints for common mistakes."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from eas.chains.limits import finite
from eas.chains.paths import child_path
from eas.chains.problems import MAX_PROBLEMS
from eas.chains.text_limits import text_problem
from eas.errors import Problem

MAX_DEPTH = 100
"""Deepest nesting of a chain file [levels of lists and objects]."""
_TOO_DEEP = Problem("", f"is nested deeper than {MAX_DEPTH} levels", "use fewer nested lists and objects")
_BY_TEXT: list[tuple[str | tuple[str, ...], str]] = [
    (("//", "/*", "#"), "JSON has no comments: remove it"),
    ("'", "write strings in double quotes"),
]
_BY_MESSAGE: list[tuple[str | tuple[str, ...], str]] = [
    ("Unterminated string", "a quote is missing"),
    ("Extra data", "a file holds one object: remove what follows it, or a } or ] too many before it"),
    ("Expecting ',' delimiter", "put a comma between elements, or close the bracket before this place"),
    ("Expecting ':'", "put a colon between a key and its value"),
    (("Invalid control character", "Invalid \\escape"), "write line breaks as \\n and backslashes as \\\\"),
    ("Expecting property name", "keys are strings in double quotes"),
]
_CHARACTERS_PER_CONTAINER = 8
_MAX_CONTAINERS = 100_000
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]', re.DOTALL)
_END: Any = object()
_WORDS = {"True": "true", "False": "false", "None": "null"}


class _InvalidValue:
    """Placeholder in the document for a value that is not valid JSON."""

    __slots__ = ("hint", "message")

    def __init__(self, message: str, hint: str) -> None:
        self.message = message
        self.hint = hint


class _ObjectWithDuplicates(dict[str, Any]):
    """A JSON object with duplicate keys."""

    duplicate_keys: tuple[str, ...] = ()


def read(text: str) -> tuple[Any, list[Problem]]:
    """Return the document in ``text`` and all its problems as JSON."""
    text = text.removeprefix("\ufeff")
    if not text.strip():
        return None, [Problem("", "the file is empty", 'write an object with a "task_list"', 1, 1)]
    if problem := _too_many_containers(text):
        return None, [problem]
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        return None, [_syntax_problem(text, error)]
    except RecursionError:
        return None, [_TOO_DEEP]
    return document, list(islice(_faults(document), MAX_PROBLEMS))


def _too_many_containers(text: str) -> Problem | None:
    """Return a problem if a text has too many brackets, because each container takes up to 250 bytes of memory."""
    most = _MAX_CONTAINERS + len(text) // _CHARACTERS_PER_CONTAINER
    if text.count("[") + text.count("{") <= most:
        return None
    number = sum(not found[0].startswith('"') for found in _STRING_OR_BRACKET.finditer(text))
    if number <= most:
        return None
    limit = f"{_MAX_CONTAINERS:,} and one for every {_CHARACTERS_PER_CONTAINER} characters"
    return Problem("", f"holds {number:,} lists and objects, more than {limit}", "use loops, or fewer nested lists")


def entries(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield key and value of each object of a document, at any depth, in no particular order."""
    stack = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            yield from value.items()
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def json_type_name(value: Any) -> str:
    """Return the JSON type of ``value`` for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number" if finite(value) else str(value)[:40]
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def decode(content: bytes) -> tuple[str, list[Problem]]:
    """Return ``content`` decoded from UTF-8, and the problems with it."""
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        return "", [Problem("", "is not UTF-8 text", "save the file with the encoding UTF-8", line, column)]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    keys = [key for key, _ in pairs]
    twice = _ObjectWithDuplicates(made)
    twice.duplicate_keys = tuple(sorted(key for key, count in Counter(keys).items() if count > 1))
    return twice


def _constant(name: str) -> _InvalidValue:
    return _InvalidValue(f"{name} is no JSON number", "give a finite number")


def _float(text: str) -> float | _InvalidValue:
    value = float(text)
    return (
        value
        if math.isfinite(value)
        else _InvalidValue(f"{text[:40]} is too large for a number", "give a smaller number")
    )


def _int(text: str) -> int | _InvalidValue:
    if len(text) > 300:
        return _InvalidValue("an integer of more than 300 digits", "give a smaller number")
    return int(text)


def _faults(document: Any) -> Iterator[Problem]:
    """Yield the problems of a document. Iterative, so that memory use is bounded by the depth."""
    steps: list[Any] = []
    open_values: list[Iterator[Any]] = [iter([("", document)])]
    while open_values:
        key, value = next(open_values[-1], (None, _END))
        if value is _END:
            open_values.pop()
            if steps:
                steps.pop()
            continue
        kind = type(value)
        if kind is str and value.isascii() and value.isprintable():
            continue
        if kind is _InvalidValue:
            yield Problem(_path([*steps, key]), value.message, value.hint)
        elif kind is str:
            if fault := text_problem(value):
                yield Problem(_path([*steps, key]), *fault)
        elif value and isinstance(value, list | dict):
            steps.append(key)
            if len(steps) > MAX_DEPTH + 1:
                yield _TOO_DEEP
                return
            if isinstance(value, dict):
                yield from _object_faults(value, steps)
            open_values.append(iter(enumerate(value) if isinstance(value, list) else value.items()))


def _path(steps: list[Any]) -> str:
    path = ""
    for step in steps[1:]:
        path = child_path(path, step)
    return path


def _object_faults(value: dict[str, Any], steps: list[Any]) -> Iterator[Problem]:
    if isinstance(value, _ObjectWithDuplicates):
        for key in value.duplicate_keys:
            yield Problem(_path([*steps, key]), f"the key {key[:60]!r} is given twice", "keep one of them")
    for key in value:
        if fault := text_problem(key):
            yield Problem(_path(steps), f"a key {fault[0]}", fault[1])


def _syntax_problem(text: str, error: json.JSONDecodeError) -> Problem:
    comma = re.compile(r",\s*([]}])").match(text, max(text.rfind(",", 0, error.pos + 1), 0))
    if comma and error.pos < comma.end():
        # Python 3.13 and newer report the comma itself, older ones what follows it: always name the comma.
        error = json.JSONDecodeError("a comma follows the last element", text, comma.start())
        hint = f"remove the comma before the {comma[1]}"
    else:
        hint = _hint(text, error)
    return Problem("", f"is not valid JSON: {error.msg}", hint, error.lineno, error.colno)


def _hint(text: str, error: json.JSONDecodeError) -> str:
    after = text[error.pos :].lstrip()
    if word := re.match(r"(True|False|None)\b", after):
        return f"write {_WORDS[word[1]]} instead of {word[1]}"
    if not after:
        return "the file ends too early: look for a missing quote, ] or }"
    for beginning, hint in _BY_TEXT:
        if after.startswith(beginning):
            return hint
    for beginning, hint in _BY_MESSAGE:
        if error.msg.startswith(beginning):
            return hint
    return "give a value: a string in double quotes, a number, a list or an object"
