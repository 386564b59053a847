"""Validates and converts what a task's code returns, before it is recorded. Imported by the child."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from eas.errors import TaskFailure
from eas.model import Check, Scalar
from eas.worker.protocol import MEGABYTE

_INT64_BOUND = 2**63


def storable_text(text: str) -> str:
    """Return ``text`` so that any database can hold it: lone surrogates are written out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def to_metadata(returned: object) -> tuple[dict[str, Scalar], list[str]]:
    """Return output metadata as JSON scalars, and the names whose NaN or infinity became None.

    Numbers and strings of numpy become Python's. Raises TaskFailure naming what cannot be recorded.
    """
    if not isinstance(returned, Mapping):
        raise TaskFailure(
            f"run() returned {_kind(returned)} instead of a dictionary of output metadata",
            hint="return a dictionary of numbers, strings and booleans; an empty one will do",
        )
    metadata: dict[str, Scalar] = {}
    lost: list[str] = []
    for name, value in returned.items():
        if not isinstance(name, str) or not name:
            raise TaskFailure(f"the output metadata has the name {name!r}: names must be strings, and not empty")
        scalar = metadata[storable_text(name)] = _scalar(name, value)
        if scalar is None and value is not None:
            lost.append(name)
    if metadata and len(json.dumps(metadata)) > MEGABYTE:
        raise TaskFailure("the output metadata is larger than 1 MB", hint="write large results to a file product")
    return metadata, lost


def _scalar(name: str, value: Any) -> Scalar:
    """Return ``value`` as a JSON scalar (None for NaN and infinities), or raise TaskFailure."""
    kind = type(value)
    if value is None or kind is bool:
        return value  # type: ignore[no-any-return]
    if isinstance(value, str):
        return storable_text(str.__str__(value))
    if isinstance(value, int):
        return _integer(name, int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if kind.__module__.partition(".")[0] == "numpy" and getattr(value, "ndim", None) == 0:
        item = value.item()
        if type(item) is not kind:
            return _scalar(name, item)
        if "float" in kind.__name__ or kind.__name__ == "longdouble":  # .item() leaves these as they are
            return _scalar(name, float(item))
    raise TaskFailure(
        f"the output metadata {name!r} is {_kind(value)}: only numbers, strings and booleans can be recorded"
    )


def is_recordable(value: object) -> bool:
    """Return whether ``value`` is a metadata value as ``to_metadata`` returns them."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    if kind is int:
        return -_INT64_BOUND <= value < _INT64_BOUND  # type: ignore[operator]
    return value is None or kind is str or kind is bool


def _integer(name: str, value: int) -> int:
    if not -_INT64_BOUND <= value < _INT64_BOUND:
        raise TaskFailure(f"the output metadata {name!r} is an integer of more than 64 bits")
    return value


def _kind(value: object) -> str:
    kind = type(value)
    if value is None:
        return "None"
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def to_checks(returned: object) -> list[tuple[str, bool, str]]:
    """Return the checks as (name, passed, detail); raise TaskFailure if ``returned`` is no sequence of Check."""
    found = [each for each in returned if isinstance(each, Check)] if isinstance(returned, Sequence) else []
    if not isinstance(returned, Sequence) or len(found) != len(returned):
        raise TaskFailure(f"check() returned {_kind(returned)} instead of a sequence of Check")
    return [(storable_text(str(each.name)), bool(each.passed), storable_text(str(each.detail))) for each in found]
