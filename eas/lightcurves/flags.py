"""Detects invalid flag columns: one writer of the prototype repeats the flux there."""

from __future__ import annotations

from typing import Final

import numpy as np

from eas.lightcurves.lightcurve import FloatArray

REPEATED: Final = "the flag column repeats the flux column, as one writer of the prototype does: all samples are good"


def repeats_flux(fluxes: FloatArray, flags: FloatArray, *, written_alike: bool = False) -> bool:
    """Return whether the ``flags`` of a file, shape (n,), repeat its ``fluxes``.

    If all values are 0 or 1, they may be real flags; then the flags must also be written with decimals
    (``written_alike``).
    """
    if not np.array_equal(fluxes, flags, equal_nan=True):
        return False
    return written_alike or not np.isin(flags, (0, 1)).all()
