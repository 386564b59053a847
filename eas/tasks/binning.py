"""The task type ``binning``: a light curve on a coarser, fixed time step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eas.errors import TaskFailure
from eas.lightcurves import files, resampling
from eas.lightcurves.cleaning import flag_invalid_fluxes
from eas.lightcurves.lightcurve import LightCurveError
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import Task, TaskContext
from eas.tasks.declarations import CADENCE
from eas.tasks.lightcurves import check_lightcurve, read_input
from eas.tasks.settings import warn_text_numbers


class Binning(Task):
    """Bins the good samples of ``lightcurve`` to ``cadence`` [s], conserving flux.

    Samples whose fluxes are not finite or not above 0 are left out, with a warning.

    The output metadata are the light curve's: its transit statistics (``mes``,
    ``pixels_in_transit``, ...) still count the samples that it was made with.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Bin, write and return the light curve's metadata."""
        warn_text_numbers(context.settings, [CADENCE], "", context.log)
        cadence = CADENCE.required(context.settings)
        output = context.output("lightcurve")
        lightcurve, unmeasured = flag_invalid_fluxes(read_input(context, "lightcurve"))
        if unmeasured:
            context.log.warning(
                "%d of %d samples are left out: their fluxes are not finite or not above 0", unmeasured, len(lightcurve)
            )
        try:
            binned = resampling.bin_to(lightcurve, cadence)
        except LightCurveError as error:
            raise TaskFailure(error.what, hint=error.hint) from error
        context.log.info("%d samples binned to %d of %g s", len(lightcurve), len(binned), cadence)
        files.write(output, binned)
        return dict(binned.metadata)

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the binned light curve and its cadence."""
        try:
            cadence = CADENCE.required(context.settings)
        except TaskFailure as failure:
            return [Check("cadence is given", False, failure.what)]
        return check_lightcurve("lightcurve", context.outputs.get("lightcurve"), cadence=cadence)
