"""Statistics of fluxes: robust scatter, and transit statistics of a noise-free model flux."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from eas.lightcurves.lightcurve import FloatArray

GAUSSIAN: Final = 1.4826
"""Standard deviation of a normal distribution / its median absolute deviation."""
ROUNDING: Final = 8
"""Maximum rounding error of a flux, in units in the last place."""
NOISE_FREE_MES: Final = 1e8
"""`mes` of a transit without noise, where it is not defined: larger than any real one."""


def robust_scatter(values: FloatArray, *, fallback: bool = True) -> float:
    """Return the standard deviation of ``values``, shape (n,), from their median absolute deviation.

    Where more than half of the values are equal, that is 0; with ``fallback`` the plain standard
    deviation is returned instead. 0 where the values differ by rounding alone, infinite
    where it overflows.
    """
    rounding = ROUNDING * float(np.spacing(np.max(np.abs(values))))
    with np.errstate(over="ignore", invalid="ignore"):
        scatter = GAUSSIAN * float(np.median(np.abs(values - np.median(values))))
        if scatter <= rounding and fallback:
            scatter = float(np.std(values))
    if not math.isfinite(scatter):
        return math.inf
    return scatter if scatter > rounding else 0.0


def integrated_transit_power(fluxes: FloatArray) -> float:
    """Return the flux blocked by the planet, summed over all samples [flux x samples].

    ``fluxes``: noise-free, 1 out of transit, shape (n,).
    """
    return float(np.sum(1.0 - fluxes))


def pixels_in_transit(fluxes: FloatArray) -> int:
    """Return the number of samples in which some of the star is covered; ``fluxes`` as above."""
    return int(np.count_nonzero(fluxes < 1))


def pixels_out_of_transit(fluxes: FloatArray) -> int:
    """Return the number of samples in which nothing of the star is covered; ``fluxes`` as above."""
    return len(fluxes) - pixels_in_transit(fluxes)


def mes(fluxes: FloatArray, noise: float) -> float:
    """Return the multiple event statistic of a transit signal in white noise.

    The signal-to-noise ratio of all transits together: mean depth / noise * sqrt(samples in
    transit), where the mean depth is taken over the samples in transit. This is the effective
    signal-to-noise ratio of Kovacs, Zucker and Mazeh (2002, A&A 391, 369, section 3); Jenkins
    (2002, ApJ 575, 493) calls the detection statistic of a folded matched filter by this name.

    Parameters
    ----------
    fluxes:
        Noise-free, 1 out of transit, shape (n,).
    noise:
        Standard deviation of one sample, relative to the star's flux.

    Returns
    -------
    0 without a transit; `NOISE_FREE_MES` without noise, where the ratio is infinite.
    """
    count = pixels_in_transit(fluxes)
    if not count:
        return 0.0
    if noise <= 0:
        return NOISE_FREE_MES
    return min(integrated_transit_power(fluxes) / noise / math.sqrt(count), NOISE_FREE_MES)
