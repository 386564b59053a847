"""The light curve: relative flux of a star against time, with flags and uncertainties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from eas.errors import EASError
from eas.lightcurves.constants import SECONDS_PER_DAY
from eas.model import Scalar

FloatArray: TypeAlias = npt.NDArray[np.float64]
FlagArray: TypeAlias = npt.NDArray[np.int8]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

GOOD: Final = 0
BAD: Final = 1

GAP_FACTOR: Final = 1.5
"""Minimum distance of two samples with a gap between them, in cadences."""
STEP_TOLERANCE: Final = 1e-3
"""Largest deviation from a fixed time step, as a fraction of it: 25 ms at PLATO's cadence, above
the rounding of the codes that print times with two decimals."""


class LightCurveError(EASError):
    """A light curve, or the file of one, cannot be used.

    Parameters
    ----------
    what:
        What is wrong with it.
    hint:
        What can be done about it.

    Examples
    --------
    >>> try:
    ...     LightCurve([0.0, 1.0], [1.0])
    ... except LightCurveError as error:
    ...     print(error)
    fluxes have the shape (1,), times (2,): not one light curve
    """


@dataclass(frozen=True, eq=False)
class LightCurve:
    """A light curve of n samples. Compared by identity; see `same` for values.

    Attributes
    ----------
    times:
        Middle of each exposure [days], float64, shape (n,).
    fluxes:
        Flux relative to the star's own, float64, shape (n,).
    flags:
        0 good, 1 bad, int8, shape (n,). All good where not given.
    uncertainties:
        Standard deviation of each flux, float64, shape (n,). Zero where not given: not known.
    metadata:
        Metadata of the whole light curve (``orbital_period``, ``mes``, ...).
    warnings:
        Assumptions and problems of the file's reader, one sentence each.

    Raises
    ------
    LightCurveError
        Columns that are not one-dimensional or differ in length; flags other than 0 and 1.

    Examples
    --------
    >>> short = LightCurve(times=[0.0, 0.25, 0.5], fluxes=[1.0, 0.99, 1.0], flags=[0, 0, 1])
    >>> len(short), short.good.tolist(), short.uncertainties.tolist()
    (3, [True, True, False], [0.0, 0.0, 0.0])
    """

    times: FloatArray
    fluxes: FloatArray
    flags: FlagArray = field(default_factory=lambda: np.empty(0, np.int8))
    uncertainties: FloatArray = field(default_factory=lambda: np.empty(0))
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        times = np.ascontiguousarray(self.times, np.float64)
        fluxes = np.ascontiguousarray(self.fluxes, np.float64)
        uncertainties = np.ascontiguousarray(self.uncertainties, np.float64)
        columns: dict[str, npt.NDArray[Any]] = {
            "times": times,
            "fluxes": fluxes,
            "flags": _flags(self.flags, times.shape),
            "uncertainties": uncertainties if uncertainties.size else np.zeros(times.shape),
        }
        for name, column in columns.items():
            if column.ndim != 1 or column.shape != times.shape:
                raise LightCurveError(f"{name} have the shape {column.shape}, times {times.shape}: not one light curve")
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def good(self) -> BoolArray:
        """Where a sample is flagged good, bool, shape (n,).

        Examples
        --------
        >>> int(lightcurve.good.sum())
        2880
        """
        good: BoolArray = self.flags == GOOD
        return good

    @property
    def cadence(self) -> float:
        """Median time between samples [s].

        Raises
        ------
        LightCurveError
            It has fewer than two samples.

        Examples
        --------
        >>> round(lightcurve.cadence)
        600
        """
        if len(self) < 2:
            raise LightCurveError(f"a light curve of {len(self)} samples has no cadence")
        return float(np.median(np.diff(self.times))) * SECONDS_PER_DAY

    def evolve(self, **changes: Any) -> LightCurve:
        """Return a copy with some attributes changed.

        Parameters
        ----------
        changes:
            Attributes by name.

        Raises
        ------
        LightCurveError
            The columns no longer fit together.

        Examples
        --------
        >>> doubled = lightcurve.evolve(fluxes=lightcurve.fluxes * 2)
        >>> bool((doubled.fluxes == 2 * lightcurve.fluxes).all())
        True
        """
        return replace(self, **changes)

    def select(self, chosen: BoolArray | slice) -> LightCurve:
        """Return the light curve of the chosen samples; metadata are kept.

        Parameters
        ----------
        chosen:
            A mask, bool, shape (n,), or a slice.

        Examples
        --------
        >>> len(lightcurve.select(lightcurve.times < 1)), len(lightcurve.select(slice(10)))
        (144, 10)
        """
        return self.evolve(
            times=self.times[chosen],
            fluxes=self.fluxes[chosen],
            flags=self.flags[chosen],
            uncertainties=self.uncertainties[chosen],
        )

    def first(self, duration: float) -> LightCurve:
        """Return its first part, counted from its earliest finite time.

        Parameters
        ----------
        duration:
            Length of the part [days].

        Examples
        --------
        >>> len(lightcurve.first(2))
        288
        """
        finite = self.times[np.isfinite(self.times)]
        return self.select(self.times < finite.min() + duration) if finite.size else self

    def has_fixed_step(self, tolerance: float = STEP_TOLERANCE) -> bool:
        """Return whether all times lie on a fixed step.

        Parameters
        ----------
        tolerance:
            Largest deviation, as a fraction of the step.

        Examples
        --------
        >>> lightcurve.has_fixed_step(), lightcurve.evolve(times=lightcurve.times**2).has_fixed_step()
        (True, False)
        """
        return largest_step_error(self.times) <= tolerance


def _flags(flags: npt.ArrayLike, shape: tuple[int, ...]) -> FlagArray:
    given = np.asarray(flags)
    if not given.size:
        return np.zeros(shape, np.int8)
    if not np.isin(given, (GOOD, BAD)).all():
        odd = given[~np.isin(given, (GOOD, BAD))][0]
        raise LightCurveError(f"a flag is {odd}", hint="flags are 0 (good) or 1 (bad)")
    return np.ascontiguousarray(given, np.int8)


def require_increasing_times(times: FloatArray) -> None:
    """Raise LightCurveError, naming the first sample at fault, where ``times`` do not increase."""
    late = ~(np.diff(times) > 0)  # also where a time is NaN
    if late.any():
        index = int(np.argmax(late)) + 1
        raise LightCurveError(
            f"times must increase, but sample {index} is at {times[index]:g} days after {times[index - 1]:g} days",
            hint="sort the light curve by time, without repeated times",
        )


def largest_step_error(times: FloatArray) -> float:
    """Return the largest deviation of a step from the mean step, as a fraction of it.

    0 below three samples, infinite where times do not increase or are not finite.
    """
    if len(times) < 2:
        return 0.0
    step = (times[-1] - times[0]) / (len(times) - 1)
    if not (np.isfinite(step) and step > 0):
        return float("inf")
    error = float(np.max(np.abs(np.diff(times) / step - 1)))
    return error if np.isfinite(error) else float("inf")


def same(one: LightCurve, other: LightCurve) -> bool:
    """Return whether two light curves have bit-identical samples (NaN equals NaN)."""
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name != "flags")
        for name in ("times", "fluxes", "flags", "uncertainties")
    )
