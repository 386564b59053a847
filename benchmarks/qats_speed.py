"""QATS on 730 days at 600 s with the default grid, compared to the recursion with a plain inner loop.

    python benchmarks/qats_speed.py [--every N]

The plain version is the recursion of Carter and Agol (2013), also compiled by numba: for each number
of transits, an inner loop over the window for every sample. Both versions run on every N-th range of
the grid (default 60) on one thread; their times for the whole grid are extrapolated. ``--full`` also
measures EAS on the whole grid. CPU times are compared because other processes affect them little.
"""

from __future__ import annotations

import argparse
import math
import time

import numba
import numpy as np

from eas.lightcurves.cleaning import clean
from eas.lightcurves.lightcurve import FloatArray, LightCurve
from eas.tasks import qats
from eas.tasks.declarations import QATS_NUMBERS, QATS_PERIOD_MIN
from eas.tasks.search import Search
from eas.tasks.transit_search_qats import fixed_step, make_grid

CADENCE, DURATION = 600 / 86400, 730


@numba.njit(cache=True)
def plain(
    sums: FloatArray, samples: int, length: int, shortest: int, longest: int, one: FloatArray, other: FloatArray
) -> float:
    """Return the best statistic over all numbers of transits."""
    best = -np.inf
    for count in range(max(2, (samples + length - 1) // longest), (samples - length) // shortest + 2):
        row, earlier = one, other
        low, high = 0, -1
        for m in range(1, count + 1):
            row, earlier = earlier, row
            low_before, high_before = low, high
            low = max((m - 1) * shortest, samples - longest - (count - m) * longest)
            high = min(m * longest - length, samples - length - (count - m) * shortest)
            for n in range(low, high + 1):
                value = sums[n]
                if m > 1:
                    largest = -np.inf
                    for k in range(max(low_before, n - longest), min(high_before, n - shortest) + 1):
                        largest = max(largest, earlier[k])
                    value += largest
                row[n] = value
        for n in range(low, high + 1):
            best = max(best, row[n] / math.sqrt(count * length))
    return best


def main() -> None:
    """Measure both versions on the same ranges, and check that their results agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=60)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    samples = round(DURATION / CADENCE)
    times = np.arange(samples, dtype=np.float64) * CADENCE
    fluxes: FloatArray = 1 + 6.4e-5 * np.random.default_rng(1).standard_normal(samples)
    lightcurve = LightCurve(times, fluxes)
    series = fixed_step(lightcurve)
    search = Search(clean(lightcurve), QATS_PERIOD_MIN, (times[-1] - times[0]) / 2)
    grid = make_grid(search, series, {each.name: each.default or 0 for each in QATS_NUMBERS})
    shortest, longest = grid.shortest[:: options.every].copy(), grid.longest[:: options.every].copy()
    one, other = np.empty(samples), np.empty(samples)
    print(f"{samples} samples, {len(grid.lengths)} durations, {len(grid.shortest)} ranges of spacings")
    # Compile both before timing.
    qats.search(series.values, grid.lengths[:1], shortest[-1:], longest[-1:], fewest=2)
    plain(qats.depths(series.values, 7), samples, 7, shortest[-1], longest[-1], one, other)

    began = time.process_time()
    ours, _ = qats.search(series.values, grid.lengths, shortest, longest, fewest=grid.fewest, threads=1)
    fast = time.process_time() - began
    began = time.process_time()
    theirs = np.empty_like(ours)
    for which, length in enumerate(grid.lengths):
        sums = qats.depths(series.values, int(length))
        for row in range(len(shortest)):
            theirs[which, row] = plain(sums, samples, length, shortest[row], longest[row], one, other)
    slow = time.process_time() - began
    assert np.allclose(ours, theirs), "the results of the two versions differ"
    factor = len(grid.shortest) / len(shortest)
    print(f"plain inner loop: {slow:.2f} s for {len(shortest)} ranges, {slow * factor:.0f} s for all")
    print(f"ours, one thread: {fast:.2f} s for {len(shortest)} ranges, {fast * factor:.0f} s for all")
    print(f"ratio: {slow / fast:.1f}")
    if options.full:
        for threads in (1, 2):
            began = time.perf_counter()
            qats.search(series.values, grid.lengths, grid.shortest, grid.longest, fewest=2, threads=threads)
            print(f"ours, whole grid, {threads} threads: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
