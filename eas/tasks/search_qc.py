"""Quality control of transit searches: checks that results are consistent, physical and reproduced by the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from eas.errors import EASError
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import TaskContext, exists
from eas.tasks.lightcurves import is_finite
from eas.tasks.search import cleaned_input, outcome

DEPTH_FACTOR: Final = 3.0
"""Maximum ratio of the depth that a search reports to the one that QC measures in the folded light curve."""
ROUNDING: Final = 1e-9
"""The ends of a grid are reciprocals of frequencies: rounded."""


def check_search(
    context: TaskContext, metadata: Metadata | None, statistics: Sequence[str], *, periodic: bool = True
) -> list[Check]:
    """Check the output of a transit search. Never raises.

    The period lies in the range searched, all ``statistics`` are finite and the depth is between 0
    and 1 (or, where nothing was detected, all are None); the light curve, cleaned as for the search
    and folded, shows a dip of the reported depth (only for ``periodic`` transits); the outcome agrees with the
    periods; outputs exist.

    Parameters
    ----------
    context:
        Where inputs and outputs are.
    metadata:
        What the search returned; None where it did not.
    statistics:
        Names of metadata that must be finite where something was found, None otherwise.
    periodic:
        Whether transits recur at fixed times.

    Examples
    --------
    >>> found = {"period": 3.0, "depth": 0.01, "first_transit": 0.0, "duration": 0.2, "power": 9.0}
    >>> metadata = search_result(prepare_search(context, period_min=1.0), found)
    >>> [check.name for check in check_search(context, metadata, ["depth", "power"]) if not check.passed]
    ['debugging exists']
    """
    outputs = [exists(name, path) for name, path in context.outputs.items()]
    if metadata is None:
        return [Check("metadata", False, "the search did not return any"), *outputs]
    period, target, verdict = metadata.get("period"), metadata.get("target_period"), metadata.get("outcome")
    low, high = _number(metadata, "period_min"), _number(metadata, "period_max")
    has_range = low is None or high is None or low < high
    expected = outcome(period, target, searched=has_range)
    judged = Check("outcome", verdict == expected, f"{verdict}; period {period}, target {target} give {expected}")
    dip = _check_dip(context, metadata) if periodic else []
    return [*_check_found(metadata, period, statistics), *dip, judged, *outputs]


def _check_found(metadata: Metadata, period: Scalar, statistics: Sequence[str]) -> list[Check]:
    seen = {name: metadata.get(name) for name in statistics}
    if period is None:
        found = [name for name, value in seen.items() if value is not None]
        return [Check("nothing detected", not found, f"no period; {', '.join(found) or 'no statistic'} given")]
    low, found_period, high = (_number(metadata, name) for name in ("period_min", "period", "period_max"))
    inside = (
        low is not None
        and high is not None
        and found_period is not None
        and low * (1 - ROUNDING) <= found_period <= high * (1 + ROUNDING)
    )
    depth = _number(metadata, "depth")
    return [
        Check("period in range", inside, f"{period} days, searched {low} to {high}"),
        Check("depth is physical", depth is not None and 0 < depth < 1, f"{depth}, must be above 0 and below 1"),
        *(Check(f"{name} is finite", is_finite(value), f"{value}") for name, value in seen.items()),
    ]


def _check_dip(context: TaskContext, metadata: Metadata) -> list[Check]:
    """Measure the depth at the reported transits; return no check if the search reports none."""
    names = ("period", "first_transit", "duration", "depth")
    numbers = [value for name in names if (value := _number(metadata, name)) is not None]
    if len(numbers) < len(names) or "lightcurve" not in context.inputs:
        return []
    period, first, duration, depth = numbers
    if period <= 0:
        return []
    try:
        lightcurve = cleaned_input(context, quiet=True).lightcurve
    except EASError as error:
        return [Check("depth seen again", False, error.what)]
    away = np.abs((lightcurve.times - first + period / 2) % period - period / 2)
    inside, outside = away <= duration / 2, away > duration
    if not (inside.any() and outside.any()):
        return [Check("depth seen again", False, "no samples in and out of the transits found")]
    seen = float(np.mean(lightcurve.fluxes[outside]) - np.mean(lightcurve.fluxes[inside]))
    passed = 0 < seen <= depth * DEPTH_FACTOR and depth <= seen * DEPTH_FACTOR
    return [Check("depth seen again", passed, f"{depth:.3g} was found, the folded light curve has {seen:.3g}")]


def _number(metadata: Metadata, name: str) -> float | None:
    value = metadata.get(name)
    return float(value) if isinstance(value, int | float) and is_finite(value) else None
