"""Units of the parameters that a chain sweeps, found in the chain itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from eas.chains.json_reader import entries
from reports.columns import UNITS, base_name

_REFERENCE = re.compile(r"""\(*\s*metadata\[\s*(['"])(?P<name>[^'"]+)\1\s*\]\s*\)*""")
"""An expression that consists of a single metadata value."""


def parameter_units(chain: str) -> dict[str, str]:
    """Return the units of metadata names that a chain (JSON text) uses unchanged as settings.

    ``"planet_radius": "(metadata['size'])"`` gives ``size`` the unit of ``planet_radius``. A name that is
    used with two units has none.
    """
    found: dict[str, set[str]] = {}
    for key, value in entries(json.loads(chain)):
        match = _REFERENCE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match and key in UNITS:
            found.setdefault(match["name"], set()).add(UNITS[key])
    return {name: units.pop() for name, units in found.items() if len(units) == 1}


def axis_label(column: str, units: Mapping[str, str]) -> str:
    """Return the label of an axis: a column's name with blanks, and its unit.

    Where neither the column nor ``units`` (by parameter name) knows the unit, the label refers to the chain.
    """
    name = base_name(column)
    unit = column[len(name) :].strip(" []") or units.get(name.removeprefix("parameter_"))
    if unit is None:
        unit = "number" if name.endswith("_index") else "unit as in the chain"
    return f"{name.replace('_', ' ')} [{unit}]"
