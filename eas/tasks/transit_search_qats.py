"""The task type ``transit_search_qats``: transits that need not be strictly periodic.

The algorithm is in `eas.tasks.qats`; here are the light curve's preparation, the grid and the result.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from eas.errors import TaskFailure
from eas.lightcurves.constants import SECONDS_PER_DAY
from eas.lightcurves.lightcurve import BoolArray, FloatArray, LightCurve
from eas.lightcurves.statistics import robust_scatter
from eas.model import Check, Metadata, Scalar
from eas.tasks import qats
from eas.tasks.base import Task, TaskContext
from eas.tasks.declarations import QATS_NUMBERS as NUMBERS
from eas.tasks.declarations import QATS_PERIOD_MIN as PERIOD_MIN
from eas.tasks.lightcurves import is_finite
from eas.tasks.qats import IntArray
from eas.tasks.search import Search, nothing_found, prepare, result, to_json, write_debugging
from eas.tasks.search_qc import check_search
from eas.tasks.settings import dictionary

SERIES: Final = (
    *("period", "transit_count", "period_span", "first_transit", "last_transit"),
    *("max_ttv_mag", "min_transit_count"),
)
"""Metadata that QC compares."""
STATISTICS: Final = ("power", "transit_count", "period_span", "first_transit", "last_transit", "depth", "duration")
MAX_STEPS: Final = 50_000_000
MAX_RANGES: Final = 5_000_000
ROUNDING: Final = 1e-6
"""[samples]"""
LABORIOUS: Final = 2e11
"""Number of ranges times durations times samples above which a search takes minutes and logs a warning."""


@dataclass(frozen=True)
class Series:
    """A light curve on a fixed step.

    Attributes
    ----------
    begin, step:
        Time of the first sample, and the step [days].
    values:
        Flux less its median, in units of its scatter, 0 where there is no sample; shape (N,).
    present:
        Where there is a sample, shape (N,).
    scatter:
        Robust standard deviation of the flux; 0 where it does not vary.
    """

    begin: float
    step: float
    values: FloatArray
    present: BoolArray
    scatter: float


@dataclass(frozen=True)
class Grid:
    """Trial values: transit ``lengths`` (d,), and ranges of spacings ``shortest`` to ``longest`` (r,) [samples]."""

    lengths: IntArray
    shortest: IntArray
    longest: IntArray
    fewest: int


class TransitSearchQATS(Task):
    """Searches ``lightcurve`` for a series of dips whose spacings vary by up to ``max_ttv_mag`` of them.

    Output metadata: ``period`` (mean spacing) [days], ``power`` (the statistic), ``transit_count``
    (those in gaps too), ``period_span`` (from the first transit to the last) [days], ``first_transit``
    and ``last_transit`` (their middles) [days], ``depth`` (mean over the samples in transit) [relative
    flux], ``duration`` [days]; all None where no dip was found at all. The optional output
    ``debugging`` is a tar.gz of the statistic over the grid and the best sequence of transits.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Search, write ``debugging`` if requested, and return the result."""
        given = dictionary(context.settings, "search_settings")
        numbers = {each.name: each.required(given, "search_settings") for each in NUMBERS}
        search = prepare(
            context,
            period_min=PERIOD_MIN,
            longest_duration=numbers["duration_max"],
            further=NUMBERS,
            fewest_transits=numbers["min_transit_count"],
        )
        if search.nothing_to_find:
            return nothing_found(context, search, STATISTICS, numbers)
        series = fixed_step(search.lightcurve)
        grid = make_grid(search, series, numbers)
        self._announce(context, series, grid)
        statistics, counts = qats.search(
            series.values, grid.lengths, grid.shortest, grid.longest, fewest=grid.fewest, threads=context.threads
        )
        row = best_row(grid, statistics, counts) if series.scatter else None
        places = qats.best_sequence(series.values, row) if row else np.empty(0, np.int64)
        metadata = result(search, _statistics(series, row, places)) | numbers
        if "debugging" in context.outputs:
            members = _debugging(series, grid, statistics, counts, row, places, metadata)
            write_debugging(context.outputs["debugging"], members)
        return metadata

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check what all searches' QC checks, and that the series of transits adds up."""
        checks = check_search(context, metadata, STATISTICS, periodic=False)
        return checks if metadata is None or metadata.get("period") is None else [*checks, *_check_series(metadata)]

    @staticmethod
    def _announce(context: TaskContext, series: Series, grid: Grid) -> None:
        ranges, durations, samples = len(grid.shortest), len(grid.lengths), len(series.values)
        context.log.info(
            "%d ranges of spacings, %d durations, %d samples of %g s, %d threads",
            ranges, durations, samples, series.step * SECONDS_PER_DAY, context.threads,
        )  # fmt: skip
        if ranges * durations * samples > LABORIOUS:
            context.log.warning("this search will take long: bin the light curve first, or raise period_min")


def fixed_step(lightcurve: LightCurve) -> Series:
    """Resample good samples to a fixed step, the median step: nearest point, averaging several samples.

    Raises TaskFailure if gaps would make the series too long.
    """
    steps = np.diff(lightcurve.times)
    step, begin = float(np.median(steps)), float(lightcurve.times[0])
    places = np.rint((lightcurve.times - begin) / step).astype(np.int64)
    count = int(places[-1]) + 1
    if count > MAX_STEPS:
        raise TaskFailure(
            f"the light curve spans {count} steps of {step * SECONDS_PER_DAY:g} s",
            hint="bin it to a longer cadence first",
        )
    numbers = np.bincount(places, minlength=count)
    present = numbers > 0
    fluxes = np.bincount(places, lightcurve.fluxes - 1, count)[present] / numbers[present]
    fluxes -= np.median(fluxes)
    scatter = robust_scatter(fluxes)
    values = np.zeros(count)
    if scatter:
        values[present] = fluxes / scatter
    return Series(begin, step, values, present, scatter)


def make_grid(search: Search, series: Series, numbers: Mapping[str, float]) -> Grid:
    """Return the grid: ranges as wide as ``max_ttv_mag`` allows, each starting in the middle of the previous one.

    Carter and Agol (2013), section 3; so any mean period lies well within some range. Raises TaskFailure
    for durations that do not fit, or a grid that is too large.
    """
    shortest_duration, longest_duration = numbers["duration_min"], numbers["duration_max"]
    if shortest_duration > longest_duration:
        raise TaskFailure(
            f"search_settings.duration_min is {shortest_duration:g} days, duration_max {longest_duration:g}",
            hint="give duration_min below duration_max",
        )
    durations = np.linspace(shortest_duration, longest_duration, int(numbers["duration_count"]))
    lengths = np.unique(np.maximum(np.rint(durations / series.step), 1).astype(np.int64))
    variation = numbers["max_ttv_mag"]
    count = math.floor(math.log(search.period_max / search.period_min) / math.log1p(variation / 2)) + 1
    if count > MAX_RANGES:
        raise TaskFailure(f"{count} ranges of periods would be needed", hint="raise search_settings.max_ttv_mag")
    periods = search.period_min / series.step * (1 + variation / 2) ** np.arange(count)
    # At short periods neighbouring ranges often round to the same numbers of samples.
    bounds = np.stack([np.floor(periods), np.ceil(periods * (1 + variation))], axis=1)
    ranges = np.unique(bounds.astype(np.int64), axis=0)
    lowest = max(math.ceil(search.period_min / series.step - ROUNDING), int(lengths[-1]))
    ranges = np.clip(ranges, lowest, math.floor(search.period_max / series.step + ROUNDING))
    ranges = ranges[ranges[:, 0] >= lowest]
    if not len(ranges) or lengths[-1] > len(series.values):
        raise TaskFailure("no transit of these durations fits into the light curve", hint="lower duration_max")
    shortest, longest = np.ascontiguousarray(ranges.T)
    return Grid(lengths, shortest, longest, int(numbers["min_transit_count"]))


def best_row(grid: Grid, statistics: FloatArray, counts: IntArray) -> qats.Row | None:
    """Return the best entry of the grid; None where no series has a positive sum of depths."""
    which, row = np.unravel_index(int(np.argmax(statistics)), statistics.shape)
    statistic = float(statistics[which, row])
    if not (math.isfinite(statistic) and statistic > 0):
        return None
    return qats.Row(
        statistic, int(counts[which, row]), int(grid.lengths[which]), int(grid.shortest[row]), int(grid.longest[row])
    )


def _statistics(series: Series, row: qats.Row | None, places: IntArray) -> dict[str, Scalar]:
    if row is None:
        return dict.fromkeys(("period", *STATISTICS))
    middles = _middles(series, row, places)
    span = float(middles[-1] - middles[0])
    inside = np.unique(places[:, None] + np.arange(row.length))
    inside = inside[series.present[inside]]
    return {
        "period": span / (row.transits - 1),
        "power": row.statistic,
        "transit_count": row.transits,
        "period_span": span,
        "first_transit": float(middles[0]),
        "last_transit": float(middles[-1]),
        "depth": -float(np.mean(series.values[inside])) * series.scatter,
        "duration": row.length * series.step,
    }


def _middles(series: Series, row: qats.Row, places: IntArray) -> FloatArray:
    middles = series.begin + (places + (row.length - 1) / 2) * series.step
    return middles.astype(np.float64)


def _check_series(metadata: Metadata) -> list[Check]:
    numbers = {name: metadata.get(name) for name in SERIES}
    if not all(is_finite(value) for value in numbers.values()):
        return [Check("series adds up", False, f"{numbers}")]
    period, count, span, first, last, variation, fewest = (float(value or 0) for value in numbers.values())
    adds_up = abs(last - first - span) <= 1e-6 * span and abs(period * (count - 1) - span) <= 2 * variation * span
    return [
        Check("series adds up", adds_up, f"{count:g} transits every {period:.6g} days in {span:.6g} days"),
        Check("enough transits", count >= fewest, f"{count:g}, at least {fewest:g} asked for"),
    ]


def _debugging(
    series: Series,
    grid: Grid,
    statistics: FloatArray,
    counts: IntArray,
    row: qats.Row | None,
    places: IntArray,
    metadata: Mapping[str, Scalar],
) -> dict[str, bytes]:
    settings = {"step": series.step, "lengths": grid.lengths.tolist(), "result": dict(metadata)}
    best = np.argmax(statistics, axis=0), np.arange(len(grid.shortest))
    header = ["period_min", "period_max", "power", "transit_count", "duration"]
    columns = [grid.shortest * series.step, grid.longest * series.step, statistics[best], counts[best]]
    columns.append(grid.lengths[best[0]] * series.step)
    members = {
        "settings.json": to_json(settings),
        "grid.csv": _table(header, columns),
    }
    if row is not None:
        windows = places[:, None] + np.arange(row.length)
        present = series.present[windows].sum(axis=1)
        dips = -series.values[windows].sum(axis=1) * series.scatter / np.maximum(present, 1)
        sequence = [_middles(series, row, places), dips, present]
        members["sequence.csv"] = _table(["time", "depth", "samples"], sequence)
    return members


def _table(header: Sequence[str], columns: Sequence[np.ndarray[Any, Any]]) -> bytes:
    table = io.BytesIO()
    np.savetxt(table, np.column_stack(columns), "%.10g", delimiter=",", header=",".join(header), comments="")
    return table.getvalue()
