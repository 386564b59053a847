"""The Quasi-periodic Automated Transit Search (QATS) of Carter and Agol (2013, ApJ 765, 132).

Given a light curve ``y`` of N samples on a fixed time step, in units of its noise, and a transit of q
samples, it finds among all series of M transits whose spacings lie between ``dmin`` and ``dmax`` samples
the one with the largest sum of depths: ``S_m[n] = D[n] + max S_{m-1}[k]`` with ``D[n] = -(y[n] + ... +
y[n+q-1])`` and k from n - dmax to n - dmin (their section 3). The statistic is ``max S_M / sqrt(M q)``.

Two properties make it fast. The sliding maximum takes a bounded number of comparisons per sample, for any width
of the window (see `_next_level`). And one pass serves all M: the bounds of n that depend on M only exclude
positions that cannot be part of a series of M transits, and a series with a valid end satisfies them
automatically. A brute-force search in the tests confirms this.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from eas.lightcurves.lightcurve import FloatArray
from eas.tasks import numba_cache  # noqa: F401 - says where the compiled code below is kept

IntArray = npt.NDArray[np.int64]

MAX_DOUBLING_WIDTH: Final = 64
"""Maximum window width for which maxima are computed by doubling: at most six passes, each vectorised."""


class Row(NamedTuple):
    """The best series for one range of spacings: ``statistic``, number of transits, length and spacings [samples]."""

    statistic: float
    transits: int
    length: int
    shortest: int
    longest: int


def depths(values: FloatArray, length: int) -> FloatArray:
    """Return D[n], the sum of the ``length`` values from n on with its sign changed, shape (N - length + 1,)."""
    running = np.concatenate([np.zeros(1), np.cumsum(values)])
    sums: FloatArray = running[:-length] - running[length:]
    return sums


@numba.njit(cache=True)
def _maximum(first: FloatArray, second: FloatArray, target: FloatArray) -> None:
    """Write the elementwise maximum of two arrays. Contiguous slices let the compiler vectorise this loop."""
    for i in range(len(target)):
        target[i] = max(first[i], second[i])


@numba.njit(cache=True)
def _add_maximum(first: FloatArray, second: FloatArray, addend: FloatArray, target: FloatArray) -> None:
    """As `_maximum`, with ``addend`` added."""
    for i in range(len(target)):
        target[i] = max(first[i], second[i]) + addend[i]


@numba.njit(cache=True)
def _double(row: FloatArray, spare: FloatArray, width: int, addend: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Take maxima over windows by doubling their reach; return the array that holds the result, and the other."""
    count, reach = len(addend), 1
    valid = count + width - 1
    while 2 * reach < width:
        valid -= reach
        _maximum(row[:valid], row[reach : reach + valid], spare[:valid])
        row, spare = spare, row
        reach *= 2
    rest = width - reach
    _add_maximum(row[:count], row[rest : rest + count], addend, spare[width - 1 : width - 1 + count])
    return spare, row


@numba.njit(cache=True)
def _blocks(row: FloatArray, spare: FloatArray, width: int, addend: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Van Herk (1992) and Gil and Werman (1993): maxima from either end of blocks as wide as the window.

    Three comparisons a sample, whatever the width. Returns what `_double` does.
    """
    count = len(addend)
    total = count + width - 1
    for start in range(0, total, width):
        stop = min(start + width, total)
        best = -np.inf
        for i in range(start, stop):
            best = max(best, row[i])
            spare[i] = best
        best = -np.inf
        for i in range(stop - 1, start - 1, -1):
            best = max(best, row[i])
            row[i] = best
    ends = spare[width - 1 : width - 1 + count]
    _add_maximum(row[:count], ends, addend, ends)
    return spare, row


@numba.njit(cache=True)
def _next_level(
    row: FloatArray, spare: FloatArray, size: int, width: int, addend: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the next level of the recursion, and an array to spare.

    ``row`` holds ``size`` values from index width - 1 on; so does what is returned: ``addend[i]`` plus
    the maximum over the window of ``width`` values that ends at value i. Both arrays are used up.
    """
    row[: width - 1] = -np.inf
    row[width - 1 + size : 2 * (width - 1) + size] = -np.inf
    if width <= MAX_DOUBLING_WIDTH:
        return _double(row, spare, width, addend)
    return _blocks(row, spare, width, addend)


@numba.njit(cache=True)
def _search_row(
    sums: FloatArray,
    samples: int,
    length: int,
    shortest: int,
    longest: int,
    fewest: int,
    row: FloatArray,
    spare: FloatArray,
) -> tuple[float, int]:
    """Return the best statistic over all numbers of transits, and that number."""
    width = longest - shortest + 1
    most = (samples - length) // shortest + 1
    lower = max(fewest, (samples + length - 1) // longest)
    best, best_count = -np.inf, 0
    # Level m of the recursion lives at n = first ... last.
    first, last = 0, min(longest - length, samples - length)
    row[width - 1 : width + last] = sums[: last + 1]
    for m in range(1, most + 1):
        if m >= lower:
            low, high = max(first, samples - longest), min(last, m * longest - length)
            highest = -np.inf
            for value in row[width - 1 + low - first : width + high - first]:
                highest = max(highest, value)
            highest /= math.sqrt(m * length)
            if highest > best:
                best, best_count = highest, m
        size = last - first + 1
        first, last = first + shortest, min(last + longest, samples - length)
        if last < first:
            break
        row, spare = _next_level(row, spare, size, width, sums[first : last + 1])
    return best, best_count


@numba.njit(parallel=True, cache=True)
def _search_rows(
    all_sums: FloatArray,
    offsets: IntArray,
    samples: int,
    lengths: IntArray,
    shortest: IntArray,
    longest: IntArray,
    fewest: int,
    order: IntArray,
) -> tuple[FloatArray, IntArray]:
    """Return statistics and counts, shapes (durations, rows), evaluated in parallel in this order."""
    rows = len(shortest)
    statistics, counts = np.empty((len(lengths), rows)), np.zeros((len(lengths), rows), np.int64)
    for job in numba.prange(len(order)):
        task = order[job]
        which, row = task // rows, task % rows
        length = lengths[which]
        sums = all_sums[offsets[which] : offsets[which + 1]]
        room = samples + 2 * (longest[row] - shortest[row]) + 2
        one, other = np.empty(room), np.empty(room)
        best, count = _search_row(sums, samples, length, shortest[row], longest[row], fewest, one, other)
        statistics[which, row] = best
        counts[which, row] = count
    return statistics, counts


def search(
    values: FloatArray,
    lengths: IntArray,
    shortest: IntArray,
    longest: IntArray,
    *,
    fewest: int = 1,
    threads: int = 1,
) -> tuple[FloatArray, IntArray]:
    """Evaluate the statistic for each transit length and each range of spacings.

    Parameters
    ----------
    values:
        Light curve on a fixed step, median 0, in units of its noise, 0 in gaps; shape (N,).
    lengths:
        Transit lengths [samples], shape (d,).
    shortest, longest:
        The ranges of spacings [samples], shapes (r,). Shorter than a transit is no spacing.
    fewest:
        Minimum number of transits of a series.
    threads:
        CPUs to use; the result does not depend on it.

    Returns
    -------
    Statistics and numbers of transits, shapes (d, r); -inf and 0 where no such series fits in.
    """
    if not (lengths.min() >= 1 and shortest.min() >= lengths.max() and (longest >= shortest).all()):
        raise ValueError("transits of at least one sample, and spacings that keep them apart, are needed")
    if lengths.max() > len(values):
        raise ValueError("a transit is longer than the light curve")
    parts = [depths(values, int(length)) for length in lengths]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    threads = max(1, min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    # prange gives each thread a contiguous part of the list: interleave the rows, because wide windows cost more.
    order = np.argsort(np.arange(len(lengths) * len(shortest)) % threads, kind="stable")
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        return _search_rows(np.concatenate(parts), offsets, len(values), lengths, shortest, longest, fewest, order)
    finally:
        numba.set_num_threads(before)


def best_sequence(values: FloatArray, row: Row) -> IntArray:
    """Return where the transits of the best series begin [sample], shape (transits,), by backtracking."""
    samples, length = len(values), row.length
    sums = depths(values, length)
    width = row.longest - row.shortest + 1
    first, last = 0, min(row.longest - length, samples - length)
    levels = [(first, sums[: last + 1])]
    for _ in range(1, row.transits):
        level = levels[-1][1]
        one, other = np.empty(len(level) + 2 * width), np.empty(len(level) + 2 * width)
        one[width - 1 : width - 1 + len(level)] = level
        first, last = first + row.shortest, min(last + row.longest, samples - length)
        found, _ = _next_level(one, other, len(level), width, sums[first : last + 1])
        levels.append((first, found[width - 1 : width + last - first].copy()))
    low, high = samples - row.longest, row.transits * row.longest - length
    places = [_best_place(levels[-1], low, high)]
    for earlier in reversed(levels[:-1]):
        places.append(_best_place(earlier, places[-1] - row.longest, places[-1] - row.shortest))
    return np.array(places[::-1], np.int64)


def _best_place(level: tuple[int, FloatArray], low: int, high: int) -> int:
    """Return where a level, which begins at its first number, is largest from ``low`` to ``high``."""
    first, values = level
    low, high = max(first, low), min(first + len(values) - 1, high)
    return low + int(np.argmax(values[low - first : high - first + 1]))
