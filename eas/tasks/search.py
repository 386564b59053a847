"""What all transit searches have in common: what is searched, the outcome, QC, debugging output."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from eas.errors import TaskFailure
from eas.lightcurves.lightcurve import LightCurve
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import TaskContext, exists
from eas.tasks.lightcurves import is_finite, read_input
from eas.tasks.settings import Number, dictionary, warn_unknown

Outcome: TypeAlias = Literal["PASS", "FAIL", "UNDEFINED"]

PERIOD_TOLERANCE: Final = 0.03
"""Largest deviation from the true period that counts as a detection, as a fraction of it."""
CARRIED: Final = ("mes", "integrated_transit_power", "pixels_in_transit")
"""Metadata of the light curve that a search's own metadata repeat."""
LC_DURATION: Final = Number("lc_duration", None, "days", low=0, above=True)
FEWEST_SAMPLES: Final = 3


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes
    ----------
    lightcurve:
        The good samples of the first ``lc_duration`` days.
    period_min, period_max:
        The range of periods [days].
    """

    lightcurve: LightCurve
    period_min: float
    period_max: float

    @property
    def span(self) -> float:
        """Time from the first to the last sample [days]."""
        return span(self.lightcurve)

    def settings(self) -> dict[str, Scalar]:
        """Return the settings in use, from which the search can be repeated, as metadata."""
        return {
            "lc_duration": self.span,
            "period_min": self.period_min,
            "period_max": self.period_max,
            "samples_searched": len(self.lightcurve),
        }


def prepare(context: TaskContext, *, period_min: float, longest_duration: float) -> Search:
    """Read the input and the settings that all searches share.

    Parameters
    ----------
    context:
        Where ``lightcurve``, ``lc_duration`` and ``search_settings`` come from.
    period_min:
        Default of the shortest period [days]; that of the longest is half the span searched.
    longest_duration:
        Longest transit that is tried [days]: periods must be longer.

    Raises
    ------
    TaskFailure
        Settings that cannot be used, or too little data for them.
    """
    given = dictionary(context.settings, "search_settings")
    warn_unknown(given, ("period_min", "period_max"), "search_settings", context.log)
    lightcurve = _searched(context)
    limit = span(lightcurve)
    low = Number("period_min", period_min, "days", low=longest_duration, above=True)
    high = Number("period_max", limit / 2, "days", low=0, above=True)
    shortest, longest = low.required(given, "search_settings"), high.required(given, "search_settings")
    if longest > limit:
        context.log.warning("period_max %g days is cut to the %g days that are searched", longest, limit)
        longest = limit
    if shortest >= longest:
        raise TaskFailure(
            f"no period to search: period_min is {shortest:g} days, period_max {longest:g} days, "
            f"in {limit:g} days of data",
            cure="lower search_settings.period_min, or search a longer light curve (lc_duration): "
            "two transits need twice the period",
        )
    return Search(lightcurve, shortest, longest)


def _searched(context: TaskContext) -> LightCurve:
    lightcurve = read_input(context, "lightcurve")
    duration = LC_DURATION.read(context.settings)
    part = lightcurve if duration is None else lightcurve.first(duration)
    part = part.select(part.good & np.isfinite(part.fluxes) & np.isfinite(part.times))
    if len(part) < FEWEST_SAMPLES:
        raise TaskFailure(f"only {len(part)} good samples to search", cure="raise lc_duration, or check the flags")
    return part


def span(lightcurve: LightCurve) -> float:
    """Return the time from the first to the last sample [days]."""
    return float(lightcurve.times[-1] - lightcurve.times[0])


def outcome(period: Scalar, target: Scalar) -> Outcome:
    """Judge the period found against the light curve's own, both [days]: PASS where it is right to within 3%."""
    if not is_finite(target):
        return "UNDEFINED"
    if not is_finite(period):
        return "FAIL"
    assert isinstance(period, int | float) and isinstance(target, int | float)
    return "PASS" if abs(period - target) <= PERIOD_TOLERANCE * abs(target) else "FAIL"


def result(search: Search, found: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return a search's output metadata: what was ``found``, the outcome and the settings used."""
    known = search.lightcurve.metadata
    target = known.get("orbital_period")
    return {
        **found,
        "outcome": outcome(found.get("period"), target),
        "target_period": target if is_finite(target) else None,
        **{name: known.get(name) for name in CARRIED},
        **search.settings(),
    }


def check_search(context: TaskContext, metadata: Metadata | None, statistics: Sequence[str]) -> list[Check]:
    """Check a search's output: never raises.

    The period lies in the range searched and all ``statistics`` are finite (or, where nothing was
    detected, all are None); the outcome is the one that the periods give; outputs exist.
    """
    outputs = [exists(name, path) for name, path in context.outputs.items()]
    if metadata is None:
        return [Check("metadata", False, "the search did not return any"), *outputs]
    period, target, verdict = metadata.get("period"), metadata.get("target_period"), metadata.get("outcome")
    expected = outcome(period, target)
    judged = Check("outcome", verdict == expected, f"{verdict}; period {period}, target {target} give {expected}")
    return [*_check_found(metadata, period, statistics), judged, *outputs]


def _check_found(metadata: Metadata, period: Scalar, statistics: Sequence[str]) -> list[Check]:
    seen = {name: metadata.get(name) for name in statistics}
    if period is None:
        found = [name for name, value in seen.items() if value is not None]
        return [Check("nothing detected", not found, f"no period; {', '.join(found) or 'no statistic'} given")]
    low, high = metadata.get("period_min"), metadata.get("period_max")
    numbers = [each for each in (low, period, high) if isinstance(each, int | float)]
    # The grid's ends are reciprocals of frequencies: rounded.
    inside = len(numbers) == 3 and numbers[0] * (1 - 1e-9) <= numbers[1] <= numbers[2] * (1 + 1e-9)
    return [
        Check("period in range", inside, f"{period} days, searched {low} to {high}"),
        *(Check(f"{name} is finite", is_finite(value), f"{value}") for name, value in seen.items()),
    ]


def write_debugging(path: Path, members: Mapping[str, bytes]) -> None:
    """Write ``members`` (name to content) as a tar.gz whose bytes depend on them alone."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
