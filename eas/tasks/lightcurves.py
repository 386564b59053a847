"""Functions shared by task types that read and write light curves, mainly for QC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from eas.errors import TaskFailure
from eas.lightcurves import files
from eas.lightcurves.lightcurve import STEP_TOLERANCE, LightCurve, LightCurveError, largest_step_error
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import TaskContext, exists

TRANSIT_STATISTICS: Final = ("integrated_transit_power", "pixels_in_transit", "pixels_out_of_transit", "mes")
"""Names of a light curve's metadata that describe its transits as a whole."""


def read_input(context: TaskContext, name: str, *, quiet: bool = False) -> LightCurve:
    """Read an input that is a light curve, with the metadata of the task that made it.

    Parameters
    ----------
    context:
        Where the inputs come from, and where warnings are logged.
    name:
        Semantic name of the input.
    quiet:
        Whether to suppress the reader's warnings, because QC reads the input again.

    Returns
    -------
    LightCurve
        n samples: times [days], relative fluxes, flags and uncertainties, each of shape (n,).

    Raises
    ------
    TaskFailure
        There is no such input, or it is no light curve.

    Examples
    --------
    >>> curve = read_input(context, "lightcurve")
    >>> curve.times.shape, curve.metadata["orbital_period"]
    ((2880,), 3.0)
    """
    product = context.input(name)
    try:
        lightcurve = files.read(product.path, product.metadata)
    except LightCurveError as error:
        raise TaskFailure(f"the input {name!r} ({product.file_name}): {error.what}", hint=error.hint) from error
    if not quiet:
        warn(context, product.file_name, lightcurve)
    return lightcurve


def warn(context: TaskContext, name: str, lightcurve: LightCurve) -> None:
    """Log the warnings of the reader of the light curve ``name``."""
    for warning in lightcurve.warnings:
        context.log.warning("%s: %s", name, warning)


def finite(value: float | np.floating[Any] | None) -> float | None:
    """Return a number as a Python float, or None for what is missing, NaN or infinite.

    Parameters
    ----------
    value:
        A number in any unit, or None.

    Examples
    --------
    >>> finite(1), finite(float("nan"))
    (1.0, None)
    """
    return float(value) if value is not None and math.isfinite(value) else None


def is_finite(value: Scalar) -> bool:
    """Return whether a metadata value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_lightcurve(
    name: str, path: Path | None, *, cadence: float | None = None, samples: int | None = None
) -> list[Check]:
    """Check the light curve in ``path``. Never raises.

    It exists, parses, has finite numbers in its good samples, uncertainties that are not negative
    and increasing times; and, if given, a fixed step and a number of samples. Checks that depend on a failed one
    are left out.

    Parameters
    ----------
    name:
        What the light curve is called in messages.
    path:
        Its file; None where the task was given no name for it.
    cadence:
        The promised step [s].
    samples:
        The promised number of samples.

    Examples
    --------
    >>> write_lightcurve(folder / "curve.lc", lightcurve)
    >>> all(check.passed for check in check_lightcurve("curve", folder / "curve.lc", cadence=600, samples=2880))
    True
    """
    if path is None:
        return [Check(f"{name} exists", False, "the task was given no file name for it")]
    found = exists(name, path)
    if not found.passed:
        return [found]
    try:
        lightcurve = files.read(path)
    except Exception as error:  # QC reports whatever is wrong with a file
        what = error.what if isinstance(error, LightCurveError) else repr(error)
        return [found, Check(f"{name} parses", False, what)]
    checks = [found, Check(f"{name} parses", True, f"{len(lightcurve)} samples"), *_check_values(name, lightcurve)]
    if cadence is not None:
        checks.append(_check_cadence(name, lightcurve, cadence))
    if samples is not None:
        checks.append(
            Check(f"{name} number of samples", len(lightcurve) == samples, f"{len(lightcurve)}, expected {samples}")
        )
    return checks


def check_metadata(metadata: Metadata | None, names: Sequence[str]) -> list[Check]:
    """Check that metadata are finite numbers. Never raises.

    Parameters
    ----------
    metadata:
        What the task returned; None where it did not.
    names:
        The metadata that must be finite numbers.

    Examples
    --------
    >>> check_metadata({"depth": 0.01}, ["depth"])
    [Check(name='depth is finite', passed=True, detail='0.01')]
    """
    if metadata is None:
        return [Check("metadata", False, "the task's code did not return any")]
    return [Check(f"{each} is finite", is_finite(metadata.get(each)), f"{metadata.get(each)}") for each in names]


def _check_values(name: str, lightcurve: LightCurve) -> list[Check]:
    good = lightcurve.good
    odd = good & ~(np.isfinite(lightcurve.fluxes) & np.isfinite(lightcurve.uncertainties))
    odd |= ~np.isfinite(lightcurve.times)
    negative = lightcurve.uncertainties < 0
    backwards = ~(np.diff(lightcurve.times) > 0)
    return [
        Check(f"{name} has good samples", bool(good.any()), f"{np.count_nonzero(good)} of {len(good)} are good"),
        Check(f"{name} is finite", not odd.any(), _first(odd, "not finite")),
        Check(f"{name} uncertainties", not negative.any(), _first(negative, "negative")),
        Check(f"{name} times increase", not backwards.any(), _first(backwards, "not followed by a later one")),
    ]


def _check_cadence(name: str, lightcurve: LightCurve, cadence: float) -> Check:
    label = f"{name} cadence"
    if len(lightcurve) < 2:
        return Check(label, False, f"{len(lightcurve)} samples have none, expected {cadence:g} s")
    seen, error = lightcurve.cadence, largest_step_error(lightcurve.times)
    passed = abs(seen - cadence) <= STEP_TOLERANCE * cadence and error <= STEP_TOLERANCE
    return Check(label, passed, f"{seen:.6g} s, expected {cadence:g} s; steps deviate by up to {error:.2g} of it")


def _first(odd: np.ndarray[tuple[int], np.dtype[np.bool_]], what: str) -> str:
    count = int(np.count_nonzero(odd))
    return f"{count} samples are {what}, the first is sample {int(np.argmax(odd))}" if count else f"none is {what}"
