"""Cleaning: which samples count, relative to what, with which uncertainties, and what is said about it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas.lightcurves import cleaning, files
from eas.lightcurves.cleaning import clean
from eas.lightcurves.lightcurve import LightCurve, LightCurveError
from eas.lightcurves.statistics import robust_scatter

DATA = Path(__file__).parent / "data"
SIGMA = 2e-4


def curve(n=1000, cadence=1 / 48, seed=1, **changes):
    """Return white noise with a dip of 1% every 5 days."""
    rng = np.random.default_rng(seed)
    times = np.arange(n) * cadence
    fluxes = 1 + SIGMA * rng.normal(size=n) - 0.01 * (times % 5 < 0.2)
    return LightCurve(times, fluxes, uncertainties=np.full(n, SIGMA)).evolve(**changes)


def spoilt(column, index, value, lightcurve=None):
    lightcurve = curve() if lightcurve is None else lightcurve
    values = getattr(lightcurve, column).copy()
    values[index] = value
    return lightcurve.evolve(**{column: values})


def test_a_clean_light_curve_stays_as_it_is():
    lightcurve = curve()
    cleaned = clean(lightcurve)
    assert len(cleaned.lightcurve) == 1000 and not cleaned.dropped and not cleaned.assumptions
    assert cleaned.lightcurve.fluxes == pytest.approx(lightcurve.fluxes, rel=1e-4)
    assert cleaned.scatter == pytest.approx(SIGMA, rel=0.1)
    assert cleaned.metadata() == {
        "samples_searched": 1000,
        "samples_dropped": 0,
        "samples_dropped_why": "none",
        "flux_level": cleaned.level,
        "flux_scatter": cleaned.scatter,
        "uncertainty_source": "given",
    }


@pytest.mark.parametrize(
    "lightcurve, reason",
    [
        (spoilt("flags", [3, 4], 1), cleaning.REASON_FLAGGED),
        (spoilt("times", [3, 4], np.nan), cleaning.TIME_NOT_FINITE),
        (spoilt("fluxes", [3, 4], np.nan), cleaning.FLUX_NOT_FINITE),
        (spoilt("fluxes", [3, 4], -np.inf), cleaning.FLUX_NOT_FINITE),
        (spoilt("fluxes", [3, 4], 0), cleaning.NOT_POSITIVE),
        (spoilt("fluxes", [3, 4], -7), cleaning.NOT_POSITIVE),
        (spoilt("fluxes", [3, 4], 1.1), cleaning.REASON_OUTLIER),
        (spoilt("fluxes", [50, 100], 0.5), cleaning.REASON_OUTLIER),
    ],
)
def test_each_sample_that_is_no_measurement_is_dropped_with_its_reason(lightcurve, reason):
    cleaned = clean(lightcurve)
    assert cleaned.dropped == {reason: 2} and len(cleaned.lightcurve) == 998
    assert cleaned.metadata()["samples_dropped_why"] == f"{reason}: 2"
    assert cleaned.assumptions == (f"2 of 1000 samples are dropped: {reason}",)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e9, 0.5]), max_size=60),
    st.floats(1e-3, 1e6),
    st.sampled_from([1.0, 0.0, np.nan]),
    st.integers(0, 2**32),
)
def test_whatever_is_in_it_the_result_can_be_searched(values, level, uncertainty, seed):
    rng = np.random.default_rng(seed)
    lightcurve = curve()
    fluxes = lightcurve.fluxes.copy()
    fluxes[rng.choice(1000, len(values), replace=False)] = values
    given_one = lightcurve.evolve(fluxes=fluxes * level, uncertainties=np.full(1000, SIGMA * level * uncertainty))
    cleaned = clean(given_one)
    kept = cleaned.lightcurve
    assert np.isfinite(kept.fluxes).all() and (kept.fluxes > 0).all() and (kept.uncertainties > 0).all()
    assert kept.good.all() and (np.diff(kept.times) > 0).all()
    assert len(kept) + sum(cleaned.dropped.values()) == 1000
    assert cleaned.level == pytest.approx(level, rel=0.01)
    assert cleaned.scatter == pytest.approx(SIGMA, rel=0.3)
    assert np.median(kept.uncertainties) == pytest.approx(SIGMA, rel=0.3)


def test_transits_are_no_outliers_at_any_cadence_depth_or_duration():
    for cadence in (25 / 86400, 1 / 48, 0.02, 0.05, 0.1):
        for depth in (0.001, 0.1, 0.9):
            for duration in (0.06, 0.1, 0.3):
                times = np.arange(2000) * cadence
                fluxes = 1 + 1e-5 * np.random.default_rng(3).normal(size=2000)
                lightcurve = LightCurve(times, fluxes - depth * ((times + 0.013) % 3 < duration))
                assert not clean(lightcurve).dropped, (cadence, depth, duration)


def test_a_noise_free_transit_is_kept_and_its_scatter_is_that_of_all_samples():
    times = np.arange(2000) / 48
    cleaned = clean(LightCurve(times, 1 - 0.01 * (times % 3 < 0.2)))
    assert not cleaned.dropped and 0 < cleaned.scatter < 0.01
    assert (cleaned.lightcurve.uncertainties == cleaned.scatter).all()


def test_fluxes_that_do_not_vary_have_no_scatter():
    for level in (1.0, 0.1, 4000.0):
        cleaned = clean(LightCurve(np.arange(100.0), np.full(100, level)))
        assert cleaned.scatter == 0 and (cleaned.lightcurve.uncertainties > 0).all()


@pytest.mark.parametrize(
    "fluxes",
    [curve().fluxes - 1, curve().fluxes - np.median(curve().fluxes), -curve().fluxes, SIGMA + curve().fluxes - 1],
)
def test_a_light_curve_without_the_flux_of_its_star_is_refused(fluxes):
    with pytest.raises(LightCurveError, match="the star's own flux is not in the data") as caught:
        clean(curve(fluxes=fluxes))
    assert "without their mean or median subtracted" in caught.value.hint


@pytest.mark.parametrize("times", [np.arange(1000)[::-1] / 48, np.full(1000, 3.0)])
def test_times_that_do_not_increase_are_refused(times):
    with pytest.raises(LightCurveError, match="times must increase, but sample 1 "):
        clean(curve(times=times))


def test_other_units_of_flux_are_reported():
    cleaned = clean(curve(fluxes=curve().fluxes * 4000, uncertainties=curve().uncertainties * 4000))
    assert cleaned.assumptions == (f"the fluxes are divided by their median, {cleaned.level:g}",)
    assert np.median(cleaned.lightcurve.uncertainties) == pytest.approx(SIGMA, rel=0.01)


def test_segments_between_gaps_get_the_same_level():
    times = np.arange(4000) / 48
    shifted = curve(4000).fluxes * np.where(times > 40, 1.01, 1.0)
    lightcurve = curve(4000, fluxes=shifted).select((times < 39) | (times > 41))
    cleaned = clean(lightcurve)
    assert cleaned.scatter == pytest.approx(SIGMA, rel=0.1)
    assert any("segments between gaps" in each for each in cleaned.assumptions)


@pytest.mark.parametrize(
    "uncertainties, source, said",
    [
        (np.full(1000, SIGMA), "given", ""),
        (np.zeros(1000), "scatter of the fluxes", "has no uncertainties"),
        (np.full(1000, np.nan), "scatter of the fluxes", "has no uncertainties"),
        (np.full(1000, -1.0), "scatter of the fluxes", "has no uncertainties"),
        (np.where(np.arange(1000) == 5, 0, SIGMA), "given in part", "1 missing uncertainties"),
        (np.where(np.arange(1000) == 5, 1e-12, SIGMA), "given in part", "1 missing uncertainties"),
        (np.where(np.arange(1000) < 700, 0, SIGMA), "scatter of the fluxes", "has no uncertainties"),
        (np.full(1000, SIGMA / 10), "given", "significances are in units of the uncertainties"),
        (np.full(1000, SIGMA * 10), "given", "significances are in units of the uncertainties"),
    ],
)
def test_uncertainties_are_always_there(uncertainties, source, said):
    cleaned = clean(curve(uncertainties=uncertainties))
    assert cleaned.uncertainty_source == source
    assert (cleaned.lightcurve.uncertainties > 0).all()
    assert said in " ".join(cleaned.assumptions) and bool(said) == bool(cleaned.assumptions)


def test_the_stored_case_of_fluxes_of_zero():
    cleaned = clean(files.read(DATA / "zero_flux_samples.gz"))
    assert cleaned.dropped == {cleaning.NOT_POSITIVE: 18}


def test_the_robust_scatter():
    values = np.random.default_rng(1).normal(size=10000)
    assert robust_scatter(values) == pytest.approx(1, rel=0.03)
    values[:1000] = 1e9
    assert robust_scatter(values) == pytest.approx(1, rel=0.2)
    assert robust_scatter(np.full(10, 0.1) + np.spacing(0.1) * np.arange(10) % 2) == 0
    assert robust_scatter(np.array([1.0, 1, 1, 1, 2])) > 0
    assert robust_scatter(np.array([1.0, 1, 1, 1, 2]), fallback=False) == 0
