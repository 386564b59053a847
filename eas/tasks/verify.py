"""The task type ``verify``: range of a light curve, and whether it has a fixed time step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from eas.lightcurves.cleaning import clean
from eas.lightcurves.lightcurve import LightCurve, LightCurveError, largest_step_error
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import Task, TaskContext
from eas.tasks.lightcurves import check_metadata, finite, is_finite, read_input

RANGES: Final = (
    ("verification_time_min", "verification_time_max"),
    ("verification_flux_min", "verification_flux_max"),
)


class Verify(Task):
    """Reports the ranges of times [days] and fluxes, whether the time step is fixed, and which samples a search uses.

    Output metadata: the limits of times and fluxes, ``verification`` (whether the time step is fixed),
    ``samples_searched`` (0 where a search would refuse the light curve), ``samples_dropped`` and
    ``samples_dropped_why`` of the cleaning that all searches apply.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Return the ranges; a limit is None where a sample that is flagged good is not finite."""
        lightcurve = read_input(context, "lightcurve")
        # NaN means "no measurement" in bad samples, but is an error in good ones.
        fluxes = lightcurve.fluxes[lightcurve.good | np.isfinite(lightcurve.fluxes)]
        error = largest_step_error(lightcurve.times)
        context.log.info("%d samples; steps deviate by up to %.2g of the mean step", len(lightcurve), error)
        return {
            "verification_time_min": finite(np.min(lightcurve.times)),
            "verification_time_max": finite(np.max(lightcurve.times)),
            "verification_flux_min": finite(np.min(fluxes)) if fluxes.size else None,
            "verification_flux_max": finite(np.max(fluxes)) if fluxes.size else None,
            "verification": lightcurve.has_fixed_step(),
            **_searchable(context, lightcurve),
        }

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check that the limits are finite and ordered, and that ``verification`` is a boolean."""
        checks = check_metadata(metadata, [name for pair in RANGES for name in pair])
        if metadata is None:
            return checks
        for low, high in RANGES:
            least, most = metadata.get(low), metadata.get(high)
            ordered = is_finite(least) and is_finite(most) and least <= most  # type: ignore[operator]
            checks.append(Check(f"{low} <= {high}", ordered, f"{least}, {most}"))
        verdict = metadata.get("verification")
        return [*checks, Check("verification is a verdict", isinstance(verdict, bool), f"{verdict}")]


def _searchable(context: TaskContext, lightcurve: LightCurve) -> dict[str, Scalar]:
    """Return the numbers of samples that cleaning keeps and drops, and log its assumptions."""
    try:
        cleaned = clean(lightcurve)
    except LightCurveError as error:
        context.log.warning("a search would refuse this light curve: %s (%s)", error.what, error.hint)
        return {"samples_searched": 0, "samples_dropped": len(lightcurve), "samples_dropped_why": error.what}
    for assumption in cleaned.assumptions:
        context.log.warning("%s", assumption)
    found = cleaned.metadata()
    return {name: found[name] for name in ("samples_searched", "samples_dropped", "samples_dropped_why")}
