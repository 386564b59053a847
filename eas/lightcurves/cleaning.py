"""Cleans light curves: selects samples, normalises fluxes, and determines scatter and uncertainties.

Searches and quality control use `clean` alone, so that both use the same samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from eas.lightcurves.lightcurve import BAD, BoolArray, FloatArray, LightCurve, LightCurveError, require_increasing_times
from eas.lightcurves.statistics import robust_scatter
from eas.model import Scalar

MIN_SAMPLES: Final = 3
MIN_LEVEL_TO_SCATTER: Final = 3.0
"""Minimum ratio of median flux to scatter; below it, the data do not include the star's own flux."""
SCALE_TOLERANCE: Final = 0.01
"""Maximum deviation of the median flux from 1 that is not reported."""
OUTLIER_SIGMAS: Final = 10.0
"""Deviation of an outlier from its neighbours, in units of their scatter."""
OUTLIER_WINDOW: Final = 9
"""Number of samples of the running median to which outliers are compared."""
ISOLATED: Final = 0.2
"""Maximum deviation of the samples next to low outliers, as a fraction of the outliers' deviation."""
MIN_TRANSIT_DURATION: Final = 0.05
"""Shortest transit that is searched by default [days]; low samples for less than half of it are outliers."""
MIN_SEGMENT_GAP: Final = 0.75
"""Shortest gap between two segments of a light curve [days]."""
SEGMENT_LENGTH: Final = 5.0
"""Minimum length of a segment with its own level [days]: much longer than any transit."""
SEGMENT_SIGMAS: Final = 5.0
"""Deviation of a segment's median from the light curve's that is corrected, in standard errors."""
MEDIAN_ERROR: Final = 1.2533
"""Standard error of a median of normal values / that of their mean."""
SMALLEST_UNCERTAINTY: Final = 0.1
"""Uncertainties below this fraction of their median are treated as missing."""
UNCERTAINTY_RATIO: Final = 3.0
"""Scatter and median uncertainty that differ by more than this factor are reported."""
ROWS_PER_BLOCK: Final = 65536

REASON_FLAGGED: Final = "flagged bad"
TIME_NOT_FINITE: Final = "time not finite"
FLUX_NOT_FINITE: Final = "flux not finite"
NOT_POSITIVE: Final = "flux not above 0"
REASON_OUTLIER: Final = "outlier"

SOURCE_GIVEN: Final = "given"
PARTLY_GIVEN: Final = "given in part"
ESTIMATED: Final = "scatter of the fluxes"


@dataclass(frozen=True)
class Cleaned:
    """A cleaned light curve, and what cleaning has changed.

    Attributes
    ----------
    lightcurve:
        The samples kept: all good and finite, times increasing, fluxes positive and relative to the
        median, uncertainties positive.
    level:
        The median flux that the fluxes were divided by.
    scatter:
        Robust standard deviation of the relative fluxes; 0 where they do not vary.
    dropped:
        Reason to number of samples, without zeros.
    uncertainty_source:
        Where the uncertainties come from: ``given``, ``given in part`` or ``scatter of the fluxes``.
    assumptions:
        Assumptions and changes, one sentence each, for the log.
    """

    lightcurve: LightCurve
    level: float
    scatter: float
    dropped: Mapping[str, int]
    uncertainty_source: str
    assumptions: tuple[str, ...]

    def metadata(self) -> dict[str, Scalar]:
        """Return what was kept, dropped and assumed, as output metadata."""
        return {
            "samples_searched": len(self.lightcurve),
            "samples_dropped": sum(self.dropped.values()),
            "samples_dropped_why": summary(self.dropped),
            "flux_level": self.level,
            "flux_scatter": self.scatter,
            "uncertainty_source": self.uncertainty_source,
        }


def clean(lightcurve: LightCurve) -> Cleaned:
    """Return the usable samples of ``lightcurve``, normalised to the star's flux.

    Dropped are samples that are flagged bad, not finite or not above 0, outliers above the running
    median, and outliers below it that last for less than 0.025 days (at longer cadences none: there
    they may be transits). The level is the median; segments between gaps whose medians differ
    significantly get their own. Missing uncertainties are replaced with the median of the others or,
    where most are missing, with the scatter.

    Raises
    ------
    LightCurveError
        Fewer than three samples are left, their times do not increase, or the median flux is not
        significantly above 0.
    """
    dropped: dict[str, int] = {}
    kept = lightcurve.select(_measured(lightcurve, dropped))
    require_samples(kept, dropped)
    require_increasing_times(kept.times)
    level = _level(kept.fluxes)
    kept = kept.select(_drop(kept.fluxes > 0, NOT_POSITIVE, dropped))
    kept = kept.select(_drop(~_outliers(kept), REASON_OUTLIER, dropped))
    require_samples(kept, dropped)
    levels, normalised_segments = _segment_levels(kept, level)
    assumptions = [f"{count} of {len(lightcurve)} samples are dropped: {why}" for why, count in dropped.items()]
    if abs(level - 1) > SCALE_TOLERANCE:
        assumptions.append(f"the fluxes are divided by their median, {level:g}")
    if normalised_segments:
        assumptions.append(
            f"{normalised_segments} segments between gaps are divided by their own medians, which differ"
        )
    with np.errstate(over="ignore"):
        fluxes = kept.fluxes / levels
    scatter = robust_scatter(fluxes)
    if not (np.isfinite(fluxes).all() and np.isfinite(scatter)):
        raise LightCurveError(
            "the fluxes differ by too many orders of magnitude", hint="check the fluxes, or flag those that are bad"
        )
    uncertainties, source, assumed = _uncertainties(kept.uncertainties / levels, scatter)
    return Cleaned(
        kept.evolve(fluxes=fluxes, uncertainties=uncertainties),
        level,
        scatter,
        dropped,
        source,
        (*assumptions, *assumed),
    )


def flag_invalid_fluxes(lightcurve: LightCurve) -> tuple[LightCurve, int]:
    """Return ``lightcurve`` with flux values that cannot be measurements flagged bad, and their number.

    These are fluxes that are not finite or not above 0; of a light curve without the flux of its star
    (`clean` refuses it) only those that are not finite.
    """
    fluxes = lightcurve.fluxes
    odd = lightcurve.good & ~np.isfinite(fluxes)
    measured = lightcurve.good & np.isfinite(fluxes) & (fluxes != 0)
    if measured.any() and np.median(fluxes[measured]) > MIN_LEVEL_TO_SCATTER * robust_scatter(fluxes[measured]):
        odd = lightcurve.good & ~(fluxes > 0)
    count = int(np.count_nonzero(odd))
    return lightcurve.evolve(flags=np.where(odd, BAD, lightcurve.flags)) if count else lightcurve, count


def summary(dropped: Mapping[str, int]) -> str:
    """Return the reasons and numbers of dropped samples in words."""
    return "; ".join(f"{reason}: {count}" for reason, count in dropped.items()) or "none"


def require_samples(lightcurve: LightCurve, dropped: Mapping[str, int]) -> None:
    """Raise LightCurveError where too few samples are left."""
    if len(lightcurve) < MIN_SAMPLES:
        raise LightCurveError(
            f"only {len(lightcurve)} good samples are left (dropped: {summary(dropped)})",
            hint="raise lc_duration, or check the flags and fluxes of the light curve",
        )


def _measured(lightcurve: LightCurve, dropped: dict[str, int]) -> BoolArray:
    """Return a mask of the samples that are measurements: good, finite and not 0; shape (n,)."""
    kept = _drop(lightcurve.good, REASON_FLAGGED, dropped)
    for reason, fine in (
        (TIME_NOT_FINITE, np.isfinite(lightcurve.times)),
        (FLUX_NOT_FINITE, np.isfinite(lightcurve.fluxes)),
        (NOT_POSITIVE, lightcurve.fluxes != 0),
    ):
        kept = kept & _drop(fine | ~kept, reason, dropped)
    return kept


def _drop(kept: BoolArray, reason: str, dropped: dict[str, int]) -> BoolArray:
    if count := int(np.count_nonzero(~kept)):
        dropped[reason] = dropped.get(reason, 0) + count
    return kept


def _level(fluxes: FloatArray) -> float:
    level, scatter = float(np.median(fluxes)), robust_scatter(fluxes)
    if not level > MIN_LEVEL_TO_SCATTER * scatter:
        raise LightCurveError(
            f"the median flux is {level:g} and the scatter {scatter:g}: the star's own flux is not in the data",
            hint="give fluxes relative to the star's own, about 1, without their mean or median subtracted",
        )
    return level


def _outliers(lightcurve: LightCurve) -> BoolArray:
    """Return a mask of samples that deviate from their neighbours more than a transit can, shape (n,)."""
    if len(lightcurve) < OUTLIER_WINDOW:
        return np.zeros(len(lightcurve), bool)
    deviations = lightcurve.fluxes - _running_median(lightcurve.fluxes)  # of positive numbers: no overflow
    limit = OUTLIER_SIGMAS * robust_scatter(deviations, fallback=False)
    if limit <= np.spacing(np.max(lightcurve.fluxes)) * OUTLIER_SIGMAS:
        return np.zeros(len(lightcurve), bool)
    high: BoolArray = deviations > limit
    longest = int(MIN_TRANSIT_DURATION / 2 / float(np.median(np.diff(lightcurve.times))))
    return high | _short_dips(deviations, limit, longest)


def _short_dips(deviations: FloatArray, limit: float, longest: int) -> BoolArray:
    """Return a mask of isolated dips of at most ``longest`` samples, shape (n,)."""
    low = deviations < -limit
    edges = np.flatnonzero(np.diff(np.concatenate([[False], low, [False]])))
    starts, stops = edges[::2], edges[1::2]
    short = stops - starts <= longest
    dips = np.zeros(len(low), bool)
    for start, stop in zip(starts[short].tolist(), stops[short].tolist(), strict=True):
        beside = [*deviations[max(start - 1, 0) : start], *deviations[stop : stop + 1]]
        dips[start:stop] = min(beside) > ISOLATED * deviations[start:stop].min()
    return dips


def _running_median(values: FloatArray) -> FloatArray:
    half = OUTLIER_WINDOW // 2
    padded = np.pad(values, half, mode="reflect")
    medians = np.empty_like(values)
    for start in range(0, len(values), ROWS_PER_BLOCK):
        part = padded[start : start + ROWS_PER_BLOCK + 2 * half]
        windows = np.lib.stride_tricks.sliding_window_view(part, OUTLIER_WINDOW)
        medians[start : start + ROWS_PER_BLOCK] = np.median(windows, axis=1)
    return medians


def _segment_levels(lightcurve: LightCurve, level: float) -> tuple[FloatArray, int]:
    """Return the level of each sample, shape (n,), and the number of segments with one of their own."""
    edges = [0, *(np.flatnonzero(np.diff(lightcurve.times) > MIN_SEGMENT_GAP) + 1), len(lightcurve)]
    levels, levelled = np.full(len(lightcurve), level), 0
    for start, stop in itertools.pairwise(edges):
        part = lightcurve.fluxes[start:stop]
        if stop - start < OUTLIER_WINDOW or lightcurve.times[stop - 1] - lightcurve.times[start] < SEGMENT_LENGTH:
            continue
        own, error = float(np.median(part)), MEDIAN_ERROR * robust_scatter(part) / np.sqrt(stop - start)
        if abs(own - level) > SEGMENT_SIGMAS * error:
            levels[start:stop], levelled = own, levelled + 1
    return levels, levelled


def _uncertainties(given: FloatArray, scatter: float) -> tuple[FloatArray, str, list[str]]:
    """Return positive uncertainties, their source, and the assumptions made."""
    known = np.isfinite(given) & (given > 0)
    if known.any():
        known &= given >= SMALLEST_UNCERTAINTY * np.median(given[known])
    missing = int(np.count_nonzero(~known))
    if 2 * missing > len(given):
        assumed = f"the light curve has no uncertainties: the scatter of its fluxes, {scatter:.3g}, is used"
        # If the fluxes do not vary, any positive number works, because no dip can be found.
        return np.full(len(given), scatter or 1.0), ESTIMATED, [assumed]
    typical = float(np.median(given[known]))
    assumptions = []
    if missing:
        assumptions.append(f"{missing} missing uncertainties are replaced with the median of the others, {typical:.3g}")
    if scatter and not 1 / UNCERTAINTY_RATIO <= scatter / typical <= UNCERTAINTY_RATIO:
        assumptions.append(
            f"the median uncertainty is {typical:.3g}, but the scatter of the fluxes {scatter:.3g}: "
            "significances are in units of the uncertainties"
        )
    return np.where(known, given, typical), PARTLY_GIVEN if missing else SOURCE_GIVEN, assumptions
