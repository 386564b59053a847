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
"""Two samples further apart than this many cadences have a gap between them."""
STEP_TOLERANCE: Final = 1e-3
"""Largest deviation from a fixed time step, as a fraction of it: 25 ms at PLATO's cadence, above
the rounding of the codes that print times with two decimals."""


class LightCurveError(EASError):
    """A light curve, or the file of one, cannot be used."""


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
        What is known of the whole curve (``orbital_period``, ``mes``, ...).

    Raises
    ------
    LightCurveError
        Columns that are not one-dimensional or differ in length; flags other than 0 and 1.
    """

    times: FloatArray
    fluxes: FloatArray
    flags: FlagArray = field(default_factory=lambda: np.empty(0, np.int8))
    uncertainties: FloatArray = field(default_factory=lambda: np.empty(0))
    metadata: Mapping[str, Scalar] = field(default_factory=dict)

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
        """Where a sample is flagged good, shape (n,)."""
        good: BoolArray = self.flags == GOOD
        return good

    @property
    def cadence(self) -> float:
        """Median time between samples [s]; raises LightCurveError below two samples."""
        if len(self) < 2:
            raise LightCurveError(f"a light curve of {len(self)} samples has no cadence")
        return float(np.median(np.diff(self.times))) * SECONDS_PER_DAY

    def evolve(self, **changes: Any) -> LightCurve:
        """Return a copy with some attributes changed."""
        return replace(self, **changes)

    def select(self, chosen: BoolArray | slice) -> LightCurve:
        """Return the light curve of the chosen samples."""
        return self.evolve(
            times=self.times[chosen],
            fluxes=self.fluxes[chosen],
            flags=self.flags[chosen],
            uncertainties=self.uncertainties[chosen],
        )

    def first(self, duration: float) -> LightCurve:
        """Return its first ``duration`` [days], counted from its first sample."""
        return self.select(self.times < self.times[0] + duration) if len(self) else self

    def has_fixed_step(self, tolerance: float = STEP_TOLERANCE) -> bool:
        """Say whether every time lies on a fixed step, to within ``tolerance`` of that step."""
        return largest_step_error(self.times) <= tolerance


def _flags(flags: npt.ArrayLike, shape: tuple[int, ...]) -> FlagArray:
    given = np.asarray(flags)
    if not given.size:
        return np.zeros(shape, np.int8)
    if not np.isin(given, (GOOD, BAD)).all():
        odd = given[~np.isin(given, (GOOD, BAD))][0]
        raise LightCurveError(f"a flag is {odd}", cure="flags are 0 (good) or 1 (bad)")
    return np.ascontiguousarray(given, np.int8)


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
    """Say whether two light curves have bit for bit the same samples (NaN equals NaN)."""
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name != "flags")
        for name in ("times", "fluxes", "flags", "uncertainties")
    )
