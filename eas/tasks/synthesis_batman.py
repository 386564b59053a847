"""The task type ``synthesis_batman``: a light curve of a transiting planet in white noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from eas.errors import TaskFailure
from eas.lightcurves import files
from eas.lightcurves.constants import SECONDS_PER_DAY
from eas.lightcurves.lightcurve import FloatArray, LightCurve
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import Task, TaskContext
from eas.tasks.declarations import BATMAN_SPECS as SPECS
from eas.tasks.lightcurves import TRANSIT_STATISTICS, check_lightcurve, check_metadata, is_finite
from eas.tasks.settings import dictionary, warn_text_numbers, warn_unknown
from eas.tasks.transit_model import Transit, noise_per_sample, transit_statistics

MAX_SAMPLES: Final = 50_000_000
"""Maximum number of samples: forty years at 25 s. More do not fit into a worker's memory."""


def read_specs(settings: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the specs of a descriptor with their defaults; raise TaskFailure for a bad one."""
    given = dictionary(settings, "specs")
    return {each.name: each.read(given, "specs") for each in SPECS}


def sample_times(duration: float, cadence: float) -> FloatArray:
    """Return the middles of exposures every ``cadence`` [s] from 0 up to ``duration`` [days], shape (n,).

    Raises TaskFailure for fewer than two samples, or more than memory holds.
    """
    count = math.ceil(duration * SECONDS_PER_DAY / cadence - 1e-6)
    if not 2 <= count <= MAX_SAMPLES:
        raise TaskFailure(
            f"a duration of {duration:g} days at a cadence of {cadence:g} s makes {count} samples",
            hint=f"choose specs.duration and specs.sampling_cadence for 2 to {MAX_SAMPLES} samples",
        )
    times: FloatArray = np.arange(count, dtype=np.float64) * float(cadence) / SECONDS_PER_DAY
    return times


class SynthesisBatman(Task):
    """Writes ``lightcurve``; the specs in use and the transit statistics are its output metadata.

    Both ``orbital_angle`` and ``impact_parameter`` are returned; one is computed from the other. ``mes`` is 1e8 if
    no noise is given or assumed.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Synthesise, write and return the metadata."""
        given = dictionary(context.settings, "specs")
        warn_unknown(given, [each.name for each in SPECS], "specs", context.log)
        warn_text_numbers(given, SPECS, "specs", context.log)
        specs = read_specs(context.settings)
        output = context.output("lightcurve")
        lightcurve = synthesise(specs, context.seed)
        context.log.info("%d samples, %s in transit", len(lightcurve), lightcurve.metadata["pixels_in_transit"])
        files.write(output, lightcurve)
        return dict(lightcurve.metadata)

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the light curve against the specs, and the statistics against the light curve."""
        try:
            specs = read_specs(context.settings)
            cadence = specs["sampling_cadence"]
            samples = len(sample_times(specs["duration"] or 0, cadence or 1))
        except TaskFailure as failure:
            return [Check("specs", False, failure.what)]
        path = context.outputs.get("lightcurve")
        checks = check_lightcurve("lightcurve", path, cadence=cadence, samples=samples)
        return [*checks, *check_statistics(metadata, samples)]


def synthesise(specs: Mapping[str, float | None], seed: int) -> LightCurve:
    """Return the light curve that complete ``specs`` describe, its metadata included.

    Noise is Gaussian and white, drawn from ``seed``. Raises TaskFailure for an impossible orbit.
    """
    known = {name: value for name, value in specs.items() if value is not None}
    transit = Transit(
        **{name: known[name] for name in Transit.__dataclass_fields__ if name in known},
    )
    cadence, noise = known["sampling_cadence"], known["noise"]
    times = sample_times(known["duration"], cadence)
    model = transit.flux(times, cadence)
    if not np.isfinite(model).all():
        raise TaskFailure("batman gave fluxes that are not finite", hint="check the specs of the orbit")
    orbital_angle, impact_parameter = transit.geometry()
    metadata: dict[str, Scalar] = {
        **specs,
        "orbital_angle": orbital_angle,
        "impact_parameter": impact_parameter,
        **transit_statistics(model, cadence, known.get("mes_assume_noise", noise)),
    }
    scatter = noise_per_sample(noise, cadence)
    fluxes = model + scatter * np.random.default_rng(seed).standard_normal(len(model)) if scatter else model
    return LightCurve(times, fluxes, uncertainties=np.full(len(times), scatter), metadata=metadata)


def check_statistics(metadata: Metadata | None, samples: int) -> list[Check]:
    """Check the transit statistics that a synthesis of ``samples`` returned. Never raises."""
    names = [name for name in TRANSIT_STATISTICS if name != "mes"]
    checks = check_metadata(metadata, names)
    if metadata is None or not all(each.passed for each in checks):
        return checks
    inside, outside = metadata["pixels_in_transit"], metadata["pixels_out_of_transit"]
    assert isinstance(inside, int) and isinstance(outside, int)
    mes = metadata.get("mes")
    return [
        *checks,
        Check("pixels add up", inside + outside == samples, f"{inside} + {outside}, of {samples} samples"),
        Check("mes is finite", is_finite(mes), f"{mes}"),
    ]
