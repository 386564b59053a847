"""Resampling, binning and multiplication: the integral is conserved, flags and uncertainties carried."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eas.lightcurves.lightcurve import LightCurve, LightCurveError, same
from eas.lightcurves.resampling import bin_to, cells, multiply, resample

EXAMPLES = settings(max_examples=100, deadline=None)
FLUXES = st.floats(0.5, 1.5)


def uniform(n, step=1.0, start=0.0):
    return start + step * np.arange(n)


def brute_force(lightcurve, times):
    """Average by the definition: each pair of cells, one by one."""
    old, new = cells(lightcurve.times), cells(times)
    fluxes, sigmas, found = [], [], []
    for a, b in zip(new.left, new.right, strict=True):
        share = np.clip(np.minimum(old.right, b) - np.maximum(old.left, a), 0, None) * lightcurve.good
        found.append(share.sum() > 1e-9)
        fluxes.append((share @ lightcurve.fluxes) / share.sum() if found[-1] else np.nan)
        sigmas.append(np.sqrt(share**2 @ lightcurve.uncertainties**2) / share.sum() if found[-1] else np.nan)
    return np.array(fluxes), np.array(sigmas), np.array(found)


@st.composite
def curves(draw, flagged=True):
    n = draw(st.integers(2, 40))
    steps = draw(hnp.arrays(np.float64, n - 1, elements=st.floats(0.7, 1.4) | st.floats(3, 9)))
    times = np.concatenate([[0.0], np.cumsum(steps)])
    flags = draw(hnp.arrays(np.int8, n, elements=st.integers(0, 1))) if flagged else np.zeros(n, np.int8)
    return LightCurve(
        times,
        draw(hnp.arrays(np.float64, n, elements=FLUXES)),
        flags,
        draw(hnp.arrays(np.float64, n, elements=st.floats(0, 0.1))),
    )


@EXAMPLES
@given(curves(), st.floats(0.2, 5), st.floats(-3, 3), st.integers(2, 60))
def test_resampling_agrees_with_its_definition(lightcurve, step, start, n):
    times = uniform(n, step, start)
    seen = resample(lightcurve, times)
    fluxes, sigmas, found = brute_force(lightcurve, times)
    clear = found & (seen.flags == 0)
    assert np.array_equal(seen.times, times)
    # Cells that share a millionth or less of their time may be judged either way.
    assert np.count_nonzero(found != (seen.flags == 0)) <= 2
    assert np.allclose(seen.fluxes[clear], fluxes[clear], rtol=0, atol=1e-9)
    assert np.allclose(seen.uncertainties[clear], sigmas[clear], rtol=0, atol=1e-7)
    assert np.isfinite(seen.fluxes).all() and np.isfinite(seen.uncertainties).all()


@EXAMPLES
@given(hnp.arrays(np.float64, 24, elements=FLUXES), st.sampled_from([2, 3, 4, 6, 8, 12]))
def test_the_integral_is_conserved(values, factor):
    lightcurve = LightCurve(uniform(24), values)
    coarse = bin_to(lightcurve, factor * 86400)
    assert len(coarse) == 24 // factor
    assert coarse.fluxes.sum() * factor == pytest.approx(values.sum(), rel=1e-12)
    back = resample(coarse, lightcurve.times)
    assert back.fluxes.sum() == pytest.approx(values.sum(), rel=1e-9)
    assert not back.flags.any()


@EXAMPLES
@given(curves())
def test_the_same_times_change_nothing(lightcurve):
    assert same(resample(lightcurve, lightcurve.times.copy()), lightcurve)


def test_a_long_curve_loses_no_precision():
    rng = np.random.default_rng(0)
    n = 240 * 5000
    fluxes = 1 + 3e-4 * rng.standard_normal(n)
    binned = bin_to(LightCurve(uniform(n, 25 / 86400), fluxes), 600)
    assert np.abs(binned.fluxes - fluxes.reshape(-1, 24).mean(axis=1)).max() < 1e-12


def test_bad_samples_are_not_averaged_in_where_good_ones_exist():
    fluxes = np.array([1.0, 9.0, 1.0, 1.0, 9.0, 7.0])
    lightcurve = LightCurve(uniform(6), fluxes, np.array([0, 1, 0, 0, 1, 1]), np.full(6, 0.1))
    binned = bin_to(lightcurve, 2 * 86400)
    assert binned.fluxes.tolist() == pytest.approx([1, 1, 8])
    assert binned.flags.tolist() == [0, 0, 1]
    assert binned.uncertainties.tolist() == pytest.approx([0.1, 0.1 / 2**0.5, 0.1 / 2**0.5])


@pytest.mark.parametrize("flag", [0, 1])
def test_nan_spoils_no_other_sample(flag):
    fluxes = np.ones(8)
    fluxes[3] = np.nan
    binned = bin_to(LightCurve(uniform(8), fluxes, flag * np.isnan(fluxes)), 2 * 86400)
    assert binned.fluxes.tolist() == [1, 1, 1, 1]
    assert binned.flags.tolist() == [0, 0, 0, 0]


def test_bins_within_a_gap_are_kept_and_bad():
    times = np.concatenate([uniform(4), uniform(4, start=10)])
    binned = bin_to(LightCurve(times, np.full(8, 0.9)), 2 * 86400)
    assert binned.has_fixed_step() and len(binned) == 7
    assert binned.flags.tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert binned.fluxes.tolist() == pytest.approx([0.9, 0.9, 1, 1, 1, 0.9, 0.9])


@pytest.mark.parametrize("n, bins", [(24, 4), (26, 4), (27, 5), (29, 5)])
def test_a_last_bin_needs_half_its_time(n, bins):
    assert len(bin_to(LightCurve(uniform(n), np.ones(n)), 6 * 86400)) == bins


@pytest.mark.parametrize("cadence", [0, -1, np.nan, np.inf, 86399])
def test_cadences_that_cannot_be(cadence):
    with pytest.raises(LightCurveError, match="cadence"):
        bin_to(LightCurve(uniform(5), np.ones(5)), cadence)


def test_the_same_cadence_changes_nothing():
    lightcurve = LightCurve(uniform(50, 25 / 86400), np.linspace(0, 1, 50))
    binned = bin_to(lightcurve, 25)
    assert np.allclose(binned.times, lightcurve.times, atol=1e-12)
    assert np.allclose(binned.fluxes, lightcurve.fluxes, atol=1e-9)


@pytest.mark.parametrize("times", [[0.0], [0, 0, 1], [0, 2, 1], [0, 1, np.nan]])
def test_times_must_increase(times):
    with pytest.raises(LightCurveError):
        cells(np.array(times, float))


@EXAMPLES
@given(curves(), curves())
def test_flags_are_joined_in_a_product(first, second):
    product = multiply(first, second)
    other = resample(second, first.times)
    assert np.array_equal(product.times, first.times)
    assert np.array_equal(product.flags, first.flags | other.flags)
    assert np.allclose(product.fluxes, first.fluxes * other.fluxes)


def test_a_product_propagates_uncertainties_and_merges_metadata():
    first = LightCurve(uniform(3), np.full(3, 2.0), uncertainties=np.full(3, 0.3), metadata={"a": 1, "b": 1})
    second = LightCurve(uniform(3), np.full(3, 4.0), uncertainties=np.full(3, 0.2), metadata={"b": 2, "c": 2})
    product = multiply(first, second)
    assert product.fluxes.tolist() == [8, 8, 8]
    assert product.uncertainties.tolist() == pytest.approx([np.hypot(4 * 0.3, 2 * 0.2)] * 3)
    assert product.metadata == {"a": 1, "b": 2, "c": 2}


def test_where_the_second_has_nothing_the_product_is_bad():
    product = multiply(LightCurve(uniform(6), np.full(6, 0.5)), LightCurve(uniform(3), np.full(3, 2.0)))
    assert product.flags.tolist() == [0, 0, 0, 1, 1, 1]
    assert product.fluxes.tolist() == [1, 1, 1, 0.5, 0.5, 0.5]
