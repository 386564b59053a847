"""Pictures of light curves: bounded whatever the number of samples, and right about what they show."""

from __future__ import annotations

import numpy as np
import pytest

from eas.lightcurves.lightcurve import LightCurve
from eas.taskdb.queries.folding import Ephemeris
from reports.light_curve_picture import binned, folded_picture, span_picture

PNG = b"\x89PNG"


def curve(samples: int, **changes) -> LightCurve:
    times = np.linspace(0, 30, samples)
    return LightCurve(times, 1 - 0.01 * (np.abs((times + 1.5) % 3 - 1.5) < 0.1)).evolve(**changes)


def test_bins_keep_the_lowest_the_highest_and_the_mean():
    places = np.array([0.0, 0.1, 0.9, 1.0, 1.9, 2.0])
    values = np.array([1.0, 3.0, 5.0, 2.0, 8.0, 4.0])
    middles, low, mean, high = binned(places, values, 2)
    assert middles.tolist() == [0.5, 1.5]
    assert low.tolist() == [1.0, 2.0]
    assert high.tolist() == [5.0, 8.0]
    assert mean.tolist() == [3.0, pytest.approx(14 / 3)]


def test_bins_without_samples_are_left_out_and_one_place_is_one_bin():
    middles, *_ = binned(np.array([0.0, 10.0]), np.array([1.0, 2.0]), 10)
    assert len(middles) == 2
    assert len(binned(np.array([3.0, 3.0]), np.array([1.0, 2.0]), 10)[0]) == 1


@pytest.mark.parametrize("samples", [1, 10, 3999, 20_000])
def test_light_curves_of_any_length_are_drawn(samples):
    drawn = [span_picture(curve(samples), "t"), folded_picture(curve(samples), Ephemeris(3.0, 0.0, "x"), "t")]
    assert all(each.startswith(PNG) for each in drawn)


@pytest.mark.parametrize("title", ["$x$ \\frac{", "\x00\x1b[31m", "a" * 1000, "", "<b>"])
def test_titles_are_no_formulas(title):
    assert span_picture(curve(100), title).startswith(PNG)


def test_what_is_no_number_or_flagged_bad_is_left_out():
    fluxes = np.full(100, np.nan)
    assert span_picture(curve(100, fluxes=fluxes), "t").startswith(PNG)
    flags = np.ones(100, np.int8)
    bad = curve(100, flags=flags)
    assert span_picture(bad, "t").startswith(PNG)
    assert folded_picture(bad, Ephemeris(3.0, None, "x"), "t").startswith(PNG)
