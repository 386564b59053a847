"""The configuration file of psls 2.0, with stars and cameras in its own terms.

psls (Samadi et al. 2019, A&A 624, A117) adds up oscillations, granulation and activity of a star,
and the noise and systematic errors of PLATO's cameras.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from eas.tasks import psls_data

STAR_ID: Final = 1
OFF: Final = {"Enable": 0, "Seed": -1}
QUARTER: Final = 90.0
"""Time between two rotations of the spacecraft [days]; each quarter has its own systematic errors."""
SECONDS_PER_HOUR: Final = 3600.0

STARS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    # Both stars are those of psls' own examples.
    "main_sequence": {
        "Star": {
            "Mag": 10.0, "ModelType": "single", "ModelName": Path(psls_data.STAR).stem, "ES": "ms",
            "Teff": 5750.0, "Logg": 4.353,
        },
        "Oscillations": {"numax": -1.0, "delta_nu": -1.0, "DPI": -1.0, "q": 0.0, "SurfaceEffects": 1},
        "Activity": {"Enable": 1, "Sigma": 40.0, "Tau": 0.2},
    },
    "red_giant": {
        "Star": {
            "Mag": 12.5, "ModelType": "UP", "ModelName": "none", "ES": "rg", "Teff": 5400.0, "Logg": 3.934,
        },
        "Oscillations": {
            "numax": 181.77120898, "delta_nu": 13.70885191, "DPI": 80.30739925, "q": 0.15611347, "SurfaceEffects": 0,
        },
        "Activity": {"Enable": 0, "Sigma": 0.0, "Tau": 1.0},
    },
}  # fmt: skip
"""Parameters of each mode (the universal pattern of red giants needs no model file)."""


def configuration(
    mode: str,
    *,
    duration: float,
    cadence: float,
    master_seed: int,
    nsr: float | None,
    systematics: Path | None,
    groups: int,
    cameras: int,
) -> dict[str, Any]:
    """Return the content of a configuration file, for a star without a planet.

    Parameters
    ----------
    mode:
        ``main_sequence`` or ``red_giant``.
    duration:
        [days]
    cadence:
        [s], a multiple of 25.
    master_seed:
        Seed of all random numbers.
    nsr:
        Noise of one camera [ppm in one hour], or None for no random noise.
    systematics:
        Table of systematic errors, or None for no such errors.
    groups, cameras:
        Number of camera groups, and of cameras in each.
    """
    star = STARS[mode]
    directory = str(psls_data.table(psls_data.STAR).parent) if mode == "main_sequence" else "."
    return {
        "Observation": {"QuarterDuration": _quarters(duration), "MasterSeed": master_seed, "Gaps": OFF},
        "Instrument": {
            "Sampling": float(cadence),
            # It would only shift all times by half the integration time; samples are at multiples of the cadence.
            "IntegrationTime": 0.0,
            "GroupID": list(range(1, groups + 1)),
            "NCamera": cameras,
            "TimeShift": 0.0,
            "RandomNoise": {"Enable": int(nsr is not None), "Type": "User", "NSR": float(nsr or 0)},
            "Systematics": {
                "Enable": int(systematics is not None),
                "Table": str(systematics or ""),
                "Version": 2,
                "DriftLevel": "any",
                "Seed": -1,
            },
        },
        "Star": {
            **star["Star"],
            "ID": STAR_ID,
            "ModelDir": directory,
            "SurfaceRotationPeriod": 0.0,
            "CoreRotationFreq": 0.0,
            "Inclination": 0.0,
        },
        "Oscillations": {**star["Oscillations"], "Enable": 1, "Seed": -1},
        "Activity": {**star["Activity"], "Seed": -1, "Spot": OFF, "Flare": OFF},
        "Granulation": {"Enable": 1, "Type": 1, "Seed": -1},
        "Transit": {"Enable": 0},
        "External": {"Enable": 0},
    }


def _quarters(duration: float) -> list[float]:
    whole = math.floor(duration / QUARTER)
    rest = duration - whole * QUARTER
    return [QUARTER] * whole + ([rest] if rest > 0 else [])


def noise_of_sample(nsr: float, cadence: float, cameras: int) -> float:
    """Return the random noise of the mean of ``cameras`` [relative flux], ``nsr`` being one's [ppm in one hour]."""
    return nsr * 1e-6 * math.sqrt(SECONDS_PER_HOUR / cadence / cameras)
