"""The task type ``transit_search_bls_reference``: box least squares, as astropy implements it.

The method is that of Kovacs, Zucker and Mazeh (2002, A&A 391, 369); astropy's
``BoxLeastSquares`` maximises the likelihood, after Hartman and Bakos (2016, A&C 17, 1).
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from astropy.timeseries import BoxLeastSquares

from eas.lightcurves.lightcurve import FloatArray, LightCurve
from eas.model import Check, Metadata, Scalar
from eas.plain_text import duration_text
from eas.tasks.base import Task, TaskContext
from eas.tasks.declarations import BOX_PERIOD_MIN, LONGEST_BOX
from eas.tasks.lightcurves import finite
from eas.tasks.search import Search, nothing_found, prepare, result, to_json, write_debugging
from eas.tasks.search_qc import check_search

DURATIONS: Final = np.linspace(0.05, LONGEST_BOX, 10)
"""Transit durations that are tried [days]."""
MINIMUM_N_TRANSIT: Final = 2
FREQUENCY_FACTOR: Final = 2.0
STATISTICS: Final = ("power", "depth", "duration", "first_transit", "transit_count")
MIN_WORK_TO_ESTIMATE: Final = 2e9
"""Minimum number of trial periods times samples for which the duration is estimated first."""
ESTIMATE_SAMPLE_SIZE: Final = 16
"""Number of trial periods, spread over their range, from which the total duration is estimated."""
REPORT_AFTER: Final = 60.0
"""Minimum duration [s] of a search that reports its progress."""
WARN_AFTER: Final = 1800.0
PROGRESS_REPORTS: Final = 20
"""Number of progress reports of a long search."""
COLUMNS: Final = ("period", "power", "depth", "depth_err", "duration", "transit_time")
"""Of the periodogram in the debugging output."""


class Periodogram(NamedTuple):
    """What astropy found for each trial period: arrays of one length; times in days, depths in relative flux."""

    period: FloatArray
    power: FloatArray
    depth: FloatArray
    depth_err: FloatArray
    duration: FloatArray
    transit_time: FloatArray
    objective: str


class TransitSearchBLSReference(Task):
    """Searches ``lightcurve`` for a periodic box-shaped dip.

    Output metadata: ``period`` [days], ``power`` (gain in log-likelihood, in units of the
    uncertainties or, where there are none, of the scatter), ``depth`` [relative flux], ``duration``
    [days], ``first_transit`` (its middle) [days], ``transit_count``; all None where no dip was found
    at all. The optional output ``debugging`` is a tar.gz of the periodogram and the settings used.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Search, write ``debugging`` if requested, and return the result."""
        search = prepare(context, period_min=BOX_PERIOD_MIN, longest_duration=LONGEST_BOX)
        if search.nothing_to_find:
            return nothing_found(context, search, STATISTICS, {})
        model = _model(search.lightcurve)
        periods = _periods(model, search)
        context.log.info("%d trial periods, %d samples", len(periods), len(search.lightcurve))
        periodogram = _power(model, periods, context)
        metadata = result(search, _best(periodogram, search))
        if "debugging" in context.outputs:
            write_debugging(context.outputs["debugging"], _debugging(periodogram, metadata))
        return metadata

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the period, the statistics, the outcome and the outputs."""
        return check_search(context, metadata, STATISTICS)


def _model(lightcurve: LightCurve) -> BoxLeastSquares:
    return BoxLeastSquares(lightcurve.times, lightcurve.fluxes, dy=lightcurve.uncertainties)


def _periods(model: BoxLeastSquares, search: Search) -> FloatArray:
    periods = model.autoperiod(
        DURATIONS,
        minimum_period=search.period_min,
        maximum_period=search.period_max,
        minimum_n_transit=MINIMUM_N_TRANSIT,
        frequency_factor=FREQUENCY_FACTOR,
    )
    # The last step of the frequency grid may lie a little outside the range.
    inside: FloatArray = periods[(periods >= search.period_min * (1 - 1e-9)) & (periods <= search.period_max)]
    return inside if len(inside) else np.array([search.period_min])


def _power(model: BoxLeastSquares, periods: FloatArray, context: TaskContext) -> Periodogram:
    """Search all periods; split long searches into parts, as the results of periods are independent."""
    expected = _expected_seconds(model, periods)
    if expected > REPORT_AFTER:
        context.log.info("this search takes about %s", duration_text(expected))
    if expected > WARN_AFTER:
        context.log.warning("to make it faster: raise search_settings.period_min, lower lc_duration or bin first")
    parts = np.array_split(periods, min(PROGRESS_REPORTS, len(periods)) if expected > REPORT_AFTER else 1)
    began, done, found = time.monotonic(), 0, []
    for part in parts:
        found.append(model.power(part, DURATIONS))
        done += len(part)
        if len(parts) > 1:
            share, spent = done / len(periods), time.monotonic() - began
            context.log.info(
                "%.0f %% of the periods after %s; about %s left",
                100 * share,
                duration_text(spent),
                duration_text(spent / share - spent),
            )
    columns = [np.concatenate([np.asarray(getattr(each, name)) for each in found]) for name in COLUMNS]
    return Periodogram(**dict(zip(COLUMNS, columns, strict=True)), objective=str(found[0].objective))


def _expected_seconds(model: BoxLeastSquares, periods: FloatArray) -> float:
    """Estimate the duration of the search [s] from a few periods; 0 for short searches."""
    if len(periods) * len(model.t) < MIN_WORK_TO_ESTIMATE or len(periods) <= ESTIMATE_SAMPLE_SIZE:
        return 0.0
    few = periods[np.linspace(0, len(periods) - 1, ESTIMATE_SAMPLE_SIZE, dtype=int)]
    began = time.monotonic()
    model.power(few, DURATIONS)
    return (time.monotonic() - began) / ESTIMATE_SAMPLE_SIZE * len(periods)


def _best(periodogram: Periodogram, search: Search) -> dict[str, Scalar]:
    power = np.where(np.isfinite(periodogram.power) & (periodogram.depth > 0), periodogram.power, -np.inf)
    best = int(np.argmax(power))
    if not (math.isfinite(power[best]) and power[best] > 0):
        return dict.fromkeys(("period", *STATISTICS))
    period, begin = float(periodogram.period[best]), float(search.lightcurve.times[0])
    first = begin + (float(periodogram.transit_time[best]) - begin) % period
    return {
        "period": period,
        "power": finite(power[best]),
        "depth": finite(periodogram.depth[best]),
        "duration": finite(periodogram.duration[best]),
        "first_transit": first,
        "transit_count": math.floor((begin + search.span - first) / period) + 1,
    }


def _debugging(periodogram: Periodogram, metadata: Mapping[str, Scalar]) -> dict[str, bytes]:
    table = io.BytesIO()
    columns = np.column_stack([getattr(periodogram, name) for name in COLUMNS])
    np.savetxt(table, columns, "%.10g", delimiter=",", header=",".join(COLUMNS), comments="")
    settings = {
        "durations": DURATIONS.tolist(),
        "minimum_n_transit": MINIMUM_N_TRANSIT,
        "frequency_factor": FREQUENCY_FACTOR,
        "objective": periodogram.objective,
        "result": dict(metadata),
    }
    return {"settings.json": to_json(settings), "periodogram.csv": table.getvalue()}
