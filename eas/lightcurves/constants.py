"""Physical constants in the units of the task-chain language (its section 3 gives the values).

Times are days, lengths metres, the radii of stars and planets Jupiter radii.
"""

from __future__ import annotations

from typing import Final

DAY: Final = 1
"""[days]"""
MONTH: Final = 28
"""Length of a month of observations [days]."""
YEAR: Final = 365.25
"""Julian year [days]."""

SUN_RADIUS: Final = 695500e3
"""[m]"""
EARTH_RADIUS: Final = 6371e3
"""Mean radius [m]."""
JUPITER_RADIUS: Final = 71492e3
"""Equatorial radius at 1 bar [m]; IAU 2015 Resolution B3."""
PHY_AU: Final = 149597870700
"""Astronomical unit [m]; IAU 2012 Resolution B2."""

EARTH_RADIUS_IN_JUPITER_RADII: Final = 0.08911486
"""``constants.Rearth`` of the language; the quotient of the two radii above to its last digit."""
SUN_RADIUS_IN_JUPITER_RADII: Final = SUN_RADIUS / JUPITER_RADIUS
AU_IN_JUPITER_RADII: Final = PHY_AU / JUPITER_RADIUS

PLATO_NOISE: Final = 0.000315
"""Noise of one 25 s sample of a PLATO light curve, relative to the star's flux."""
PLATO_CADENCE: Final = 25.0
"""Sampling cadence of PLATO's normal cameras [s]."""

SECONDS_PER_DAY: Final = 86400.0

BY_NAME: Final = {
    "day": DAY,
    "month": MONTH,
    "year": YEAR,
    "sun_radius": SUN_RADIUS,
    "earth_radius": EARTH_RADIUS,
    "jupiter_radius": JUPITER_RADIUS,
    "phy_AU": PHY_AU,
    "Rearth": EARTH_RADIUS_IN_JUPITER_RADII,
    "plato_noise": PLATO_NOISE,
}
"""Attributes of ``constants`` in expressions."""
