"""QATS: the same as the recursion evaluated by brute force, and finds transits that are not periodic."""

import itertools

import numpy as np
import pytest

from eas.tasks import qats


def recursion(values, length, shortest, longest, fewest=1):
    """Evaluate Carter and Agol's recursion as it is written, separately for each number of transits."""
    samples = len(values)
    sums = [-values[n : n + length].sum() for n in range(samples - length + 1)]
    best = (-np.inf, 0)
    for count in range(max(fewest, 1, (samples + length - 1) // longest), (samples - length) // shortest + 2):
        level = {}
        for m in range(1, count + 1):
            low = max((m - 1) * shortest, samples - longest - (count - m) * longest)
            high = min(m * longest - length, samples - length - (count - m) * shortest)
            earlier, level = level, {}
            for n in range(low, high + 1):
                first, last = max((m - 2) * shortest, n - longest), min((m - 1) * longest - length, n - shortest)
                before = [earlier[k] for k in range(first, last + 1) if k in earlier] if m > 1 else [0.0]
                if before:
                    level[n] = sums[n] + max(before)
        if level:
            best = max(best, (max(level.values()) / np.sqrt(count * length), count))
    return best


def every_series(values, length, shortest, longest):
    """Try every series of transits of which none is missed at either end: no recursion at all."""
    samples = len(values)
    sums = [-values[n : n + length].sum() for n in range(samples - length + 1)]
    best = -np.inf
    for count in range(1, samples + 1):
        for places in itertools.combinations(range(samples - length + 1), count):
            apart = np.diff(places)
            inside = (apart >= shortest).all() and (apart <= longest).all()
            if inside and places[0] <= longest - length and places[-1] >= samples - longest:
                best = max(best, sum(sums[n] for n in places) / np.sqrt(count * length))
    return best


def search(values, length, shortest, longest, **options):
    ranges = np.array([length]), np.array([shortest]), np.array([longest])
    statistics, counts = qats.search(values, *ranges, **options)
    return statistics[0, 0], counts[0, 0]


def check(values, length, shortest, longest, fewest=1):
    expected, expected_count = recursion(values, length, shortest, longest, fewest)
    statistic, count = search(values, length, shortest, longest, fewest=fewest)
    if not expected_count:
        assert statistic == -np.inf and count == 0
        return
    assert statistic == pytest.approx(expected, abs=1e-9) and count == expected_count
    places = qats.best_sequence(values, qats.Row(statistic, count, length, shortest, longest))
    assert len(places) == count
    assert (np.diff(places) >= shortest).all() and (np.diff(places) <= longest).all()
    assert qats.depths(values, length)[places].sum() / np.sqrt(count * length) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(300))
def test_agrees_with_the_recursion(seed):
    rng = np.random.default_rng(seed)
    samples = rng.integers(5, 80)
    length = rng.integers(1, min(5, samples) + 1)
    shortest = rng.integers(length, length + 12)
    values = rng.normal(size=samples)
    values[rng.random(samples) < 0.1] = 0
    check(values, length, shortest, shortest + rng.integers(0, 9), rng.integers(1, 4))


@pytest.mark.parametrize("width", [qats.MAX_DOUBLING_WIDTH, qats.MAX_DOUBLING_WIDTH + 1, 100])
def test_agrees_with_the_recursion_in_wide_windows(width):
    values = np.random.default_rng(width).normal(size=420)
    check(values, 3, 90, 89 + width)


@pytest.mark.parametrize("seed", range(5))
def test_the_recursion_itself_agrees_with_trying_every_series(seed):
    rng = np.random.default_rng(seed)
    values, length, shortest = rng.normal(size=12), rng.integers(1, 4), rng.integers(3, 5)
    expected = every_series(values, length, shortest, shortest + 2)
    assert recursion(values, length, shortest, shortest + 2)[0] == pytest.approx(expected)
    assert search(values, length, shortest, shortest + 2)[0] == pytest.approx(expected)


def test_threads_change_nothing():
    values = np.random.default_rng(3).normal(size=2000)
    lengths, shortest = np.arange(3, 9), np.arange(50, 400)
    one = qats.search(values, lengths, shortest, shortest + shortest // 8, threads=1)
    two = qats.search(values, lengths, shortest, shortest + shortest // 8, threads=2)
    assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


def test_injected_timing_variations_are_followed():
    rng = np.random.default_rng(7)
    values = rng.normal(size=4800)
    places = 60 + 240 * np.arange(20) + np.rint(10 * np.sin(np.arange(20))).astype(int)
    for place in places:
        values[place : place + 6] -= 5
    ranges = np.array([6]), np.array([240, 220]), np.array([240, 260])
    (strict, loose), (_, count) = (each[0] for each in qats.search(values, *ranges))
    assert loose > 1.5 * strict and count == 20
    found = qats.best_sequence(values, qats.Row(loose, count, 6, 220, 260))
    assert np.abs(found - places).max() <= 1


def test_what_cannot_be_is_refused():
    values = np.zeros(10)
    for lengths, shortest, longest in (([0], [4], [5]), ([5], [4], [5]), ([2], [5], [4]), ([11], [12], [13])):
        with pytest.raises(ValueError, match="transit"):
            qats.search(values, np.array(lengths), np.array(shortest), np.array(longest))
