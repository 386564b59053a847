"""Box least squares on a grid of frequencies: the routine that Kovacs, Zucker and Mazeh published, in numba.

The method is that of Kovacs, Zucker and Mazeh (2002, A&A 391, 369, sections 2 and 3, equations 3 to 5)
with the correction for edge effects that the authors' later routine ``eebls`` has: a box may begin in
the last bins of the folded light curve and end in the first ones. Results equal those of ``eebls`` to
rounding. It raises no exceptions, releases the GIL and can use several threads.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np

from eas.lightcurves.lightcurve import FloatArray
from eas.tasks import numba_cache  # noqa: F401 - says where the compiled code below is kept

FEWEST_SAMPLES: Final = 5
"""Minimum number of samples in a box."""


@dataclass(frozen=True)
class Box:
    """The strongest box of a light curve folded with one period.

    Attributes
    ----------
    period:
        In the unit of the times.
    power:
        The signal residue, equation 5, in the unit of the fluxes.
    depth:
        Mean flux outside the box less that inside; negative for a brightening.
    share:
        Fraction of all samples that lie in the box.
    first_bin, last_bin:
        Numbered from 1; a box that crosses the fold ends in a bin before its first.
    """

    period: float
    power: float
    depth: float
    share: float
    first_bin: int
    last_bin: int


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _strongest(
    elapsed: FloatArray, deviations: FloatArray, frequency: float, bins: int, widths: tuple[int, int, int]
) -> tuple[float, float, int, int, int]:
    """Return (squared power, sum of the box, its samples, first and last bin) for one frequency."""
    shortest, longest, fewest = widths
    samples = len(elapsed)
    counts = np.zeros(bins + longest, np.int64)
    sums = np.zeros(bins + longest)
    for i in range(samples):
        phase = elapsed[i] * frequency
        phase -= math.floor(phase)
        place = int(bins * phase)
        counts[place] += 1
        sums[place] += deviations[i]
    # The first bins follow the last ones, so that a box may cross the fold.
    counts[bins:] = counts[:longest]
    sums[bins:] = sums[:longest]
    best, best_sum, best_samples, best_first, best_last = 0.0, 0.0, 0, 0, 0
    for first in range(bins):
        box_sum, box_samples = 0.0, 0
        for last in range(first, first + shortest - 1):
            box_samples += counts[last]
            box_sum += sums[last]
        for last in range(first + shortest - 1, min(first + longest + 1, bins + longest)):
            box_samples += counts[last]
            box_sum += sums[last]
            if box_samples < fewest or box_samples >= samples:
                continue
            power = box_sum * box_sum / (float(box_samples) * float(samples - box_samples))
            if power >= best:
                best, best_sum, best_samples, best_first, best_last = power, box_sum, box_samples, first, last
    return best, best_sum, best_samples, best_first, best_last


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _spectrum(
    elapsed: FloatArray,
    deviations: FloatArray,
    lowest: float,
    step: float,
    numbers: tuple[int, int],
    bins: int,
    widths: tuple[int, int, int],
    spectrum: FloatArray,
) -> None:
    """Fill ``spectrum`` for the frequencies of these ``numbers`` (from, to)."""
    for number in range(numbers[0], numbers[1]):
        found = _strongest(elapsed, deviations, lowest + step * number, bins, widths)
        spectrum[number] = math.sqrt(found[0])


class FoldedSearch:
    """Searches one light curve for boxes.

    Parameters
    ----------
    times, fluxes:
        Shape (n,), n at least 2; all samples weigh the same.
    bins:
        Of the folded light curve.
    qmin, qmax:
        Shortest and longest box as fractions of the period, 0 < qmin <= qmax < 1.
    threads:
        Threads to use; the result does not depend on their number.
    """

    def __init__(
        self, times: FloatArray, fluxes: FloatArray, bins: int, *, qmin: float, qmax: float, threads: int = 1
    ) -> None:
        self._elapsed = np.ascontiguousarray(times - times[0], dtype=np.float64)
        self._deviations = np.ascontiguousarray(fluxes - np.sum(fluxes) / len(fluxes), dtype=np.float64)
        self._bins = bins
        # Bins of the shortest box and of the longest, and samples of the shortest.
        self._widths = (
            max(int(qmin * bins), 1),
            min(int(qmax * bins) + 1, bins),
            max(int(len(times) * qmin), FEWEST_SAMPLES),
        )
        self._threads = max(1, threads)

    def spectrum(self, lowest: float, step: float, count: int) -> FloatArray:
        """Return the power at the frequencies ``lowest + step * (0 ... count - 1)``, shape (count,)."""
        found = np.zeros(count)
        edges = np.linspace(0, count, min(self._threads, count) + 1).astype(int)

        def fill(part: tuple[int, int]) -> None:
            _spectrum(self._elapsed, self._deviations, lowest, step, part, self._bins, self._widths, found)

        parts = [(int(low), int(high)) for low, high in itertools.pairwise(edges)]
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(fill, parts))
        return found

    def box(self, frequency: float) -> Box:
        """Return the strongest box at one frequency, with power 0 if no box has enough samples."""
        squared, total, inside, first, last = _strongest(
            self._elapsed, self._deviations, frequency, self._bins, self._widths
        )
        samples = len(self._elapsed)
        depth = -total * samples / (inside * (samples - inside)) if inside else 0.0
        first_bin, last_bin = first + 1, last % self._bins + 1
        return Box(1 / frequency, math.sqrt(squared), depth, inside / samples, first_bin, last_bin)
