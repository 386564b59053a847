"""The task type ``transit_search_bls_kovacs``: box least squares by Kovacs' own routine ``eebls``.

The method is that of Kovacs, Zucker and Mazeh (2002, A&A 391, 369); ``pyeebls`` wraps the Fortran
routine, with the correction for edge effects. It knows no uncertainties: all samples weigh the same.

The routine ends the whole process (Fortran ``STOP``, exit code 0) where the lowest frequency is
below the reciprocal of the span or where the bins are too many. Neither can come from here; and
were it to happen all the same, the worker would outlive its child process.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pyeebls import eebls

from eas.errors import TaskFailure
from eas.lightcurves.lightcurve import FloatArray
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import Task, TaskContext
from eas.tasks.lightcurves import finite
from eas.tasks.search import Search, check_search, prepare, result, write_debugging
from eas.tasks.settings import Number, dictionary

GAUSSIAN: Final = 1.4826
"""Standard deviation of a normal distribution / its median absolute deviation."""
PERIOD_MIN: Final = 0.5
"""Default of the shortest period [days]."""
BINS: Final = 200
"""Of the folded light curve: with ten, half the period is found as often as the period. The routine
has room for 3000, the bins of the longest transit included."""
QMIN: Final = Number("qmin", 0.05, "transit duration / period", low=0, high=0.5, above=True)
QMAX: Final = Number("qmax", 0.2, "transit duration / period", low=0, high=0.5, above=True)
STATISTICS: Final = ("power", "sde", "snr", "depth", "duration", "first_transit", "transit_count")
MOST_FREQUENCIES: Final = 50_000_000
NEAR: Final = 5
"""Steps of frequency on either side in which a multiple of a period is looked for: half the shortest box."""
ALIKE: Final = 0.85
"""Share of the highest power with which a multiple of its period is the better explanation."""
MOST_PEAKS: Final = 1000
"""Frequencies that are looked at for a dip, strongest first, where the strongest is a brightening."""


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


@dataclass(frozen=True)
class Box:
    """What ``eebls`` says of its best frequency.

    Bins are numbered from 1, ``depth`` is negative for a brightening, ``share`` that of all samples
    that are in transit.
    """

    period: float
    power: float
    depth: float
    share: float
    first_bin: int
    last_bin: int


class TransitSearchBLSKovacs(Task):
    """Searches ``lightcurve`` for a periodic box-shaped dip.

    Of a period and its multiples that explain the light curve about as well, the longest is taken.
    The fractional transit lengths from ``search_settings.qmin`` to ``qmax`` (0.05 to 0.2) are those
    of the paper: a transit that is shorter is found with the out-of-transit samples around it, so
    its ``depth`` is diluted, and ``duration`` too long. Output metadata: ``period`` [days], ``power``
    (signal residue, equation 5), ``sde`` (equation 6), ``snr`` (effective signal-to-noise ratio, section
    3; noise is the scatter of the whole light curve), ``depth`` [relative flux], ``duration`` [days],
    ``first_transit`` (its middle) [days], ``transit_count``; all None where no dip was found at all.
    The optional output ``debugging`` is a tar.gz of the spectrum and the settings used.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Search, write ``debugging`` where asked for, and return what was found."""
        search = prepare(context, period_min=PERIOD_MIN, further=("qmin", "qmax"))
        grid = make_grid(search, dictionary(context.settings, "search_settings"))
        context.log.info("%d trial frequencies, %d samples", grid.count, len(search.lightcurve))
        spectrum, found = search_grid(search.lightcurve.times, search.lightcurve.fluxes, grid)
        metadata = result(search, _statistics(spectrum, found, search)) | {"qmin": grid.qmin, "qmax": grid.qmax}
        if "debugging" in context.outputs:
            write_debugging(context.outputs["debugging"], _debugging(spectrum, grid, metadata))
        return metadata

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the period, the statistics, the outcome and the outputs."""
        return check_search(context, metadata, STATISTICS)


def make_grid(search: Search, given: Mapping[str, object]) -> Grid:
    """Return the frequencies to try: over the span, neighbours drift apart by one bin.

    Raises TaskFailure for transit lengths that exclude each other, or a search without end.
    """
    qmin, qmax = QMIN.required(given, "search_settings"), QMAX.required(given, "search_settings")
    if qmin > qmax:
        raise TaskFailure(f"search_settings.qmin is {qmin:g}, above qmax, {qmax:g}", cure="give qmin below qmax")
    # The routine stops the process below 1/span as it computes it: from above, a rounding cannot hurt.
    lowest = max(1 / search.period_max, np.nextafter(1 / search.span, math.inf))
    step = 1 / (search.span * BINS)
    count = max(1, math.floor((1 / search.period_min - lowest) / step) + 1)
    if count > MOST_FREQUENCIES:
        raise TaskFailure(
            f"{count} trial frequencies would be needed", cure="raise search_settings.period_min, or lower lc_duration"
        )
    return Grid(float(lowest), step, count, qmin, qmax)


def search_grid(times: FloatArray, fluxes: FloatArray, grid: Grid) -> tuple[FloatArray, Box | None]:
    """Return the spectrum, shape (count,), and the strongest dip in it; None where there is no dip.

    The spectrum does not tell dips from brightenings, so its peaks are looked at in turn, strongest
    first. Fluxes that do not vary have no dip; values that are not finite (all samples inside one
    trial transit) are no peaks.
    """
    spectrum, best = _eebls(times, fluxes, grid, grid.lowest, grid.count)
    usable = np.where(np.isfinite(spectrum), spectrum, 0.0)
    noise = np.spacing(np.max(np.abs(fluxes)))
    if usable.max() <= noise:
        return usable, None
    if math.isfinite(best.power) and best.depth > noise:
        return usable, _fundamental(times, fluxes, grid, usable, best)
    peaks = np.argsort(usable)[::-1][:MOST_PEAKS]
    for index in peaks:
        _, box = _eebls(times, fluxes, grid, grid.frequency(int(index)), 1)
        if math.isfinite(box.power) and box.depth > noise:
            return usable, _fundamental(times, fluxes, grid, usable, box)
    return usable, None


def _fundamental(times: FloatArray, fluxes: FloatArray, grid: Grid, spectrum: FloatArray, found: Box) -> Box:
    """Return the longest multiple of the period found that explains the light curve about as well.

    Transits shorter than half the shortest box fit into it at half the period just as well: the
    same samples in as many others, the same power. At twice the true period, half of them are lost.
    """
    frequency = 1 / found.period
    for multiple in range(math.floor(frequency / grid.lowest * (1 + 1e-9)), 1, -1):
        centre = round((frequency / multiple - grid.lowest) / grid.step)
        low, high = max(0, centre - NEAR), min(grid.count, centre + NEAR + 1)
        peak = low + int(np.argmax(spectrum[low:high]))
        if spectrum[peak] >= ALIKE * found.power:
            _, box = _eebls(times, fluxes, grid, grid.frequency(peak), 1)
            if math.isfinite(box.power) and box.depth > 0:
                return box
    return found


def _eebls(times: FloatArray, fluxes: FloatArray, grid: Grid, lowest: float, count: int) -> tuple[FloatArray, Box]:
    work = np.empty((2, len(times)))
    spectrum, period, power, depth, share, first, last = eebls(
        times, fluxes, work[0], work[1], count, lowest, grid.step, BINS, grid.qmin, grid.qmax
    )
    return spectrum, Box(float(period), float(power), float(depth), float(share), int(first), int(last))


def _statistics(spectrum: FloatArray, found: Box | None, search: Search) -> dict[str, Scalar]:
    if found is None:
        return dict.fromkeys(("period", *STATISTICS))
    begin = float(search.lightcurve.times[0])
    # A transit that begins in the last bins ends in the first ones of the next period.
    bins = (found.last_bin - found.first_bin) % BINS + 1
    middle = (found.first_bin - 1 + bins / 2) / BINS * found.period
    first = begin + middle % found.period
    scatter = float(np.std(spectrum))
    fluxes = search.lightcurve.fluxes
    noise = GAUSSIAN * float(np.median(np.abs(fluxes - np.median(fluxes)))) or float(np.std(fluxes))
    return {
        "period": found.period,
        "power": finite(found.power),
        "sde": finite((found.power - float(np.mean(spectrum))) / scatter) if scatter > 0 else 0.0,
        "snr": finite(found.depth / noise * math.sqrt(found.share * len(fluxes))),
        "depth": finite(found.depth),
        "duration": bins / BINS * found.period,
        "first_transit": first,
        "transit_count": max(1, math.floor((begin + search.span - first) / found.period) + 1),
    }


def _debugging(spectrum: FloatArray, grid: Grid, metadata: Mapping[str, Scalar]) -> dict[str, bytes]:
    table = io.BytesIO()
    periods = 1 / (grid.lowest + grid.step * np.arange(grid.count))
    np.savetxt(table, np.column_stack([periods, spectrum]), "%.10g", delimiter=",", header="period,power", comments="")
    settings = {"bins": BINS, "frequencies": [grid.lowest, grid.step, grid.count], "result": dict(metadata)}
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    return {"settings.json": text.encode(), "spectrum.csv": table.getvalue()}
