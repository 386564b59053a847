"""Identifies columns of time, flux, flag and uncertainty by their common names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from eas.lightcurves.constants import SECONDS_PER_DAY

TIME: Final = "time"
FLUX: Final = "flux"
FLAG: Final = "flag"
UNCERTAINTY: Final = "uncertainty"

NAMES: Final = {
    TIME: ("time", "times", "t", "bjd", "btjd", "bkjd", "hjd", "mjd", "jd", "timestamp"),
    # Corrected fluxes of Kepler, K2 and TESS come before the raw ones.
    FLUX: (
        *("pdcsap_flux", "kspsap_flux", "fcor", "corr_flux", "relative_flux", "rel_flux", "norm_flux"),
        *("normalized_flux", "flux", "fluxes", "sap_flux", "raw_flux"),
    ),
    FLAG: ("flag", "flags", "quality", "sap_quality", "quality_flag", "quality_flags"),
    UNCERTAINTY: ("uncertainty", "flux_err", "flux_error", "flux_uncertainty", "error", "err", "sigma"),
}
"""Accepted names of each column, preferred names first; case, blanks and hyphens are ignored."""
DAYS: Final = ("", "d", "day", "days", "jd", "bjd", "btjd", "bkjd", "mjd", "hjd")
LATEST: Final = 1e12
"""Maximum absolute value of a time, in days or seconds."""
SECONDS: Final = ("s", "sec", "second", "seconds")
EXPECTED: Final = f"a time ({', '.join(NAMES[TIME][:3])}, ...) and a flux ({', '.join(NAMES[FLUX][:2])}, flux, ...)"


def split_unit(heading: str) -> tuple[str, str]:
    """Return the name in a heading such as ``Time [days]``, in lower case with underscores, and its unit."""
    matched = re.fullmatch(r"(.*?)\s*(?:[\[(](.*)[\])])?", heading.strip().strip('"').strip(), re.DOTALL)
    assert matched
    return re.sub(r"[\s-]+", "_", matched[1].lower()), (matched[2] or "").strip()


def identify(headings: Sequence[str]) -> dict[str, int]:
    """Return the indices of the columns ``time``, ``flux``, ``flag`` and ``uncertainty`` that their names identify."""
    names = [split_unit(each)[0] for each in headings]
    found = {role: names.index(name) for role, known in NAMES.items() if (name := _first(known, names)) is not None}
    # The uncertainty of the flux that was chosen, not that of another one.
    if FLUX in found:
        own = [name for name in (f"{names[found[FLUX]]}_err", f"e_{names[found[FLUX]]}") if name in names]
        if own:
            found[UNCERTAINTY] = names.index(own[0])
        elif names[found[FLUX]] not in ("flux", "fluxes"):
            found.pop(UNCERTAINTY, None)
    return found


def to_days(unit: str, warnings: list[str]) -> float:
    """Return the factor that converts times in ``unit`` to days; append assumptions to ``warnings``."""
    known = unit.strip().lower()
    if known in DAYS:
        return 1.0
    if known in SECONDS:
        warnings.append("the times are in seconds and are converted to days")
        return 1 / SECONDS_PER_DAY
    if any(known.startswith(each) for each in ("bjd", "bkjd", "btjd", "jd", "mjd", "hjd")):
        return 1.0
    warnings.append(f"the unit of the times, {unit!r}, is not known: they are read as days")
    return 1.0


def _first(known: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in known if name in names), None)
