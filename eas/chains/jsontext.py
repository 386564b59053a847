"""Strict reading of JSON: every fault with its place, and the cure for what people often write."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from eas.chains.paths import child_path
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
_WORDS = {"True": "true", "False": "false", "None": "null"}


class _Fault:
    """Stands in the document for a value that JSON does not have."""

    def __init__(self, message: str, cure: str) -> None:
        self.message = message
        self.cure = cure


class _Twice(dict[str, Any]):
    """An object of which some keys were given twice."""

    keys_twice: tuple[str, ...] = ()


def read(text: str) -> tuple[Any, list[Problem]]:
    """Return the document in ``text`` and all that is wrong with it as JSON."""
    text = text.removeprefix("\ufeff")
    if not text.strip():
        return None, [Problem("", "the file is empty", 'write an object with a "task_list"', 1, 1)]
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        return None, [Problem("", f"is not valid JSON: {error.msg}", _hint(text, error), error.lineno, error.colno)]
    except RecursionError:
        return None, [_TOO_DEEP]
    return document, list(_faults(document))


def decode(content: bytes) -> tuple[str, list[Problem]]:
    """Return the text in ``content``, which must be UTF-8, and what is wrong with it."""
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
    twice = _Twice(made)
    twice.keys_twice = tuple(sorted({key for key in keys if keys.count(key) > 1}))
    return twice


def _constant(name: str) -> _Fault:
    return _Fault(f"{name} is no JSON number", "give a finite number")


def _float(text: str) -> float | _Fault:
    value = float(text)
    return value if math.isfinite(value) else _Fault(f"{text[:40]} is too large for a number", "give a smaller number")


def _int(text: str) -> int | _Fault:
    if len(text) > 300:
        return _Fault("an integer of more than 300 digits", "give a smaller number")
    return int(text)


def _faults(document: Any) -> Iterator[Problem]:
    stack: list[tuple[Any, str, int]] = [(document, "", 0)]
    while stack:
        value, path, depth = stack.pop()
        if depth > MAX_DEPTH:
            yield _TOO_DEEP
            return
        if isinstance(value, _Fault):
            yield Problem(path, value.message, value.cure)
        elif isinstance(value, str):
            if not _encodable(value):
                yield Problem(path, "holds half of a Unicode surrogate pair", "write the character itself")
        elif isinstance(value, list):
            stack.extend((value[i], child_path(path, i), depth + 1) for i in reversed(range(len(value))))
        elif isinstance(value, dict):
            yield from _object_faults(value, path)
            stack.extend((value[key], child_path(path, key), depth + 1) for key in reversed(value) if _encodable(key))


def _object_faults(value: dict[str, Any], path: str) -> Iterator[Problem]:
    if isinstance(value, _Twice):
        for key in value.keys_twice:
            yield Problem(child_path(path, key), f"the key {key[:60]!r} is given twice", "keep one of them")
    if not all(map(_encodable, value)):
        yield Problem(path, "a key holds half of a Unicode surrogate pair", "write the character itself")


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hint(text: str, error: json.JSONDecodeError) -> str:
    before = text[: error.pos].rstrip()
    after = text[error.pos :].lstrip()
    if before.endswith(",") and after[:1] in ("]", "}"):
        return f"remove the comma before the {after[0]}"
    if word := re.match(r"(True|False|None)\b", after):
        return f"write {_WORDS[word[1]]} instead of {word[1]}"
    if not after:
        return "something is not closed: look for a missing quote, ] or }"
    for beginning, cure in _BY_TEXT:
        if after.startswith(beginning):
            return cure
    for beginning, cure in _BY_MESSAGE:
        if error.msg.startswith(beginning):
            return cure
    return "give a value: a string in double quotes, a number, a list or an object"
