"""Splits values into chunks for one statement each, because engines limit the number of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MAX_IN_VALUES = 500
"""Values in one IN list."""


def chunks(items: Iterable[T], size: int = MAX_IN_VALUES) -> Iterator[list[T]]:
    """Yield ``items`` in lists of at most ``size``."""
    chunk: list[T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
