"""The task type ``multiply``: the product of two light curves, such as a transit injected into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eas.errors import TaskFailure
from eas.lightcurves import files, resampling
from eas.lightcurves.lightcurve import LightCurveError
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import Task, TaskContext
from eas.tasks.lightcurves import check_lightcurve, read_input


class Multiply(Task):
    """Multiplies ``lightcurve_1`` by ``lightcurve_2``, which is resampled onto the first's times.

    The output metadata are those of both light curves; the second's take precedence.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Multiply, write and return the merged metadata."""
        output = context.output("lightcurve")
        first, second = read_input(context, "lightcurve_1"), read_input(context, "lightcurve_2")
        try:
            product = resampling.multiply(first, second)
        except LightCurveError as error:
            raise TaskFailure(error.what, hint=error.hint) from error
        if uncovered := int((product.flags > first.flags).sum()):
            context.log.warning(
                "%d of %d samples are flagged bad because lightcurve_2 has no good sample there",
                uncovered,
                len(product),
            )
        files.write(output, product)
        return dict(product.metadata)

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the product, and that it has as many samples as the first light curve."""
        output = context.outputs.get("lightcurve")
        first = context.inputs.get("lightcurve_1")
        if first is None:
            return [Check("lightcurve_1 is given", False, "the task has no such input")]
        try:
            samples = len(files.read(first.path))
        except Exception as error:  # QC reports whatever is wrong with a file
            return [Check("lightcurve_1 parses", False, str(error))]
        return check_lightcurve("lightcurve", output, samples=samples)
