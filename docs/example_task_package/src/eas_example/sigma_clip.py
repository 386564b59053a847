"""Task type ``sigma_clip``: flag bright outliers of a light curve."""

from collections.abc import Mapping, Sequence

import numpy as np

from eas.task_api import (
    Check,
    Metadata,
    Scalar,
    Task,
    TaskContext,
    TaskFailure,
    check_lightcurve,
    read_input,
    read_lightcurve,
    write_lightcurve,
)
from eas_example.settings import THRESHOLD

GAUSSIAN = 1.4826
"""Ratio of the standard deviation of a normal distribution to its median absolute deviation."""


class SigmaClip(Task):
    """Flag samples that are brighter than the median by more than ``threshold`` standard deviations.

    Dips are kept because they may be transits. Output metadata: those of the light curve, and
    ``clipped``, the number of flagged samples.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Flag outliers, write the light curve, and return the metadata."""
        threshold = THRESHOLD.required(context.settings)
        lightcurve = read_input(context, "lightcurve")
        good = lightcurve.fluxes[lightcurve.good]
        if not good.size:
            raise TaskFailure("the light curve has no good samples", hint="check the task that made the light curve")
        median = np.median(good)
        scatter = GAUSSIAN * np.median(np.abs(good - median))
        outliers = lightcurve.good & (lightcurve.fluxes > median + threshold * scatter)
        flags = np.where(outliers, 1, lightcurve.flags).astype(np.int8)
        write_lightcurve(context.output("lightcurve"), lightcurve.evolve(flags=flags))
        context.log.info("%d of %d samples are clipped", outliers.sum(), len(lightcurve))
        return {**lightcurve.metadata, "clipped": int(outliers.sum())}

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the light curve, and that most samples are still good."""
        checks = check_lightcurve("lightcurve", context.outputs.get("lightcurve"))
        if metadata is None or not all(each.passed for each in checks):
            return checks
        good = read_lightcurve(context.outputs["lightcurve"]).good
        return [*checks, Check("most samples are left", float(good.mean()) > 0.75, f"{good.mean():.1%}")]
