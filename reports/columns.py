"""Columns: their names, units, and what goes into them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

Values: TypeAlias = dict[str, Any]
"""Metadata: names to values."""

CACHED = 50_000
"""Metadata texts whose parsed values are kept: siblings share theirs."""

DAYS = "days"
UNITS = {
    **dict.fromkeys(
        ("period", "orbital_period", "target_period", "period_min", "period_max", "period_span", "duration", "t0"), DAYS
    ),
    **dict.fromkeys(("lc_duration", "first_transit", "last_transit", "transit_time"), DAYS),
    **dict.fromkeys(("verification_time_min", "verification_time_max", "duration_min", "duration_max"), DAYS),
    **dict.fromkeys(("planet_radius", "star_radius"), "Jupiter radii"),
    **dict.fromkeys(("cadence", "sampling_cadence"), "s"),
    "semi_major_axis": "AU",
    "orbital_angle": "deg",
    "nsr": "ppm/hr",
    "depth": "relative flux",
}
"""Units of the names that the task types use for their settings and results."""


class Metadata:
    """Parses metadata texts, remembering the last ones: many tasks share the same text."""

    def __init__(self) -> None:
        self._known: dict[str, Values] = {}

    def __call__(self, text: str) -> Values:
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= CACHED:
                self._known.clear()
            found = self._known[text] = json.loads(text)
        return found


def loop_parameters(metadata: Values) -> Values:
    """Return what loops gave: for-loops' parameters, and the indices of do-while loops."""
    found = {}
    for key, value in metadata.items():
        if key.endswith("_index"):
            if key.removesuffix("_index") not in metadata:
                found[key] = value
        elif f"{key}_index" in metadata:
            found[key] = value
    return found


def parameter_keys(chunks: Iterable[Sequence[str]]) -> list[str]:
    """Return the names of all loop parameters in metadata texts, in order of first appearance."""
    parse = Metadata()
    signatures: set[tuple[str, ...]] = set()
    found: dict[str, None] = {}
    for texts in chunks:
        for text in dict.fromkeys(texts):
            metadata = parse(text)
            signature = tuple(metadata)
            if signature not in signatures:
                signatures.add(signature)
                found.update(dict.fromkeys(loop_parameters(metadata)))
    return list(found)


class ColumnNames:
    """Gives metadata keys column names that clash with no other, whatever their case.

    Parameters
    ----------
    taken:
        The table's own columns; they keep their names.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {base_name(name).casefold() for name in taken}

    def choose(self, key: str, prefix: str) -> str:
        """Return ``key``, or with ``prefix`` where it is taken; with its unit where that is known."""
        name, tries = key.strip() or prefix, 1
        while name.casefold() in self._taken:
            name = f"{prefix}_{key}" if tries == 1 else f"{prefix}_{key}_{tries}"
            tries += 1
        self._taken.add(name.casefold())
        return f"{name} [{UNITS[key]}]" if key in UNITS else name

    def choose_all(self, keys: Iterable[str], prefix: str) -> dict[str, str]:
        """Return the column of each key."""
        return {key: self.choose(key, prefix) for key in keys}


def base_name(column: str) -> str:
    """Return a column's name without its unit."""
    return column.partition(" [")[0]


def iso_times(seconds: Iterable[float | None]) -> list[str]:
    """Return Unix times [s] as ISO 8601 in UTC to the millisecond; None and NaN become empty."""
    numbers = np.array([np.nan if each is None else each for each in seconds], dtype=float)
    known = np.isfinite(numbers)
    stamps = np.where(known, np.round(numbers * 1000), 0).astype("int64").astype("datetime64[ms]")
    texts = np.char.add(np.datetime_as_string(stamps, unit="ms"), "Z")
    return np.where(known, texts, "").tolist() if len(numbers) else []  # type: ignore[no-any-return]


def numbers(values: Iterable[Any], digits: int = 6) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return values as floats rounded to ``digits`` decimals; None becomes NaN."""
    return np.round(np.array([np.nan if each is None else each for each in values], dtype=float), digits)


def texts(values: Iterable[Any]) -> pd.Series[Any]:
    """Return values as a column of objects, exactly as they are."""
    given = list(values)
    column = np.empty(len(given), dtype=object)
    column[:] = given
    return pd.Series(column, dtype=object)
