"""Validates the messages of a child process: a task's code can write arbitrary bytes to the same connection."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from eas.worker.protocol import Message
from eas.worker.result_validation import is_recordable

_Test = Callable[[object], bool]


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and math.isfinite(value)  # type: ignore[arg-type]


def _numbers(count: int) -> _Test:
    return lambda value: isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _row(*tests: _Test) -> _Test:
    """Return the test of a list whose elements pass ``tests``, one by one."""
    return lambda value: (
        isinstance(value, list)
        and len(value) == len(tests)
        and all(test(each) for test, each in zip(tests, value, strict=True))
    )


def _list_of(test: _Test) -> _Test:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _is_metadata(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_recordable, value.values()))


def _is_bool(value: object) -> bool:
    return type(value) is bool


_ENTRY = _row(_is_number, lambda value: type(value) is int, _is_text, _is_text, lambda v: v is None or _is_text(v))
_FIELDS: Mapping[str, Mapping[str, _Test]] = {
    "ready": {"totals": _numbers(2), "resident": _is_number},
    "halted": {},
    "log": {"entry": _ENTRY},
    "ran": {"reason": _is_text, "metadata": _is_metadata},
    "result": {
        "id": lambda value: type(value) is int,
        "started": _is_number,
        "ended": _is_number,
        "usage": _numbers(4),
        "totals": _numbers(2),
        "retire": _is_text,
        "reason": _is_text,
        "metadata": _is_metadata,
        "checks": _list_of(_row(_is_text, _is_bool, _is_text)),
        "new": _list_of(_row(_is_text, _is_text, _is_bool)),
    },
}
"""The fields of each kind of message, with the test that each value must pass."""


def checked(message: object) -> Message:
    """Return ``message`` if it is one that a child sends, with all its fields; else raise ValueError."""
    if not isinstance(message, dict):
        raise ValueError("the message is not a JSON object")
    fields = _FIELDS.get(said) if isinstance(said := message.get("say"), str) else None
    if fields is None:
        raise ValueError("the message has an unknown kind")
    for name, test in fields.items():
        if not test(message.get(name, Ellipsis)):
            raise ValueError(f"the field {name} of the message {said} has an invalid type or value")
    return message
