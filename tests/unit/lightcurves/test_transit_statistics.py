"""Transit statistics of a box of known depth."""

import numpy as np
import pytest

from eas.lightcurves import statistics


def box(depth=1e-4, inside=100, outside=900):
    return np.concatenate([np.full(inside, 1 - depth), np.ones(outside)])


def test_a_box():
    assert statistics.integrated_transit_power(box()) == pytest.approx(1e-2)
    assert statistics.pixels_in_transit(box()) == 100
    assert statistics.pixels_out_of_transit(box()) == 900
    assert statistics.mes(box(), 5e-5) == pytest.approx(1e-4 / 5e-5 * 10)


def test_no_transit_and_no_noise():
    assert statistics.mes(np.ones(10), 1e-4) == 0
    assert statistics.mes(np.ones(10), 0) == 0
    assert statistics.mes(box(), 0) == statistics.NOISE_FREE_MES == 1e8
