"""The task type ``transit_search_tls``: transit least squares.

The method and its code ``transitleastsquares`` are those of Hippke and Heller (2019, A&A 623, A39).
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from eas.tasks import numba_cache  # noqa: F401 - before the package compiles its functions

# isort: split
import numpy as np
from transitleastsquares import transitleastsquares
from transitleastsquares.backends.fused import FusedPLBackend, FusedThreadsBackend

from eas.errors import TaskFailure
from eas.lightcurves.lightcurve import LightCurve
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import Task, TaskContext
from eas.tasks.declarations import BOX_PERIOD_MIN
from eas.tasks.lightcurves import finite
from eas.tasks.search import Search, nothing_found, prepare, result, to_json, write_debugging
from eas.tasks.search_qc import check_search

STATISTICS: Final = ("sde", "depth", "duration", "first_transit", "transit_count")
NAMES: Final = ("period_uncertainty", "snr", *STATISTICS)
NO_DIP: Final = 1e-12
"""Maximum depth that is only a rounding error."""


class Threads(FusedThreadsBackend):  # type: ignore[misc]
    """The package's default search (its backend ``fused-pl``) in threads of this process.

    The package's default is a pool of processes. They would outlive the attempt, count as leftover processes of the
    task, and hang if their parent was forked.
    """

    name = FusedPLBackend.name
    exact = FusedPLBackend.exact
    pl = FusedPLBackend.pl
    a2_spread_max = FusedPLBackend.a2_spread_max
    t0_coarsen = FusedPLBackend.t0_coarsen
    scout_every = FusedPLBackend.scout_every


class TransitSearchTLS(Task):
    """Searches ``lightcurve`` for a periodic dip of the shape of a transit.

    Output metadata: ``period`` [days], ``period_uncertainty`` [days], ``sde`` (signal detection
    efficiency), ``snr``, ``depth`` [relative flux], ``duration`` [days], ``first_transit`` (its
    middle) [days], ``transit_count``; all None where nothing was found at all. The optional output
    ``debugging`` is a tar.gz of the spectrum and the settings used.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Search, write ``debugging`` if requested, and return the result."""
        search = prepare(context, period_min=BOX_PERIOD_MIN)
        if search.nothing_to_find:
            return nothing_found(context, search, NAMES, {})
        found = power(search, context)
        metadata = result(search, _statistics(found))
        if "debugging" in context.outputs:
            write_debugging(context.outputs["debugging"], _debugging(found, metadata))
        return metadata

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the period, the statistics, the outcome and the outputs."""
        return check_search(context, metadata, STATISTICS)


def power(search: Search, context: TaskContext) -> Mapping[str, Any]:
    """Return the result of transitleastsquares; raise TaskFailure if it cannot search."""
    lightcurve = search.lightcurve
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = _model(lightcurve).power(
                period_min=search.period_min,
                period_max=search.period_max,
                use_threads=context.threads,
                backend=Threads(),
                show_progress_bar=False,
                verbose=False,
            )
    except ValueError as error:
        raise TaskFailure(
            f"transitleastsquares cannot search this light curve: {error}",
            hint="widen the range of periods, or check that the fluxes are positive and about 1",
        ) from error
    for text in sorted({str(each.message) for each in caught}):
        context.log.warning("transitleastsquares: %s", text)
    context.log.info(
        "%d trial periods, %d samples, %d threads", len(found["periods"]), len(lightcurve), context.threads
    )
    return dict(found)


def _model(lightcurve: LightCurve) -> transitleastsquares:
    return transitleastsquares(lightcurve.times, lightcurve.fluxes, lightcurve.uncertainties, verbose=False)


def _statistics(found: Mapping[str, Any]) -> dict[str, Scalar]:
    # The package's `depth` is the flux at mid-transit.
    depth = 1 - float(found["depth"])
    if not math.isfinite(found["period"]) or not depth > NO_DIP:
        return dict.fromkeys(("period", *NAMES))
    return {
        "period": float(found["period"]),
        "period_uncertainty": finite(found["period_uncertainty"]),
        "sde": finite(found["SDE"]),
        "snr": finite(found["snr"]),
        "depth": depth,
        "duration": finite(found["duration"]),
        "first_transit": finite(found["T0"]),
        "transit_count": int(found["distinct_transit_count"]),
    }


def _debugging(found: Mapping[str, Any], metadata: Mapping[str, Scalar]) -> dict[str, bytes]:
    table = io.BytesIO()
    spectrum = np.column_stack([found[name] for name in ("periods", "power", "chi2")])
    np.savetxt(table, spectrum, "%.10g", delimiter=",", header="period,power,chi2", comments="")
    return {"settings.json": to_json({"result": dict(metadata)}), "spectrum.csv": table.getvalue()}
