"""Flux-conserving resampling, binning and multiplication of light curves.

Each sample has a *cell* of time around it, in which its flux is constant. Resampling
integrates over the new cells, so the integral of the flux is conserved over any time that both
sets of cells cover. Only good samples are integrated where a new cell holds any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eas.lightcurves.constants import SECONDS_PER_DAY
from eas.lightcurves.lightcurve import (
    BAD,
    GAP_FACTOR,
    GOOD,
    BoolArray,
    FloatArray,
    LightCurve,
    LightCurveError,
    require_increasing_times,
)

NEUTRAL_FLUX = 1.0
"""Flux of a sample without data: the neutral element of multiplication."""
COVERED = 1e-6
"""Minimum covered fraction of a cell that counts as covered: above rounding errors, below one sample."""


@dataclass(frozen=True)
class Cells:
    """The time that each of n samples covers: from ``left`` to ``right`` [days], shapes (n,)."""

    left: FloatArray
    right: FloatArray

    @property
    def width(self) -> FloatArray:
        """Length of each cell [days], shape (n,)."""
        return self.right - self.left


def cells(times: FloatArray) -> Cells:
    """Return the cells of samples at ``times`` [days], shape (n,).

    They meet half-way between samples; at a gap, and at the ends, a cell reaches half a cadence.
    Raises LightCurveError below two samples or where times do not increase.
    """
    if len(times) < 2:
        raise LightCurveError(f"a light curve of {len(times)} samples has no cadence, so it cannot be resampled")
    require_increasing_times(times)
    steps = np.diff(times)
    cadence = float(np.median(steps))
    half = np.where(steps > GAP_FACTOR * cadence, cadence, steps) / 2
    ends = np.full(1, cadence / 2)
    right = times + np.concatenate([half, ends])
    left = times - np.concatenate([ends, half])
    # Cells that meet share one edge exactly: rounding must leave neither a sliver nor an overlap.
    meet = steps <= GAP_FACTOR * cadence
    left[1:][meet] = right[:-1][meet]
    return Cells(left, right)


def resample(lightcurve: LightCurve, times: FloatArray) -> LightCurve:
    """Return ``lightcurve`` on other ``times`` [days], shape (m,), conserving flux.

    A new sample is bad where its cell holds no good sample of ``lightcurve``; its flux is then the
    mean of the bad ones, or 1 where there is nothing at all. Uncertainties are propagated from
    independent samples; the new samples are correlated where their cells share an old one.
    Raises LightCurveError for times that do not increase, or fewer than two.
    """
    if np.array_equal(lightcurve.times, times):
        return lightcurve
    return _onto(lightcurve, times, cells(times))


def bin_to(lightcurve: LightCurve, cadence: float) -> LightCurve:
    """Return ``lightcurve`` on a fixed step of ``cadence`` [s], conserving flux.

    Bins begin where the first sample's cell does; a last bin is kept when at least half of it is
    covered. Bins without a good sample are kept too, flagged bad, so that the step stays fixed.
    Raises LightCurveError for a cadence that is not positive, finer than the light curve's, or times that do
    not increase.
    """
    if not (math.isfinite(cadence) and cadence > 0):
        raise LightCurveError(f"a cadence of {cadence} s", hint="give a positive number of seconds")
    old = cells(lightcurve.times)  # first of all: without increasing times there is no cadence
    own = lightcurve.cadence
    if cadence < own * (1 - 1e-6):
        raise LightCurveError(
            f"cannot bin a light curve of cadence {own:g} s to {cadence:g} s",
            hint=f"give a cadence of {own:g} s or more",
        )
    width = cadence / SECONDS_PER_DAY
    count = max(1, math.floor((old.right[-1] - old.left[0]) / width + 0.5))
    edges = old.left[0] + width * np.arange(count + 1)
    return _onto(lightcurve, edges[:-1] + width / 2, Cells(edges[:-1], edges[1:]))


def multiply(first: LightCurve, second: LightCurve) -> LightCurve:
    """Return the product of two light curves, at the first's times.

    The second is resampled onto the first's times. A sample is bad where either is;
    uncertainties are propagated for independent factors; the second's metadata take precedence.
    """
    other = resample(second, first.times)
    return first.evolve(
        fluxes=first.fluxes * other.fluxes,
        flags=first.flags | other.flags,
        uncertainties=np.hypot(other.fluxes * first.uncertainties, first.fluxes * other.uncertainties),
        metadata={**first.metadata, **second.metadata},
    )


def _onto(lightcurve: LightCurve, times: FloatArray, new: Cells) -> LightCurve:
    old = cells(lightcurve.times)
    # A NaN in the running sum would affect all later samples.
    finite = np.isfinite(lightcurve.fluxes) & np.isfinite(lightcurve.uncertainties)
    fluxes, covered, variances = _average(lightcurve, old, lightcurve.good & finite, new)
    flags = np.where(covered, GOOD, BAD).astype(np.int8)
    if not covered.all():
        of_bad, covered_by_bad, variances_of_bad = _average(lightcurve, old, ~lightcurve.good & finite, new)
        use = ~covered & covered_by_bad
        fluxes[use], variances[use] = of_bad[use], variances_of_bad[use]
        nothing = ~covered & ~covered_by_bad
        fluxes[nothing] = NEUTRAL_FLUX
        variances[nothing] = 0.0
    return LightCurve(times, fluxes, flags, np.sqrt(variances), lightcurve.metadata)


def _average(
    lightcurve: LightCurve, old: Cells, chosen: BoolArray, new: Cells
) -> tuple[FloatArray, BoolArray, FloatArray]:
    """Average the chosen samples over new cells: flux, where any was found, variance; shapes (m,)."""
    if not chosen.any():
        return np.full(len(new.left), NEUTRAL_FLUX), np.zeros(len(new.left), bool), np.zeros(len(new.left))
    left, right = old.left[chosen], old.right[chosen]
    fluxes, uncertainties = lightcurve.fluxes[chosen], lightcurve.uncertainties[chosen]
    # Sum deviations from a typical flux, to avoid rounding errors of long sums.
    level = float(np.median(fluxes))
    overlap = _Overlap(left, right, new)
    covered = overlap.sum(np.ones_like(fluxes), power=1)
    found = covered > COVERED * np.minimum(new.width, float(np.min(right - left)))
    safe = np.where(found, covered, 1.0)
    averages = level + overlap.sum(fluxes - level, power=1) / safe
    variances = np.maximum(overlap.sum(uncertainties**2, power=2), 0) / safe**2
    return np.where(found, averages, NEUTRAL_FLUX), found, np.where(found, variances, 0.0)


class _Overlap:
    """Sums over old cells, weighted by powers of the time that each shares with a new cell."""

    def __init__(self, left: FloatArray, right: FloatArray, new: Cells) -> None:
        self.width = right - left
        # The first old cell that ends after a new one begins, and the last that begins before it ends.
        self.first = np.searchsorted(right, new.left, "right")
        self.last = np.searchsorted(left, new.right, "left") - 1
        self.none = self.first > self.last
        head, tail = np.minimum(self.first, len(left) - 1), np.maximum(self.last, 0)
        self.head_share = np.minimum(right[head], new.right) - np.maximum(left[head], new.left)
        self.tail_share = np.minimum(right[tail], new.right) - np.maximum(left[tail], new.left)
        self.tail_share[self.first == self.last] = 0.0
        self.head, self.tail = head, tail

    def sum(self, values: FloatArray, power: int) -> FloatArray:
        """Return the sum of ``values`` * (shared time)^``power`` for each new cell, shape (m,)."""
        running = np.concatenate([[0.0], np.cumsum(values * self.width**power)])
        low = np.minimum(self.first + 1, len(values))
        inside = running[np.maximum(self.last, low)] - running[low]
        ends = values[self.head] * self.head_share**power + values[self.tail] * self.tail_share**power
        return np.where(self.none, 0.0, ends + inside)
