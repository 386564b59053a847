"""The settings of the package's own task types: names, types, defaults, units, ranges, meanings.

The task types read their settings through these objects. The module does not import the task types, so that
chains can be checked where their libraries are not installed.
"""

from __future__ import annotations

from typing import Final

from eas.lightcurves.constants import SUN_RADIUS_IN_JUPITER_RADII
from eas.tasks.settings import Choice, Group, Number, Setting, Switch, Text

NOTHING: Final[tuple[Setting, ...]] = ()
"""Of a task type without settings."""

DURATION: Final = Number("duration", default=10, unit="s", low=0, high=1e8, meaning="how long it sleeps")
NULL: Final[tuple[Setting, ...]] = (DURATION,)

CADENCE: Final = Number(
    "cadence", unit="s", low=0, above=True, needed=True, meaning="time step; not finer than the light curve's"
)
BINNING: Final[tuple[Setting, ...]] = (CADENCE,)

LC_TYPE: Final = Choice("lc_type", ("lcsg", "fits", "ecsv"), "lcsg", meaning="format of the files")
INPUT_PATH: Final = Text("input_path", needed=True, meaning="glob below the input directory (`$EAS_DATA_DIR/input`)")
INGEST_EXTERNAL_LCS: Final[tuple[Setting, ...]] = (LC_TYPE, INPUT_PATH)

SAMPLING_CADENCE: Final = Number("sampling_cadence", 25, "s", low=0, above=True, meaning="time step and exposure")
ORBIT: Final = (
    Number("duration", 730, "days", low=0, above=True, meaning="length of the light curve"),
    Number("t0", 1, "days", meaning="middle of a transit"),
    Number("eccentricity", 0, low=0, high=1, below=True, meaning="the transit is at periastron"),
    Number("star_radius", SUN_RADIUS_IN_JUPITER_RADII, "Jupiter radii", low=0, above=True, meaning="default: Sun"),
    Number("planet_radius", 1, "Jupiter radii", low=0),
    Number("orbital_period", 365, "days", low=0, above=True),
    Number("semi_major_axis", 1, "AU", low=0, above=True),
    Number("orbital_angle", 0, "degrees from edge-on", low=-90, high=90),
    Number("impact_parameter", None, "stellar radii", low=0, high=1, meaning="overrides `orbital_angle`"),
)
NOISE_UNIT: Final = "of a 25 s sample, relative flux"
BATMAN_SPECS: Final = (
    *ORBIT,
    Number("noise", 0, NOISE_UNIT, low=0, meaning="white noise; scales with 1/sqrt(`sampling_cadence`)"),
    Number("mes_assume_noise", None, NOISE_UNIT, low=0, meaning="noise assumed for `mes`; default: `noise`"),
    SAMPLING_CADENCE,
)
SYNTHESIS_BATMAN: Final[tuple[Setting, ...]] = (Group("specs", BATMAN_SPECS),)

PSLS_ORBIT: Final = (*ORBIT, SAMPLING_CADENCE)
MODE: Final = Choice("mode", ("main_sequence", "red_giant"), "main_sequence", meaning="the star")
NSR: Final = Number("nsr", 73, "ppm in one hour, of one camera", low=0, meaning="random noise")
GROUPS: Final = Number("number_camera_groups", 4, low=1, high=4, whole=True)
CAMERAS: Final = Number("number_cameras_per_group", 6, low=1, high=6, whole=True)
MASTER_SEED: Final = Number(
    "master_seed", None, low=0, high=2**32 - 1, whole=True,
    meaning="seed of all random numbers; default: from the job's seed",
)  # fmt: skip
SWITCHES: Final = (
    Switch("enable_transits", True),
    Switch("mask_updates", False, meaning="systematic errors with mask updates instead of a fixed mask"),
    Switch("enable_systematics", False, meaning="the cameras' systematic errors"),
    Switch("enable_random_noise", True),
)
PSLS_NUMBERS: Final = (*PSLS_ORBIT, NSR, GROUPS, CAMERAS, MASTER_SEED, *SWITCHES)
SYNTHESIS_PSLS: Final[tuple[Setting, ...]] = (Group("specs", (*PSLS_NUMBERS, MODE)),)

LC_DURATION: Final = Number(
    "lc_duration",
    None,
    "days",
    low=0,
    above=True,
    meaning="limits the search to the first days; default: all",
)
BOX_PERIOD_MIN: Final = 0.5
"""Default of the shortest period of the searches with boxes, and of `transit_search_tls` [days]."""
QATS_PERIOD_MIN: Final = 4
"""Default of the shortest mean spacing of transits [days]."""
LONGEST_BOX: Final = 0.2
"""Longest transit that `transit_search_bls_reference` tries [days]."""
QMIN: Final = Number("qmin", 0.05, "transit duration / period", low=0, high=0.5, above=True)
QMAX: Final = Number("qmax", 0.2, "transit duration / period", low=0, high=0.5, above=True)
DURATION_MIN: Final = Number("duration_min", 0.05, "days", low=0, above=True, meaning="shortest transit")
DURATION_MAX: Final = Number("duration_max", 0.2, "days", low=0, above=True, meaning="longest transit")
DURATION_COUNT: Final = Number("duration_count", 16, low=1, high=1000, meaning="how many transit durations are tried")
MIN_TRANSIT_COUNT: Final = Number("min_transit_count", 2, low=2, meaning="fewest transits of a series")
MAX_TTV_MAG: Final = Number(
    "max_ttv_mag", 0.0005, "of the period", low=1e-6, high=0.5, meaning="variation of the spacing of transits"
)
QATS_NUMBERS: Final = (DURATION_MIN, DURATION_MAX, DURATION_COUNT, MIN_TRANSIT_COUNT, MAX_TTV_MAG)


def period_range(shortest: float, longest_duration: float = 0.0, longest: str = "half the span") -> tuple[Number, ...]:
    """Return the settings ``period_min`` and ``period_max`` of a search.

    ``shortest``: the default of ``period_min`` [days]; ``longest_duration``: what periods must exceed
    [days]; ``longest``: the default of ``period_max``, in words.
    """
    return (
        Number("period_min", shortest, "days", low=longest_duration, above=True),
        Number("period_max", None, "days", low=0, above=True, meaning=f"default: {longest}"),
    )


def _search(*settings: Number) -> tuple[Setting, ...]:
    return (LC_DURATION, Group("search_settings", settings))


TRANSIT_SEARCH_TLS: Final = _search(*period_range(BOX_PERIOD_MIN))
TRANSIT_SEARCH_BLS_REFERENCE: Final = _search(*period_range(BOX_PERIOD_MIN, LONGEST_BOX))
TRANSIT_SEARCH_BLS_KOVACS: Final = _search(*period_range(BOX_PERIOD_MIN), QMIN, QMAX)
TRANSIT_SEARCH_QATS: Final = _search(
    *period_range(QATS_PERIOD_MIN, longest="span / `min_transit_count`"), *QATS_NUMBERS
)
