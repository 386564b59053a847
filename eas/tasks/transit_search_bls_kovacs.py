"""The task type ``transit_search_bls_kovacs``: box least squares like Kovacs' routine ``eebls``.

The method is that of Kovacs, Zucker and Mazeh (2002, A&A 391, 369), with the correction for edge
effects (`eas.tasks.eebls`). It uses no uncertainties: all samples weigh the same.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from eas.errors import TaskFailure
from eas.lightcurves.lightcurve import FloatArray
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import Task, TaskContext
from eas.tasks.declarations import BOX_PERIOD_MIN, QMAX, QMIN
from eas.tasks.eebls import Box, FoldedSearch
from eas.tasks.lightcurves import finite
from eas.tasks.search import Search, nothing_found, prepare, result, to_json, write_debugging
from eas.tasks.search_qc import check_search
from eas.tasks.settings import dictionary

BIN_COUNT: Final = 200
"""Number of bins of the folded light curve: with ten, half the period is found as often as the period."""
STATISTICS: Final = ("power", "sde", "snr", "depth", "duration", "first_transit", "transit_count")
MAX_FREQUENCIES: Final = 50_000_000
MAX_FREQUENCY_OFFSET: Final = 5
"""Number of frequency steps on either side within which a multiple of a period is searched: half the shortest box."""
MIN_RELATIVE_POWER: Final = 0.85
"""Minimum power of a multiple of the best period, relative to the highest power, to be preferred."""
MAX_PEAKS: Final = 1000
"""Maximum number of peaks that are examined for a dip, strongest first."""


@dataclass(frozen=True)
class Grid:
    """Frequencies ``lowest + step * (0 ... count - 1)`` [1/day], and the range of fractional transit lengths."""

    lowest: float
    step: float
    count: int
    qmin: float
    qmax: float

    def frequency(self, index: int) -> float:
        """Return a frequency [1/day]."""
        return self.lowest + self.step * index


class TransitSearchBLSKovacs(Task):
    """Searches ``lightcurve`` for a periodic box-shaped dip.

    If multiples of the best period explain the light curve about as well, the longest period is reported.
    The fractional transit lengths from ``search_settings.qmin`` to ``qmax`` (0.05 to 0.2) are those
    of the paper: a transit that is shorter is found with the out-of-transit samples around it, so
    its ``depth`` is diluted, and ``duration`` too long. Output metadata: ``period`` [days], ``power``
    (signal residue, equation 5), ``sde`` (equation 6), ``snr`` (effective signal-to-noise ratio, section
    3; noise is the scatter of the whole light curve), ``depth`` [relative flux], ``duration`` [days],
    ``first_transit`` (its middle) [days], ``transit_count``; all None where no dip was found at all.
    The optional output ``debugging`` is a tar.gz of the spectrum and the settings used.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Search, write ``debugging`` if requested, and return the result."""
        search = prepare(context, period_min=BOX_PERIOD_MIN, further=(QMIN, QMAX))
        lengths = transit_lengths(dictionary(context.settings, "search_settings"))
        if search.nothing_to_find:
            return nothing_found(context, search, STATISTICS, lengths)
        grid = make_grid(search, **lengths)
        context.log.info("%d trial frequencies, %d samples", grid.count, len(search.lightcurve))
        lightcurve = search.lightcurve
        spectrum, found = search_grid(lightcurve.times, lightcurve.fluxes, grid, threads=context.threads)
        metadata = result(search, _statistics(spectrum, found, search)) | lengths
        if "debugging" in context.outputs:
            write_debugging(context.outputs["debugging"], _debugging(spectrum, grid, metadata))
        return metadata

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the period, the statistics, the outcome and the outputs."""
        return check_search(context, metadata, STATISTICS)


def transit_lengths(given: Mapping[str, object]) -> dict[str, float]:
    """Return ``qmin`` and ``qmax``; raise TaskFailure where they exclude each other."""
    qmin, qmax = QMIN.required(given, "search_settings"), QMAX.required(given, "search_settings")
    if qmin > qmax:
        raise TaskFailure(f"search_settings.qmin is {qmin:g}, above qmax, {qmax:g}", hint="give qmin below qmax")
    return {"qmin": qmin, "qmax": qmax}


def make_grid(search: Search, qmin: float, qmax: float) -> Grid:
    """Return the trial frequencies: neighbours differ in phase by one bin over the span.

    Raises TaskFailure for too many frequencies.
    """
    lowest = max(1 / search.period_max, np.nextafter(1 / search.span, math.inf))
    step = 1 / (search.span * BIN_COUNT)
    count = max(1, math.floor((1 / search.period_min - lowest) / step) + 1)
    if count > MAX_FREQUENCIES:
        raise TaskFailure(
            f"{count} trial frequencies would be needed", hint="raise search_settings.period_min, or lower lc_duration"
        )
    return Grid(float(lowest), step, count, qmin, qmax)


def search_grid(
    times: FloatArray, fluxes: FloatArray, grid: Grid, *, threads: int = 1
) -> tuple[FloatArray, Box | None]:
    """Return the spectrum, shape (count,), and the strongest dip in it; None where there is no dip.

    The spectrum does not distinguish dips from brightenings, so its peaks are examined in turn, the
    strongest first. Constant fluxes have no dip.
    """
    folded = FoldedSearch(times, fluxes, BIN_COUNT, qmin=grid.qmin, qmax=grid.qmax, threads=threads)
    spectrum = folded.spectrum(grid.lowest, grid.step, grid.count)
    noise = np.spacing(np.max(np.abs(fluxes)))
    if spectrum.max() <= noise:
        return spectrum, None
    peaks = np.argsort(spectrum)[::-1][:MAX_PEAKS]
    for index in peaks:
        box = folded.box(grid.frequency(int(index)))
        if box.depth > noise:
            return spectrum, _fundamental(folded, grid, spectrum, box)
    return spectrum, None


def _fundamental(folded: FoldedSearch, grid: Grid, spectrum: FloatArray, found: Box) -> Box:
    """Return the longest multiple of the period found that explains the light curve about as well.

    Transits shorter than half the shortest box fit into it at half the period just as well: the
    same samples in as many others, the same power. At twice the true period, half of them are lost.
    """
    frequency = 1 / found.period
    for multiple in range(math.floor(frequency / grid.lowest * (1 + 1e-9)), 1, -1):
        centre = round((frequency / multiple - grid.lowest) / grid.step)
        low, high = max(0, centre - MAX_FREQUENCY_OFFSET), min(grid.count, centre + MAX_FREQUENCY_OFFSET + 1)
        peak = low + int(np.argmax(spectrum[low:high]))
        if spectrum[peak] >= MIN_RELATIVE_POWER * found.power:
            box = folded.box(grid.frequency(peak))
            if box.depth > 0:
                return box
    return found


def _statistics(spectrum: FloatArray, found: Box | None, search: Search) -> dict[str, Scalar]:
    if found is None:
        return dict.fromkeys(("period", *STATISTICS))
    begin = float(search.lightcurve.times[0])
    # A transit that begins in the last bins ends in the first ones of the next period.
    bins = (found.last_bin - found.first_bin) % BIN_COUNT + 1
    middle = (found.first_bin - 1 + bins / 2) / BIN_COUNT * found.period
    first = begin + middle % found.period
    scatter = float(np.std(spectrum))
    return {
        "period": found.period,
        "power": finite(found.power),
        "sde": finite((found.power - float(np.mean(spectrum))) / scatter) if scatter > 0 else 0.0,
        "snr": finite(found.depth / search.cleaned.scatter * math.sqrt(found.share * len(search.lightcurve))),
        "depth": finite(found.depth),
        "duration": bins / BIN_COUNT * found.period,
        "first_transit": first,
        "transit_count": max(1, math.floor((begin + search.span - first) / found.period) + 1),
    }


def _debugging(spectrum: FloatArray, grid: Grid, metadata: Mapping[str, Scalar]) -> dict[str, bytes]:
    table = io.BytesIO()
    periods = 1 / (grid.lowest + grid.step * np.arange(grid.count))
    np.savetxt(table, np.column_stack([periods, spectrum]), "%.10g", delimiter=",", header="period,power", comments="")
    settings = {"bins": BIN_COUNT, "frequencies": [grid.lowest, grid.step, grid.count], "result": dict(metadata)}
    return {"settings.json": to_json(settings), "spectrum.csv": table.getvalue()}
