"""Names chosen by users: suggestions for misspelt names, metadata keys of loops, labels of tasks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

_MAX_CANDIDATES = 200
_MAX_CHARS = 60
_INDEX = "_index"


def index_name(loop: str) -> str:
    """Return the metadata key of a loop's index: ``x_index`` belongs to the loop over ``x``."""
    return loop + _INDEX


def loop_keys(metadata: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield metadata key and name of each loop that metadata were inherited from.

    The key of a for-loop is that of its value, of a do-while loop that of its index.
    """
    keys = dict.fromkeys(metadata)
    for key in keys:
        if key.endswith(_INDEX):
            loop = key.removesuffix(_INDEX)
            if loop not in keys:
                yield key, loop
        elif index_name(key) in keys:
            yield key, key


def loop_label(metadata: Mapping[str, Any]) -> str:
    """Return ``size=0.089, tda_loop=2``: the loops' parameters, and the indices of while loops."""
    values = {loop: metadata[key] for key, loop in loop_keys(metadata)}
    return ", ".join(
        f"{loop}={each:.4g}" if isinstance(each, float) else f"{loop}={each}" for loop, each in values.items()
    )


def label_of(task_type: str | None, name: str | None, metadata: Mapping[str, Any]) -> str:
    """Return a task's type, its name in the chain and its loop values: ``transit_search_tls "deep" [size=0.089]``."""
    parts = [task_type or "task"]
    if name:
        parts.append(f'"{name}"')
    if values := loop_label(metadata):
        parts.append(f"[{values}]")
    return " ".join(parts)


def closest_names(name: str, known: Iterable[str], limit: int = 3, *, cutoff: float = 0.6) -> list[str]:
    """Return up to ``limit`` of the ``known`` names that are similar to ``name`` or start like it, best first.

    Only the first 200 names and 60 characters of each are compared: the cost is bounded, whatever a user wrote.
    """
    wanted = name.strip()[:_MAX_CHARS]
    candidates = {each[:_MAX_CHARS]: each for each in islice(known, _MAX_CANDIDATES)}
    near = difflib.get_close_matches(wanted, candidates, n=limit, cutoff=cutoff)
    alike = [(_shared(wanted.lower(), each.lower()), each) for each in candidates if each not in near]
    least = max(4, 2 * len(wanted) // 3)
    near += [each for shared, each in sorted(alike, key=lambda pair: -pair[0]) if shared >= least]
    return [candidates[each] for each in near[:limit]]


def _shared(one: str, other: str) -> int:
    """Return the length of the common prefix of two strings."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (first, second) in pairs if first != second), min(len(one), len(other)))
