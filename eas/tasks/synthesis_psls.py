"""The task type ``synthesis_psls``: a pulsating star seen by PLATO's cameras, with a planet before it.

psls simulates star and cameras. It runs in a separate process, because it reads its command line and seeds
numpy's global random state. The transits are simulated by batman and multiplied onto psls' light curve in the same
way as psls does, because psls supports only central transits, takes the star's radius from its model, and has a
starting phase instead of a time of transit. ``t0``, ``impact_parameter``, ``star_radius`` and ``eccentricity``
therefore have the same meaning as in ``synthesis_batman``. ``star_radius`` affects only the transits:
oscillations and granulation are those of the mode's star.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from eas.errors import TaskFailure
from eas.lightcurves import files
from eas.lightcurves.constants import PLATO_CADENCE, SECONDS_PER_DAY
from eas.lightcurves.lightcurve import FloatArray, LightCurve
from eas.model import Check, Metadata, Scalar
from eas.tasks import psls_data
from eas.tasks.base import Task, TaskContext
from eas.tasks.declarations import CAMERAS, GROUPS, MASTER_SEED, MODE, NSR, PSLS_NUMBERS, PSLS_ORBIT, SWITCHES
from eas.tasks.lightcurves import check_lightcurve
from eas.tasks.psls_config import STAR_ID, STARS, configuration, noise_of_sample
from eas.tasks.settings import Number, dictionary, warn_text_numbers, warn_unknown
from eas.tasks.synthesis_batman import check_statistics, sample_times
from eas.tasks.transit_model import Transit, transit_statistics

NAMES: Final = (*(each.name for each in PSLS_NUMBERS), MODE.name)
PPM: Final = 1e-6
PROGRAM: Final = "import psls; psls.main()"


def read_specs(settings: Mapping[str, Any], seed: int = 0) -> dict[str, Scalar]:
    """Return the specs of a descriptor with their defaults; ``seed`` is the default of ``master_seed``.

    Raises TaskFailure for one that cannot be used.
    """
    given = dictionary(settings, "specs")
    specs: dict[str, Scalar] = {each.name: each.read(given, "specs") for each in PSLS_ORBIT}
    mode = given.get(MODE.name, MODE.default)
    if mode not in STARS:
        raise TaskFailure(f"specs.mode is {mode!r}", hint=f"give one of {', '.join(STARS)}")
    specs["mode"] = mode
    for switch in SWITCHES:
        specs[switch.name] = bool(switch.required(given, "specs"))
    specs["nsr"] = NSR.required(given, "specs")
    specs["number_camera_groups"] = _whole(GROUPS, given)
    specs["number_cameras_per_group"] = _whole(CAMERAS, given)
    master_seed = MASTER_SEED.read(given, "specs")
    specs["master_seed"] = seed % 2**32 if master_seed is None else _whole(MASTER_SEED, given)
    cadence = _number(specs, "sampling_cadence")
    if cadence % PLATO_CADENCE:
        raise TaskFailure(
            f"specs.sampling_cadence is {cadence:g} s, but psls adds up whole exposures of PLATO's cameras",
            hint="give a multiple of 25 s",
        )
    return specs


def _whole(number: Number, given: Mapping[str, Any]) -> int:
    return int(number.required(given, "specs"))


def _number(specs: Mapping[str, Scalar], name: str) -> float:
    value = specs[name]
    assert isinstance(value, int | float)
    return value


class SynthesisPSLS(Task):
    """Writes ``lightcurve``; the specs in use and the transit statistics are its output metadata.

    The transit statistics are those of batman's noise-free transits; ``mes`` is in units of the
    random noise alone, and 1e8 without it. Uncertainties are the random noise too.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Synthesise, write and return the metadata."""
        given = dictionary(context.settings, "specs")
        warn_unknown(given, NAMES, "specs", context.log)
        warn_text_numbers(given, PSLS_NUMBERS, "specs", context.log)
        specs = read_specs(context.settings, context.seed)
        if specs["mask_updates"] and not specs["enable_systematics"]:
            context.log.warning("specs.mask_updates changes nothing without specs.enable_systematics")
        output = context.output("lightcurve")
        lightcurve = synthesise(specs, context.scratch)
        context.log.info("%d samples, %s in transit", len(lightcurve), lightcurve.metadata["pixels_in_transit"])
        files.write(output, lightcurve)
        return dict(lightcurve.metadata)

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the light curve against the specs, and the statistics against the light curve."""
        try:
            specs = read_specs(context.settings, context.seed)
            cadence = _number(specs, "sampling_cadence")
            samples = len(sample_times(_number(specs, "duration"), cadence))
        except TaskFailure as failure:
            return [Check("specs", False, failure.what)]
        path = context.outputs.get("lightcurve")
        checks = check_lightcurve("lightcurve", path, cadence=cadence, samples=samples)
        return [*checks, *check_statistics(metadata, samples)]


def synthesise(specs: Mapping[str, Scalar], scratch: Path) -> LightCurve:
    """Return the light curve that complete ``specs`` describe; ``scratch`` is a folder for psls' files.

    Raises TaskFailure for an impossible orbit, missing data tables, or a failure of psls.
    """
    cadence = _number(specs, "sampling_cadence")
    times = sample_times(_number(specs, "duration"), cadence)
    transits, known = _transits(specs, times, cadence)
    cameras = int(_number(specs, "number_camera_groups") * _number(specs, "number_cameras_per_group"))
    noise = noise_of_sample(_number(specs, "nsr"), cadence, cameras) if specs["enable_random_noise"] else 0.0
    star = _star(specs, len(times), scratch)
    metadata: dict[str, Scalar] = {
        **specs,
        **known,
        **transit_statistics(transits, cadence, noise * math.sqrt(cadence / PLATO_CADENCE)),
    }
    return LightCurve(times, star * transits, uncertainties=np.full(len(times), noise), metadata=metadata)


def _transits(specs: Mapping[str, Scalar], times: FloatArray, cadence: float) -> tuple[FloatArray, dict[str, Scalar]]:
    """Return the relative flux with transits, shape (n,), and the orbit's angle and impact parameter."""
    if not specs["enable_transits"]:
        return np.ones_like(times), {"orbital_period": None, "planet_radius": 0}
    transit = Transit(
        **{name: _number(specs, name) for name in Transit.__dataclass_fields__ if specs.get(name) is not None}
    )
    fluxes = transit.flux(times, cadence)
    if not np.isfinite(fluxes).all():
        raise TaskFailure("batman gave fluxes that are not finite", hint="check the specs of the orbit")
    orbital_angle, impact_parameter = transit.geometry()
    return fluxes, {"orbital_angle": orbital_angle, "impact_parameter": impact_parameter}


def _star(specs: Mapping[str, Scalar], samples: int, scratch: Path) -> FloatArray:
    """Run psls for the star without a planet; return relative fluxes, shape (samples,)."""
    cadence = _number(specs, "sampling_cadence")
    systematics = None
    if specs["enable_systematics"]:
        systematics = psls_data.table(psls_data.MASK_UPDATES if specs["mask_updates"] else psls_data.FIXED_MASK)
    # psls makes an even number of samples; for an odd number it would stretch the cadence.
    even = samples + samples % 2
    content = configuration(
        str(specs["mode"]),
        duration=even * cadence / SECONDS_PER_DAY,
        cadence=cadence,
        master_seed=int(_number(specs, "master_seed")),
        nsr=_number(specs, "nsr") if specs["enable_random_noise"] else None,
        systematics=systematics,
        groups=int(_number(specs, "number_camera_groups")),
        cameras=int(_number(specs, "number_cameras_per_group")),
    )
    with tempfile.TemporaryDirectory(dir=scratch, prefix="psls-") as folder:
        table = _run(content, Path(folder))
    step = np.diff(table[:, 0])
    if len(table) < samples or not np.allclose(step, cadence, rtol=0, atol=0.02):
        raise TaskFailure(f"psls made {len(table)} samples instead of {samples} of {cadence:g} s")
    fluxes: FloatArray = 1 + PPM * table[:samples, 1]
    return fluxes


def _run(content: Mapping[str, Any], folder: Path) -> FloatArray:
    """Run psls and return its table: time [s], flux variation [ppm], number of mask updates."""
    (folder / "star.yaml").write_text(yaml.safe_dump(dict(content)), encoding="ascii")
    done = subprocess.run(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", PROGRAM, "-o", str(folder), "star.yaml"],
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "Agg"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    result = folder / f"{STAR_ID:010d}.dat"
    if done.returncode or not result.is_file():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise TaskFailure(
            f"psls failed with exit code {done.returncode}: {lines[-1] if lines else 'it said nothing'}",
            hint="check the specs; out of memory, try a longer sampling_cadence or fewer cameras",
        )
    table: FloatArray = np.loadtxt(result, ndmin=2)
    return table
