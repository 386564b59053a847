"""Light curve files: gzipped text, four columns: time [s], relative flux, flag, flux uncertainty.

Numbers are written as the shortest decimals that represent the same doubles, and a file's bytes depend only on
its samples, so that equal light curves have equal checksums.
"""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from eas.lightcurves import comments
from eas.lightcurves.constants import SECONDS_PER_DAY
from eas.lightcurves.flags import REPEATED, repeats_flux
from eas.lightcurves.lightcurve import FloatArray, LightCurve, LightCurveError
from eas.model import Scalar

COLUMNS: Final = ("time", "flux", "flag", "uncertainty")
ROWS_PER_BLOCK: Final = 65536
COMPRESSION: Final = 1
"""zlib level: 6 takes four times as long for files that are one tenth smaller."""


def write(path: Path, lightcurve: LightCurve, *, with_metadata: bool = False) -> None:
    """Write a light curve to a file.

    Metadata are usually recorded with the attempt that made the light curve; an attempt that makes several
    light curves writes them to the files.

    Reading returns bit-identical fluxes, flags and uncertainties, and bit-identical times if they are a number
    of seconds divided by 86400 (all times that were read or synthesised here); other times may differ in the
    last bit.

    Parameters
    ----------
    path:
        The file to write.
    lightcurve:
        n samples with times [days].
    with_metadata:
        Whether its metadata are written too, as comments.

    Examples
    --------
    >>> write_lightcurve(folder / "copy.lc", lightcurve)
    >>> len(read_lightcurve(folder / "copy.lc")) == len(lightcurve)
    True
    """
    with path.open("wb") as raw, gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as stream:
        if with_metadata:
            stream.write(comments.to_lines(lightcurve.metadata))
        for block in _blocks(lightcurve):
            stream.write(block)


def read(path: Path, metadata: Mapping[str, Scalar] | None = None) -> LightCurve:
    """Read the light curve in a file.

    Blank lines and comments (``#`` to the end of the line) are skipped, but for metadata in the
    comments that the file begins with (``# #key=value``). Values are not judged:
    NaN and times that do not increase are kept. A flag column that repeats the flux column is read as all good,
    with an entry in ``warnings``.

    Parameters
    ----------
    path:
        A gzipped text file with four columns: time [s], relative flux, flag, uncertainty.
    metadata:
        Further metadata; they override metadata in comments.

    Returns
    -------
    LightCurve
        n samples with times [days], each column of shape (n,).

    Raises
    ------
    LightCurveError
        The file is missing, is not gzip or is truncated, is not text, or holds no samples; a line
        has not four numbers or its flag is neither 0 nor 1 (the message gives the line).

    Examples
    --------
    >>> write_lightcurve(folder / "other.lc", lightcurve)
    >>> read_lightcurve(folder / "other.lc", {"star": "HD 1"}).metadata["star"]
    'HD 1'
    """
    text = _decompress(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loadtxt: input contained no data", UserWarning)
            table = np.loadtxt(io.BytesIO(text), np.float64, ndmin=2, encoding="ascii")
    except ValueError as error:
        raise _located(path, text, str(error)) from error
    if not table.size:
        raise LightCurveError(f"{path}: holds no samples")
    if table.shape[1] != len(COLUMNS):
        raise _located(path, text, "lines of different kinds")
    times, fluxes, flags, uncertainties = table.T
    found, notes = comments.parse_head(text)
    if repeats_flux(fluxes, flags, written_alike=_flags_have_decimals(text)):
        flags = np.zeros(len(flags))
        notes.append(REPEATED)
    if not np.isin(flags, (0, 1)).all():
        raise _located(path, text, "lines of different kinds")
    known = {**found, **(metadata or {})}
    return LightCurve(times / SECONDS_PER_DAY, fluxes, flags.astype(np.int8), uncertainties, known, tuple(notes))


def seconds(times: FloatArray) -> FloatArray:
    """Return the seconds that give exactly ``times`` [days] when divided by 86400, if such doubles exist.

    A product of two doubles is rounded, and so is its quotient: of the product and its two
    neighbours, at least one divides back to ``times`` if a double does so at all.
    """
    product = np.asarray(times, np.float64) * SECONDS_PER_DAY
    best = product.copy()
    unfaithful = product / SECONDS_PER_DAY != times
    for direction in (-np.inf, np.inf):
        neighbour = np.nextafter(product, direction)
        faithful = unfaithful & (neighbour / SECONDS_PER_DAY == times)
        best[faithful] = neighbour[faithful]
    return best


def _blocks(lightcurve: LightCurve) -> Iterator[bytes]:
    times = seconds(lightcurve.times)
    for start in range(0, len(lightcurve), ROWS_PER_BLOCK):
        rows = slice(start, start + ROWS_PER_BLOCK)
        columns = [times[rows].tolist(), lightcurve.fluxes[rows].tolist(), lightcurve.flags[rows].tolist()]
        pattern = "%r %r %d "
        uncertainties = lightcurve.uncertainties[rows]
        # Most curves have one uncertainty for all samples: formatting it once saves a third of the time.
        if (uncertainties.view(np.int64) == uncertainties.view(np.int64)[0]).all():
            pattern += f"{float(uncertainties[0])!r}\n"
        else:
            pattern += "%r\n"
            columns.append(uncertainties.tolist())
        count = len(columns[0])
        values: list[float] = [0.0] * (count * len(columns))
        for index, column in enumerate(columns):
            values[index :: len(columns)] = column
        yield (pattern * count % tuple(values)).encode("ascii")


def _flags_have_decimals(text: bytes) -> bool:
    """Return whether the first flag is written with decimals, like a flux."""
    for line in io.BytesIO(text):
        if fields := line.partition(b"#")[0].split():
            return b"." in fields[2] or b"e" in fields[2].lower()
    return False


def _decompress(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise LightCurveError(f"{path}: no such light curve file") from error
    except EOFError as error:
        raise LightCurveError(f"{path}: is truncated: the gzip stream ends too early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise LightCurveError(
            f"{path}: is not a gzip file, or a damaged one: {error}", hint="light curves are gzipped text"
        ) from error
    except OSError as error:
        raise LightCurveError(f"{path}: cannot be read: {error}") from error


def _located(path: Path, text: bytes, otherwise: str) -> LightCurveError:
    """Return an error that names the first bad line. Slow, but only called if there is one."""
    for number, line in enumerate(text.split(b"\n"), start=1):
        fields = line.partition(b"#")[0].split()
        if fields and (wrong := _wrong(fields)):
            return LightCurveError(
                f"{path}, line {number}: {wrong}",
                hint="each line has four numbers: time [s], relative flux, flag (0 good, 1 bad), flux uncertainty",
            )
    return LightCurveError(f"{path}: {otherwise}")


def _wrong(fields: list[bytes]) -> str:
    if len(fields) != len(COLUMNS):
        return f"has {len(fields)} columns, not {len(COLUMNS)}"
    for name, value in zip(COLUMNS, fields, strict=True):
        shown = value[:40].decode("ascii", "replace")
        try:
            number = float(value)
        except ValueError:
            return f"the {name} {shown!r} is not a number"
        if name == "flag" and number not in (0, 1):
            return f"the flag is {shown}"
    return ""
