"""The metadata of the package's own task types: what each returns, and what it reads of its inputs.

The module does not import the task types, so that chains can be checked where their libraries are not installed.
"""

from __future__ import annotations

from typing import Final

from eas.tasks.declarations import BATMAN_SPECS, MODE, PSLS_NUMBERS, QATS_NUMBERS, QMAX, QMIN, SWITCHES
from eas.tasks.output_metadata import MetadataKey
from eas.tasks.settings import Number

DAYS: Final = "days"
FLUX: Final = "relative flux"
NOTHING: Final[tuple[MetadataKey, ...]] = ()
"""Of a task type that returns no metadata."""

TARGET: Final = MetadataKey("orbital_period", DAYS, "the period that decides the outcome")
MES: Final = MetadataKey("mes", "", "multiple event statistic; 1e8 without noise, so that `mes > 7` holds there")
POWER: Final = MetadataKey("integrated_transit_power", "flux x samples", "sum of the missing flux")
INSIDE: Final = MetadataKey("pixels_in_transit", "", "samples in transit", "whole number")
OUTSIDE: Final = MetadataKey("pixels_out_of_transit", "", "samples out of transit", "whole number")
CARRIED: Final = (MES, POWER, INSIDE)
"""Metadata of a light curve that a search includes in its own."""
READ_BY_SEARCHES: Final = (TARGET, *CARRIED)

SEARCHED: Final = (
    MetadataKey("samples_searched", "", "samples that the cleaning keeps", "whole number"),
    MetadataKey("samples_dropped", "", "samples that the cleaning drops", "whole number"),
    MetadataKey("samples_dropped_why", "", "reasons, with numbers", "text"),
)
CLEANING: Final = (
    *SEARCHED,
    MetadataKey("flux_level", "", "median flux, by which fluxes are divided"),
    MetadataKey("flux_scatter", FLUX, "robust standard deviation"),
    MetadataKey(
        "uncertainty_source", "", "where uncertainties come from", "text",
        ("given", "given in part", "scatter of the fluxes"),
    ),
)  # fmt: skip
VERIFY: Final = (
    MetadataKey("verification_time_min", DAYS, "first time"),
    MetadataKey("verification_time_max", DAYS, "last time"),
    MetadataKey("verification_flux_min", FLUX, "lowest flux"),
    MetadataKey("verification_flux_max", FLUX, "highest flux"),
    MetadataKey("verification", "", "whether the time step is fixed", "true or false"),
    MetadataKey("samples_searched", "", "samples that a search would keep; 0: it would refuse them", "whole number"),
    *SEARCHED[1:],
)


def _specs(*numbers: Number) -> tuple[MetadataKey, ...]:
    """Return the settings in use, which a synthesis returns."""
    switches = {each.name for each in SWITCHES}
    return tuple(
        MetadataKey(each.name, "", each.meaning, "true or false")
        if each.name in switches
        else MetadataKey(each.name, each.unit, each.meaning, "whole number" if each.whole else "number")
        for each in numbers
    )


STATISTICS: Final = (POWER, INSIDE, OUTSIDE, MES)
SYNTHESIS_BATMAN: Final = (*_specs(*BATMAN_SPECS), *STATISTICS)
SYNTHESIS_PSLS: Final = (
    *_specs(*PSLS_NUMBERS),
    MetadataKey(MODE.name, "", MODE.meaning, "text", MODE.choices),
    *STATISTICS,
)

PERIOD: Final = MetadataKey("period", DAYS, "the period found")
DIP: Final = (
    MetadataKey("depth", FLUX, "of the transit"),
    MetadataKey("duration", DAYS, "of the transit"),
    MetadataKey("first_transit", DAYS, "middle of the first transit"),
    MetadataKey("transit_count", "", "number of transits", "whole number"),
)
OUTCOME: Final = (
    MetadataKey(
        "outcome", "", "PASS: `period` is within 3% of `target_period`; UNDEFINED: there is none", "text",
        ("PASS", "FAIL", "UNDEFINED"),
    ),
    MetadataKey("outcome_reason", "", "why", "text"),
    MetadataKey("target_period", DAYS, "the light curve's `orbital_period`"),
    *CARRIED,
    MetadataKey("lc_duration", DAYS, "span that is searched"),
    MetadataKey("period_min", DAYS, "shortest period that is searched"),
    MetadataKey("period_max", DAYS, "longest period that is searched"),
    *CLEANING,
)  # fmt: skip
SNR: Final = MetadataKey("snr", "", "signal-to-noise ratio")
SDE: Final = MetadataKey("sde", "", "signal detection efficiency")

TRANSIT_SEARCH_TLS: Final = (
    PERIOD, MetadataKey("period_uncertainty", DAYS, "of the period"), *DIP, SDE, SNR, *OUTCOME,
)  # fmt: skip
TRANSIT_SEARCH_BLS_REFERENCE: Final = (
    PERIOD,
    *DIP,
    MetadataKey("power", "", "gain in log-likelihood, in units of the uncertainties, else of `flux_scatter`"),
    *OUTCOME,
)
TRANSIT_SEARCH_BLS_KOVACS: Final = (
    PERIOD, *DIP, MetadataKey("power", "", "signal residue"), SDE, SNR, *OUTCOME, *_specs(QMIN, QMAX),
)  # fmt: skip
TRANSIT_SEARCH_QATS: Final = (
    MetadataKey("period", DAYS, "mean spacing of the transits"),
    *DIP,
    MetadataKey("power", "", "the statistic, in units of the scatter"),
    MetadataKey("period_span", DAYS, "from the first transit to the last"),
    MetadataKey("last_transit", DAYS, "middle of the last transit"),
    *OUTCOME,
    *_specs(*QATS_NUMBERS),
)
