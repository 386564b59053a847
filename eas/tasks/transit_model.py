"""Noise-free light curve of a transiting planet, by batman, and its transit statistics.

batman (Kreidberg 2015, PASP 127, 1161) evaluates the model of Mandel and Agol (2002, ApJ 580, L171).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np

from eas.errors import TaskFailure
from eas.lightcurves import statistics
from eas.lightcurves.constants import AU_IN_JUPITER_RADII, PLATO_CADENCE, SECONDS_PER_DAY
from eas.lightcurves.lightcurve import FloatArray
from eas.model import Scalar

with warnings.catch_warnings():
    # batman imports its test module, which has an invalid escape sequence.
    warnings.simplefilter("ignore", DeprecationWarning)
    import batman

LIMB_DARKENING: Final = (0.1, 0.3)
"""Coefficients of the quadratic law."""
ARGUMENT_OF_PERIASTRON: Final = 90.0
"""[degrees] With this value, the transit of an eccentric orbit is at periastron."""
SHORT_EXPOSURE: Final = 60.0
"""Maximum exposure [s] without supersampling: less than 1% of a transit of two hours."""
MAX_SUBSAMPLES: Final = 31
EVALUATIONS_PER_BLOCK: Final = 2**18
"""Number of evaluations at a time, which limits the memory of supersampling."""


@dataclass(frozen=True)
class Transit:
    """A planet's orbit and size, in the language's units: days, AU, Jupiter radii, degrees.

    ``t0``: middle of a transit (inferior conjunction) [days]. ``impact_parameter`` (in stellar
    radii, at mid-transit) takes precedence over ``orbital_angle`` [degrees from edge-on].

    Raises TaskFailure for a planet that touches the star at periastron.
    """

    t0: float
    eccentricity: float
    star_radius: float
    planet_radius: float
    orbital_period: float
    semi_major_axis: float
    orbital_angle: float = 0.0
    impact_parameter: float | None = None

    def __post_init__(self) -> None:
        if self.periastron <= 1 + self.radius_ratio:
            raise TaskFailure(
                f"the planet touches the star: at periastron it is {self.periastron:.3g} stellar radii from its centre",
                hint="give a larger semi_major_axis [AU], a smaller star_radius [Jupiter radii] or less eccentricity",
            )

    @property
    def radius_ratio(self) -> float:
        """Planet's radius [stellar radii]."""
        return self.planet_radius / self.star_radius

    @property
    def scaled_axis(self) -> float:
        """Semi-major axis [stellar radii]."""
        return self.semi_major_axis * AU_IN_JUPITER_RADII / self.star_radius

    @property
    def periastron(self) -> float:
        """Distance at periastron, where the transit takes place [stellar radii]."""
        return self.scaled_axis * (1 - self.eccentricity)

    def geometry(self) -> tuple[float, float]:
        """Return the angle from edge-on [degrees] and the impact parameter that belongs to it.

        b = a/R cos(i) (1-e^2) / (1 + e sin(omega)); Winn (2010, arXiv:1001.2010), equation 7.
        """
        if self.impact_parameter is None:
            return self.orbital_angle, abs(self.periastron * math.sin(math.radians(self.orbital_angle)))
        return math.degrees(math.asin(self.impact_parameter / self.periastron)), self.impact_parameter

    def parameters(self) -> batman.TransitParams:
        """Return the parameters for batman."""
        parameters = batman.TransitParams()
        parameters.t0 = float(self.t0)
        parameters.per = float(self.orbital_period)
        parameters.rp = self.radius_ratio
        parameters.a = self.scaled_axis
        parameters.inc = 90.0 - self.geometry()[0]
        parameters.ecc = float(self.eccentricity)
        parameters.w = ARGUMENT_OF_PERIASTRON
        parameters.limb_dark = "quadratic"
        parameters.u = list(LIMB_DARKENING)
        return parameters

    def flux(self, times: FloatArray, cadence: float) -> FloatArray:
        """Return the flux at ``times`` [days], shape (n,), averaged over exposures of ``cadence`` [s].

        The averages are midpoint sums of at most one evaluation a minute.
        """
        if not self.planet_radius:
            return np.ones_like(times)
        count = 1 if cadence <= SHORT_EXPOSURE else min(math.ceil(cadence / SHORT_EXPOSURE), MAX_SUBSAMPLES)
        offsets = ((np.arange(count) + 0.5) / count - 0.5) * cadence / SECONDS_PER_DAY
        rows = EVALUATIONS_PER_BLOCK // count
        parameters = self.parameters()
        fluxes = np.empty_like(times)
        for start in range(0, len(times), rows):
            instants = (times[start : start + rows, None] + offsets).ravel()
            model = batman.TransitModel(parameters, instants)
            fluxes[start : start + rows] = model.light_curve(parameters).reshape(-1, count).mean(axis=1)
        return fluxes


def transit_statistics(fluxes: FloatArray, cadence: float, noise: float) -> dict[str, Scalar]:
    """Return the transit statistics of noise-free ``fluxes``, shape (n,), as output metadata.

    ``noise`` is that of a 25 s sample; ``cadence`` [s] is the light curve's own.
    """
    return {
        "integrated_transit_power": statistics.integrated_transit_power(fluxes),
        "pixels_in_transit": statistics.pixels_in_transit(fluxes),
        "pixels_out_of_transit": statistics.pixels_out_of_transit(fluxes),
        "mes": statistics.mes(fluxes, noise_per_sample(noise, cadence)),
    }


def noise_per_sample(noise: float, cadence: float) -> float:
    """Return the noise of a sample of ``cadence`` [s], where that of 25 s is ``noise`` (white noise)."""
    return noise * math.sqrt(PLATO_CADENCE / cadence)
