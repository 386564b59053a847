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

from eas.errors import EASError, TaskFailure
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
FAR_FROM_ONE: Final = 0.01
"""A median flux that differs from 1 by more is divided out, so that a depth means the same everywhere."""
DEPTH_FACTOR: Final = 3.0
"""QC measures the depth once more, in the folded light curve; a search may differ from it by this factor."""


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


def prepare(
    context: TaskContext,
    *,
    period_min: float,
    longest_duration: float = 0.0,
    further: Sequence[str] = (),
    fewest_transits: float = 2,
) -> Search:
    """Read the input and the settings that all searches share.

    Parameters
    ----------
    context:
        Where ``lightcurve``, ``lc_duration`` and ``search_settings`` come from.
    period_min:
        Default of the shortest period [days].
    longest_duration:
        Longest transit that is tried [days]: periods must be longer.
    further:
        Names in ``search_settings`` that this search reads besides the range of periods.
    fewest_transits:
        So many of the longest period fit into the span searched, by default.

    Raises
    ------
    TaskFailure
        Settings that cannot be used, or too little data for them.
    """
    given = dictionary(context.settings, "search_settings")
    warn_unknown(given, ("period_min", "period_max", *further), "search_settings", context.log)
    lightcurve = _searched(context)
    limit = span(lightcurve)
    low = Number("period_min", period_min, "days", low=longest_duration, above=True)
    high = Number("period_max", limit / fewest_transits, "days", low=0, above=True)
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
    if not (np.diff(part.times) > 0).all():
        raise TaskFailure("the times do not increase from sample to sample", cure="sort the light curve by time")
    level = float(np.median(part.fluxes))
    if level <= 0:
        raise TaskFailure(f"the median flux is {level:g}", cure="give fluxes relative to the star's own, about 1")
    if abs(level - 1) <= FAR_FROM_ONE:
        return part
    context.log.info("fluxes are divided by their median, %g", level)
    return part.evolve(fluxes=part.fluxes / level, uncertainties=part.uncertainties / level)


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


def check_search(
    context: TaskContext, metadata: Metadata | None, statistics: Sequence[str], *, periodic: bool = True
) -> list[Check]:
    """Check a search's output: never raises.

    The period lies in the range searched and all ``statistics`` are finite (or, where nothing was
    detected, all are None); the light curve, folded, shows a dip as deep as the search says (not
    where transits need not be ``periodic``); the outcome is the one that the periods give; outputs
    exist.
    """
    outputs = [exists(name, path) for name, path in context.outputs.items()]
    if metadata is None:
        return [Check("metadata", False, "the search did not return any"), *outputs]
    period, target, verdict = metadata.get("period"), metadata.get("target_period"), metadata.get("outcome")
    expected = outcome(period, target)
    judged = Check("outcome", verdict == expected, f"{verdict}; period {period}, target {target} give {expected}")
    dip = _check_dip(context, metadata) if periodic else []
    return [*_check_found(metadata, period, statistics), *dip, judged, *outputs]


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


def _check_dip(context: TaskContext, metadata: Metadata) -> list[Check]:
    """Measure the depth where the search says that the transits are; empty where it does not say."""
    names = ("period", "first_transit", "duration", "depth")
    numbers = [value for name in names if isinstance(value := metadata.get(name), int | float) and is_finite(value)]
    if len(numbers) < len(names) or "lightcurve" not in context.inputs:
        return []
    period, first, duration, depth = numbers
    if period <= 0:
        return []
    try:
        lightcurve = _searched(context)
    except EASError as error:
        return [Check("depth seen again", False, error.what)]
    away = np.abs((lightcurve.times - first + period / 2) % period - period / 2)
    inside, outside = away <= duration / 2, away > duration
    if not (inside.any() and outside.any()):
        return [Check("depth seen again", False, "no samples in and out of the transits found")]
    seen = float(np.mean(lightcurve.fluxes[outside]) - np.mean(lightcurve.fluxes[inside]))
    passed = 0 < seen <= depth * DEPTH_FACTOR and depth <= seen * DEPTH_FACTOR
    return [Check("depth seen again", passed, f"{depth:.3g} was found, the folded light curve has {seen:.3g}")]


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
