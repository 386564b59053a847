"""Columns: names, units and values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from eas.names import loop_keys
from reports import csv_cells

Values: TypeAlias = dict[str, Any]
"""Metadata: names to values."""

CACHED = 50_000
"""Size of the cache of parsed metadata texts, which siblings share."""

DAYS = "days"
UNITS = {
    **dict.fromkeys(
        ("period", "orbital_period", "target_period", "period_min", "period_max", "period_span", "duration", "t0"), DAYS
    ),
    **dict.fromkeys(("lc_duration", "first_transit", "last_transit", "transit_time", "period_uncertainty"), DAYS),
    **dict.fromkeys(("verification_time_min", "verification_time_max", "duration_min", "duration_max"), DAYS),
    **dict.fromkeys(("planet_radius", "star_radius"), "Jupiter radii"),
    **dict.fromkeys(("cadence", "sampling_cadence"), "s"),
    "semi_major_axis": "AU",
    "orbital_angle": "deg",
    "nsr": "ppm/hr",
    "depth": "relative flux",
}
"""Units of the names that the task types use for their settings and results."""


CLOCK = (("T", 3_600_000, 24, 2), (":", 60_000, 60, 2), (":", 1000, 60, 2), (".", 1, 1000, 3))
"""Parts of a time of day: separator before it, unit [ms], modulus, number of digits."""


class Metadata:
    """Parses metadata texts with a cache: many tasks share the same text."""

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
    """Return the parameters of for-loops and the indices of do-while loops."""
    return {key: metadata[key] for key, _ in loop_keys(metadata)}


def parameter_keys(chunks: Iterable[Sequence[str]]) -> list[str]:
    """Return the names of all loop parameters in metadata texts, in order of first appearance."""
    found: dict[str, None] = {}
    signatures: set[tuple[str, ...]] = set()
    for texts in chunks:
        for text in dict.fromkeys(texts):
            metadata = json.loads(text)
            signature = tuple(metadata)
            if signature not in signatures:
                signatures.add(signature)
                found.update(dict.fromkeys(loop_parameters(metadata)))
    return list(found)


class UnknownParametersError(Exception):
    """Rows have loop parameters, ``keys``, that have no column."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(f"unexpected loop parameters: {', '.join(keys)}")
        self.keys = list(keys)


class LoopValues:
    """Extracts the values of loop parameters from metadata texts, optimised for many rows.

    Parameters
    ----------
    keys:
        The parameters, in the order of their columns.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = list(keys)
        self._known: dict[str, tuple[Any, ...]] = {}
        self._picks: dict[tuple[str, ...], tuple[str | None, ...]] = {}

    def __call__(self, text: str) -> tuple[Any, ...]:
        """Return the values, None where there is none. Raises UnknownParametersError."""
        self._learn([text])
        return self._known[text]

    def columns(self, metadata: Iterable[str]) -> list[Sequence[Any]]:
        """Return the values by parameter."""
        given = list(metadata)
        if len(self._known) >= CACHED:
            self._known.clear()
        self._learn([text for text in dict.fromkeys(given) if text not in self._known])
        rows = [self._known[text] for text in given]
        return list(zip(*rows, strict=True)) if rows else [()] * len(self.keys)

    def _learn(self, texts: Sequence[str]) -> None:
        # One call of the parser for all texts: half of the time of a call for each of them.
        for text, metadata in zip(texts, json.loads(f"[{','.join(texts)}]"), strict=True):
            signature = tuple(metadata)
            picks = self._picks.get(signature) or self._picks.setdefault(signature, self._pick(metadata))
            self._known[text] = tuple([None if key is None else metadata[key] for key in picks])

    def _pick(self, metadata: Values) -> tuple[str | None, ...]:
        loops = loop_parameters(metadata)
        unknown = [key for key in loops if key not in self.keys]
        if unknown:
            raise UnknownParametersError(unknown)
        return tuple(key if key in loops else None for key in self.keys)


class ColumnNames:
    """Gives metadata keys column names that differ from all others, ignoring case.

    Parameters
    ----------
    taken:
        The table's own columns; they keep their names.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {base_name(name).casefold() for name in taken}

    def choose(self, key: str, prefix: str) -> str:
        """Return ``key``, with ``prefix`` if it is taken, and with its unit if that is known."""
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
    given = np.array(list(seconds), dtype=float)
    known = np.isfinite(given)
    day, rest = np.divmod(np.where(known, np.round(given * 1000), 0).astype(np.int64), 86_400_000)
    different, which = np.unique(day, return_inverse=True)
    days = np.datetime_as_string(different.astype("datetime64[D]")).tolist()
    parts = [csv_cells.matrix(days)[which]]
    for sign, unit, limit, count in CLOCK:
        parts += [csv_cells.constant(ord(sign), len(given)), csv_cells.digits(rest // unit % limit, count)]
    text = csv_cells.beside([*parts, csv_cells.constant(ord("Z"), len(given))])
    text[~known] = 0
    found = csv_cells.to_texts(text)
    # The year 10000 is one digit longer than others.
    return found if len(set(map(len, days))) <= 1 else [each.replace("\0", "") for each in found]


def numbers(values: Iterable[Any], digits: int = 6) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return values as floats rounded to ``digits`` decimals; None becomes NaN."""
    # numpy converts None to NaN.
    return np.round(np.array(list(values), dtype=float), digits)


def texts(values: Iterable[Any]) -> pd.Series[Any]:
    """Return values as a column of objects, exactly as they are."""
    given = list(values)
    column = np.empty(len(given), dtype=object)
    column[:] = given
    return pd.Series(column, dtype=object)
