"""The task type ``transit_search_bls_reference``: box least squares, as astropy implements it.

The method is that of Kovacs, Zucker and Mazeh (2002, A&A 391, 369); astropy's
``BoxLeastSquares`` maximises the likelihood, after Hartman and Bakos (2016, A&C 17, 1).
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from astropy.timeseries import BoxLeastSquares

from eas.lightcurves.lightcurve import FloatArray, LightCurve
from eas.model import Check, Metadata, Scalar
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
LABORIOUS: Final = 2e10
"""Trial periods times samples above which a search takes more than minutes, and says so."""
COLUMNS: Final = ("period", "power", "depth", "depth_err", "duration", "transit_time")
"""Of the periodogram in the debugging output."""


class TransitSearchBLSReference(Task):
    """Searches ``lightcurve`` for a periodic box-shaped dip.

    Output metadata: ``period`` [days], ``power`` (gain in log-likelihood, in units of the
    uncertainties or, where there are none, of the scatter), ``depth`` [relative flux], ``duration``
    [days], ``first_transit`` (its middle) [days], ``transit_count``; all None where no dip was found
    at all. The optional output ``debugging`` is a tar.gz of the periodogram and the settings used.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Search, write ``debugging`` where asked for, and return what was found."""
        search = prepare(context, period_min=BOX_PERIOD_MIN, longest_duration=LONGEST_BOX)
        if search.nothing_to_find:
            return nothing_found(context, search, STATISTICS, {})
        model = _model(search.lightcurve)
        periods = _periods(model, search)
        work = len(periods) * len(search.lightcurve)
        context.log.info("%d trial periods, %d samples", len(periods), len(search.lightcurve))
        if work > LABORIOUS:
            context.log.warning(
                "this search will take long: raise search_settings.period_min, lower lc_duration or bin first"
            )
        periodogram = model.power(periods, DURATIONS)
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


def _best(periodogram: Any, search: Search) -> dict[str, Scalar]:
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


def _debugging(periodogram: Any, metadata: Mapping[str, Scalar]) -> dict[str, bytes]:
    table = io.BytesIO()
    columns = np.column_stack([getattr(periodogram, name) for name in COLUMNS])
    np.savetxt(table, columns, "%.10g", delimiter=",", header=",".join(COLUMNS), comments="")
    settings = {
        "durations": DURATIONS.tolist(),
        "minimum_n_transit": MINIMUM_N_TRANSIT,
        "frequency_factor": FREQUENCY_FACTOR,
        "objective": str(periodogram.objective),
        "result": dict(metadata),
    }
    return {"settings.json": to_json(settings), "periodogram.csv": table.getvalue()}
