"""Pictures of light curves: the full span, and folded at a period. Their size is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eas.lightcurves.lightcurve import FloatArray, LightCurve
from eas.plain_text import one_line
from reports.pictures import TEXT_COLOUR, new_figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from eas.taskdb.queries.folding import Ephemeris

TIME_BINS = 900
"""Number of columns of a picture; with more samples, each column shows minimum, mean and maximum."""
MAX_POINTS_UNBINNED = 4000
"""Maximum number of samples that are drawn as single points."""
PHASE_BINS = 200
POINTS, MEAN, BAD = "#0072B2", "#D55E00", "#999999"


def span_picture(curve: LightCurve, title: str) -> bytes:
    """Return a PNG of the flux against time, with samples flagged bad in grey."""
    figure, axes = _axes(title)
    good = curve.good & np.isfinite(curve.times) & np.isfinite(curve.fluxes)
    times, fluxes = curve.times[good], curve.fluxes[good]
    bad = ~curve.good & np.isfinite(curve.times) & np.isfinite(curve.fluxes)
    if 0 < bad.sum() <= MAX_POINTS_UNBINNED:
        axes.plot(curve.times[bad], curve.fluxes[bad], "x", color=BAD, markersize=3, label="flagged bad")
    if len(times) <= MAX_POINTS_UNBINNED:
        axes.plot(times, fluxes, ".", color=POINTS, markersize=2.5, label="samples")
    else:
        middles, low, mean, high = binned(times, fluxes, TIME_BINS)
        axes.fill_between(middles, low, high, color=POINTS, alpha=0.35, linewidth=0, label="lowest to highest")
        axes.plot(middles, mean, "-", color=MEAN, linewidth=0.8, label="mean")
    axes.set_xlabel("time [days]", fontsize=10, color=TEXT_COLOUR)
    return _finished(figure, axes)


def folded_picture(curve: LightCurve, ephemeris: Ephemeris, title: str) -> bytes:
    """Return a PNG of the flux against orbital phase, a transit in the middle where its time is known."""
    figure, axes = _axes(f"{title}: folded at {ephemeris.period:.6g} days, from {ephemeris.source}")
    good = curve.good & np.isfinite(curve.times) & np.isfinite(curve.fluxes)
    epoch = ephemeris.epoch if ephemeris.epoch is not None else 0.0
    phases = (curve.times[good] - epoch) / ephemeris.period
    phases = phases - np.floor(phases + 0.5)
    fluxes = curve.fluxes[good]
    if len(phases) <= MAX_POINTS_UNBINNED:
        axes.plot(phases, fluxes, ".", color=POINTS, markersize=2.5, label="samples")
    elif len(phases):
        middles, low, _, high = binned(phases, fluxes, TIME_BINS)
        axes.fill_between(middles, low, high, color=POINTS, alpha=0.25, linewidth=0, label="lowest to highest")
    if len(phases) > PHASE_BINS:
        middles, _, mean, _ = binned(phases, fluxes, PHASE_BINS)
        axes.plot(middles, mean, "-", color=MEAN, linewidth=1.2, label=f"mean of 1/{PHASE_BINS} of the period")
    text = "orbital phase" if ephemeris.epoch is not None else "phase (time of transit unknown)"
    axes.set_xlabel(text, fontsize=10, color=TEXT_COLOUR)
    return _finished(figure, axes)


def binned(places: FloatArray, values: FloatArray, bins: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return middles, lowest, mean and highest values of equal bins of ``places``; shape (filled bins,) each."""
    first, last = float(places.min()), float(places.max())
    width = (last - first) / bins or 1.0
    numbers = np.minimum(((places - first) / width).astype(np.int64), bins - 1)
    counts = np.bincount(numbers, minlength=bins)
    sums = np.bincount(numbers, weights=values, minlength=bins)
    low: FloatArray = np.full(bins, np.inf)
    high: FloatArray = np.full(bins, -np.inf)
    np.minimum.at(low, numbers, values)
    np.maximum.at(high, numbers, values)
    filled = counts > 0
    middles = np.asarray(first + width * (np.arange(bins) + 0.5), np.float64)
    mean = np.asarray(sums[filled] / counts[filled], np.float64)
    return middles[filled], low[filled], mean, high[filled]


def _axes(title: str) -> tuple[Figure, Axes]:
    figure = new_figure(9.0, 3.4)
    axes = figure.add_subplot()
    # matplotlib would parse text after a dollar sign as a formula.
    axes.set_title(one_line(title, 110).replace("$", r"\$"), loc="left", fontsize=10, color=TEXT_COLOUR)
    axes.set_ylabel("relative flux", fontsize=10, color=TEXT_COLOUR)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.tick_params(labelsize=8, colors=TEXT_COLOUR)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _finished(figure: Figure, axes: Axes) -> bytes:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc="best")
    return png(figure)
