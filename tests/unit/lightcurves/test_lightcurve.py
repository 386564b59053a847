"""The light curve itself: columns, flags, cadence, fixed step."""

import numpy as np
import pytest

from eas.lightcurves import constants
from eas.lightcurves.lightcurve import LightCurve, LightCurveError, largest_step_error, same


def curve(n=10, step=25.0, **columns):
    return LightCurve(np.arange(n) * step / 86400, columns.pop("fluxes", np.ones(n)), **columns)


def test_missing_columns_mean_good_and_unknown():
    lightcurve = curve(4)
    assert lightcurve.good.all() and lightcurve.flags.dtype == np.int8
    assert lightcurve.uncertainties.tolist() == [0, 0, 0, 0]
    assert len(lightcurve) == 4


@pytest.mark.parametrize(
    "columns",
    [
        {"fluxes": np.ones(3)},
        {"flags": np.zeros(3, int)},
        {"uncertainties": np.ones(3)},
        {"fluxes": np.ones((4, 1))},
        {"flags": [0, 1, 2, 0]},
        {"flags": [0, 1, 0.5, 0]},
    ],
)
def test_columns_that_do_not_fit_are_refused(columns):
    with pytest.raises(LightCurveError):
        curve(4, **columns)


def test_cadence_is_in_seconds():
    assert curve().cadence == pytest.approx(25)
    with pytest.raises(LightCurveError, match="no cadence"):
        _ = curve(1).cadence


@pytest.mark.parametrize("error, fixed", [(0, True), (0.01, True), (1, False), (-25, False)])
def test_fixed_step(error, fixed):
    times = np.arange(1000) * 25.0
    times[500] += error
    assert LightCurve(times / 86400, np.ones(1000)).has_fixed_step() is fixed


@pytest.mark.parametrize("times", [[0, 1, np.nan], [0, np.nan, 2], [2, 1, 0], [1, 1, 1], [0, np.inf, 2]])
def test_no_step_is_fixed_in_times_that_do_not_increase(times):
    assert largest_step_error(np.array(times, float)) > 0.5


def test_a_slow_drift_is_no_fixed_step():
    times = np.cumsum(25.0 * np.linspace(1, 1.01, 1000))
    assert not LightCurve(times / 86400, np.ones(1000)).has_fixed_step()


def test_first_days_count_from_the_first_sample():
    lightcurve = LightCurve(100 + np.arange(10.0), np.arange(10.0), flags=np.arange(10) % 2)
    part = lightcurve.first(3)
    assert part.times.tolist() == [100, 101, 102]
    assert part.flags.tolist() == [0, 1, 0]
    assert same(lightcurve.first(1e9), lightcurve)


def test_sizes_of_sun_and_earth_are_those_of_the_language():
    assert pytest.approx(constants.EARTH_RADIUS / constants.JUPITER_RADIUS, rel=1e-6) == constants.BY_NAME["Rearth"]
    assert pytest.approx(9.7284, abs=1e-4) == constants.SUN_RADIUS_IN_JUPITER_RADII
    assert pytest.approx(2092.5, abs=0.1) == constants.AU_IN_JUPITER_RADII


def test_the_first_days_count_from_the_earliest_time_that_is_one():
    times = np.array([np.nan, 2.0, 3.0, 4.0, np.nan])
    assert LightCurve(times, np.ones(5)).first(1.5).times.tolist() == [2, 3]
    nothing = LightCurve(np.full(3, np.nan), np.ones(3))
    assert len(nothing.first(1)) == 3
