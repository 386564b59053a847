"""Reads light curves in FITS and ECSV files, as published by Kepler, K2 and TESS, with the optional package astropy."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eas.errors import RequestError
from eas.lightcurves import columns, comments
from eas.lightcurves.flags import REPEATED, repeats_flux
from eas.lightcurves.lightcurve import BAD, GOOD, FloatArray, LightCurve, LightCurveError
from eas.model import Scalar

if TYPE_CHECKING:
    from astropy.timeseries import TimeSeries

STRUCTURE: Final = (
    *("simple", "bitpix", "naxis", "extend", "xtension", "pcount", "gcount", "tfields", "checksum", "datasum"),
    *("comment", "history", "extname", "extver", "nextend", "inherit", "end", ""),
)
"""Header keywords that describe the file, not the light curve."""
OF_COLUMNS: Final = ("ttype", "tform", "tunit", "tdisp", "tnull", "tdim", "tscal", "tzero", "naxis")
"""Header keywords that describe a column when a number follows them."""
FAR_FROM_ONE: Final = 0.1
"""Maximum deviation of a median flux from 1: beyond it, the fluxes are taken to be in other units."""
MAX_TEXT_CHARS: Final = 200
"""Maximum number of characters kept of a metadata text."""


def read_fits(path: Path) -> LightCurve:
    """Read the first table in a FITS file that has columns of time and flux, with the headers as metadata.

    Fluxes corrected by the mission (``PDCSAP_FLUX``) take precedence over raw ones. Samples with a quality other
    than 0 or a flux that is not finite are flagged bad; samples without a time are left out.
    Fluxes in electrons are divided by their median. Header keywords are metadata in lower case.

    Raises
    ------
    LightCurveError
        The file cannot be read, has no such table, or its times do not increase; or astropy is missing.
    """
    with _reading(path, "FITS") as notes:
        from astropy.io import fits
        from astropy.table import Table

        with fits.open(path, memmap=False) as units:
            found: list[str] = []
            for unit in units:
                names = list(getattr(getattr(unit, "columns", None), "names", None) or [])
                found += names
                if not {columns.TIME, columns.FLUX} <= columns.identify(names).keys():
                    continue
                table = Table.read(unit, unit_parse_strict="silent")
                headers = {**_header(units[0].header), **_header(unit.header)}
                return _light_curve(path, table, headers, notes)
    raise LightCurveError(
        f"{path.name}: no table has a time and a flux among its columns ({', '.join(found) or 'there are none'})",
        hint=f"name {columns.EXPECTED}",
    )


def read_ecsv(path: Path) -> LightCurve:
    """Read an ECSV file with columns of time and flux, with its header's ``meta`` as metadata; else as `read_fits`."""
    with _reading(path, "ECSV") as notes:
        from astropy.table import Table

        table = Table.read(path, format="ascii.ecsv")
        if not {columns.TIME, columns.FLUX} <= columns.identify(table.colnames).keys():
            raise LightCurveError(
                f"{path.name}: the columns are {', '.join(table.colnames)}", hint=f"name {columns.EXPECTED}"
            )
        return _light_curve(path, table, dict(table.meta), notes)


@contextlib.contextmanager
def _reading(path: Path, kind: str) -> Iterator[list[str]]:
    """Provide a list for warnings, and turn astropy's errors into one that names the file."""
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            # Warnings about units of other columns and deprecated keywords do not matter for the light curve.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", ".*truncated")
            yield notes
    except ImportError as error:
        raise LightCurveError(
            f"{path.name}: {kind} files are read by astropy, which is not installed",
            hint="pip install 'eas-prefect[fits]'",
        ) from error
    except LightCurveError:
        raise
    except Exception as error:  # astropy's errors have no common class
        text = str(error).strip().partition("\n")[0]
        raise LightCurveError(
            f"{path.name}: cannot be read as {kind}: {text or type(error).__name__}",
            hint=f"check that the file is {kind} and complete, or give another lc_type",
        ) from error


def _light_curve(path: Path, table: Any, metadata: Mapping[str, Any], notes: list[str]) -> LightCurve:
    places = columns.identify(table.colnames)
    chosen = {role: table[table.colnames[place]] for role, place in places.items()}
    values = {role: _values(path, role, column) for role, column in chosen.items()}
    values[columns.TIME] = values[columns.TIME] * columns.to_days(_unit(chosen[columns.TIME]), notes)
    if len({len(each) for each in values.values()}) != 1 or not len(values[columns.TIME]):
        raise LightCurveError(f"{path.name}: holds no samples", hint=f"give a table with {columns.EXPECTED}")
    timed = np.abs(values[columns.TIME]) < columns.LATEST
    if not timed.all():
        notes.append(f"{np.count_nonzero(~timed)} samples without a time are left out")
    times, fluxes = values[columns.TIME][timed], values[columns.FLUX][timed]
    flags = values.get(columns.FLAG, np.zeros(len(timed)))[timed]
    if columns.FLAG not in values:
        notes.append("there is no column of flags: all samples are read as good")
    elif repeats_flux(fluxes, flags):
        notes.append(REPEATED)
        flags = np.zeros(len(flags))
    bad = (flags != 0) | ~np.isfinite(fluxes)
    _require_sorted(path, times)
    uncertainties = np.nan_to_num(values.get(columns.UNCERTAINTY, np.zeros(len(timed)))[timed], posinf=0, neginf=0)
    level = _level(fluxes[~bad], notes)
    return LightCurve(
        times,
        fluxes / level,
        np.where(bad, BAD, GOOD),
        uncertainties / level,
        {**_scalars(metadata, notes), **({"flux_divided_by": level} if level != 1 else {})},
        tuple(notes),
    )


def _values(path: Path, role: str, column: Any) -> FloatArray:
    """Return a column as numbers; masked values are NaN, or 1 (bad) in the column of flags."""
    plain = getattr(column, "value", column)  # times and quantities of astropy
    missing = 1.0 if role == columns.FLAG else math.nan
    try:
        values = np.ma.filled(np.ma.asarray(plain).astype(np.float64), missing)
    except (TypeError, ValueError) as error:
        raise LightCurveError(
            f"{path.name}: the column of the {role} does not hold numbers", hint=f"give {columns.EXPECTED}"
        ) from error
    if values.ndim != 1:
        raise LightCurveError(
            f"{path.name}: the {role} has the shape {values.shape}: not one light curve",
            hint="give a table with one number in each row of a column",
        )
    result: FloatArray = np.ascontiguousarray(values)
    return result


def _unit(column: Any) -> str:
    """Return the unit of a column of times; '' if it has none or is an astropy Time."""
    unit = getattr(column, "unit", None)
    return "" if unit is None or hasattr(column, "jd") else str(unit)


def _require_sorted(path: Path, times: FloatArray) -> None:
    late = ~(np.diff(times) > 0)
    if late.any():
        index = int(np.argmax(late)) + 1
        raise LightCurveError(
            f"{path.name}: the time {times[index]:.10g} does not come after {times[index - 1]:.10g}",
            hint="sort the table by time, without repeated times",
        )


def _level(fluxes: FloatArray, notes: list[str]) -> float:
    level = float(np.median(fluxes)) if len(fluxes) else 1.0
    if not (level > 0 and abs(level - 1) > FAR_FROM_ONE):
        return 1.0
    notes.append(f"the fluxes are divided by their median, {level:g}")
    return level


def _header(header: Any) -> dict[str, Any]:
    """Return the keywords of a FITS header that describe the light curve."""
    found: dict[str, Any] = {}
    for keyword, value in header.items():
        name = keyword.lower()
        of_column = name.rstrip("0123456789") in OF_COLUMNS or name[:1].isdigit()
        if name not in STRUCTURE and not of_column:
            found[keyword] = value
    return found


def _scalars(metadata: Mapping[str, Any], notes: list[str]) -> dict[str, Scalar]:
    """Return those metadata that are single values, with names in lower case."""
    found: dict[str, Scalar] = {}
    for keyword, value in metadata.items():
        name, plain = str(keyword).strip().lower().replace("=", "_"), value
        if hasattr(plain, "item") and np.ndim(plain) == 0:
            plain = plain.item()
        if isinstance(plain, str):
            plain = plain.strip()[:MAX_TEXT_CHARS]
        elif isinstance(plain, float) and not math.isfinite(plain):
            plain = None
        # A line break in a name would break the comment line in the light curve file.
        if name and name.isprintable() and isinstance(plain, str | int | float) and plain != "":
            known, scalar = comments.convert(name, plain, notes)
            found[known] = scalar
    return found


def to_time_series(lightcurve: LightCurve) -> TimeSeries:
    """Return a light curve of n samples as a time series of astropy.

    Columns of n rows: ``time`` (TimeDelta), ``flux`` and ``flux_err`` (relative, dimensionless), ``good`` (bool);
    the metadata are in ``meta``. Raises RequestError where astropy is missing.
    """
    try:
        from astropy import units
        from astropy.time import TimeDelta
        from astropy.timeseries import TimeSeries
    except ImportError:
        raise RequestError(
            "astropy, which makes a time series, is not installed", hint="pip install 'eas-prefect[fits]'"
        ) from None
    return TimeSeries(
        {
            "flux": lightcurve.fluxes * units.dimensionless_unscaled,
            "flux_err": lightcurve.uncertainties * units.dimensionless_unscaled,
            "good": lightcurve.good,
        },
        time=TimeDelta(lightcurve.times, format="jd"),
        meta=dict(lightcurve.metadata),
    )
