"""Statistics of a transit signal, from its noise-free model flux."""

from __future__ import annotations

import math

import numpy as np

from eas.lightcurves.lightcurve import FloatArray


def integrated_transit_power(fluxes: FloatArray) -> float:
    """Return the flux that the planet takes away, summed over all samples [flux x samples].

    ``fluxes``: noise-free, 1 out of transit, shape (n,).
    """
    return float(np.sum(1.0 - fluxes))


def pixels_in_transit(fluxes: FloatArray) -> int:
    """Return the number of samples in which some of the star is covered; ``fluxes`` as above."""
    return int(np.count_nonzero(fluxes < 1))


def pixels_out_of_transit(fluxes: FloatArray) -> int:
    """Return the number of samples in which nothing of the star is covered; ``fluxes`` as above."""
    return len(fluxes) - pixels_in_transit(fluxes)


def mes(fluxes: FloatArray, noise: float) -> float | None:
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
    0 without a transit; None without noise, where it is not defined (infinite).
    """
    count = pixels_in_transit(fluxes)
    if not count:
        return 0.0
    if noise <= 0:
        return None
    return integrated_transit_power(fluxes) / noise / math.sqrt(count)
