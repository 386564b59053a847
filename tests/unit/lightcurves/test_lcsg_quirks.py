"""LCSG files that a spreadsheet or another program has saved: read with what is said about it, or refused."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from eas.lightcurves import comments, lcsg
from eas.lightcurves.flags import REPEATED
from eas.lightcurves.lightcurve import LightCurveError

DATA = Path(__file__).parent / "data"
EMPTY = 21
"""Cells without a flux in the stored case."""
PLAIN = "# #orbital_period=3\ntime,flux,flag\n0.0,1.5,0\n0.25,0.99,0\n0.5,1.25,1\n"


def quoted(text, quoting=csv.QUOTE_ALL):
    target = io.StringIO()
    csv.writer(target, quoting=quoting).writerows(csv.reader(text.splitlines()))
    return target.getvalue()


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return lcsg.read(path)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        gzip.compress(PLAIN.encode(), mtime=0),
        PLAIN.encode("utf-8-sig"),
        gzip.compress(PLAIN.encode("utf-8-sig"), mtime=0),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", " \n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", "  "),
        PLAIN.replace(",1.5,", ",  1.5,"),
        PLAIN.replace("=3\n", "=3,,\n"),
        PLAIN.replace("=3\n", "=3;;\n"),
        quoted(PLAIN),
        quoted(PLAIN).replace(",", ";"),
        "sep=,\n" + PLAIN,
        PLAIN + ",,\n,,\n",
        PLAIN + "\n\n",
        PLAIN.replace(",0\n", ",0,,\n").replace("flag\n", "flag,,\n").replace(",1\n", ",1,,\n"),
        PLAIN.replace("time,flux,flag\n", ""),
        PLAIN.replace("time,flux,flag", "Time [d],Flux,Flag"),
        PLAIN.replace("time,flux,flag", "TIME,PDCSAP_FLUX,SAP_QUALITY"),
        PLAIN.replace(",0\n", ",False\n").replace(",1\n", ",True\n"),
        "# saved by \u00e9diteur\n".encode("latin-1") + PLAIN.encode(),
        b"# " + b"\xe9" * 3000 + b"\n" + PLAIN.encode(),
        # pandas.DataFrame.to_csv with its index
        "# #orbital_period=3\n,time,flux,flag\n0,0.0,1.5,0\n1,0.25,0.99,0\n2,0.5,1.25,1\n",
    ],
)
def test_the_same_light_curve_however_it_is_written(tmp_path, content):
    lightcurve = read(tmp_path / "a.csv", content)
    assert lightcurve.times.tolist() == [0, 0.25, 0.5] and lightcurve.fluxes.tolist() == [1.5, 0.99, 1.25]
    assert lightcurve.flags.tolist() == [0, 0, 1]
    assert lightcurve.metadata == {"orbital_period": 3} and not lightcurve.warnings


@pytest.mark.parametrize(
    "content, warning",
    [
        (PLAIN.replace(",", ";").replace(".", ","), "the numbers have decimal commas"),
        (PLAIN.replace("time,", "time [s],").replace("0.25", "21600").replace("0.5,", "43200,"), "are in seconds"),
        (PLAIN.replace("time,flux,flag", "Zeit,Fluss,Marke"), "the columns Zeit, Fluss, Marke are read as time"),
        ("# #orbital_period=3\ntime,flux,flag,star\n0.0,1.5,0,a\n0.25,0.99,0,a\n0.5,1.25,1,b\n", "star are not read"),
        ("# #orbital_period=3\nflag,time,x,flux\n0,0.0,9,1.5\n0,0.25,9,0.99\n1,0.5,9,1.25\n", "columns x are not read"),
        (PLAIN.replace("=3", "=3 d"), "orbital_period is '3 d': read as 3 days"),
        (PLAIN.replace("=3", "= 3 [days]"), "orbital_period is '3 [days]': read as 3 days"),
        (PLAIN.replace("=3", "=72 h"), "orbital_period is '72 h': read as 3 days"),
        (PLAIN.replace("=3", '="3"'), "orbital_period is '3': read as 3 days"),
        (PLAIN.replace("=3", "=3,0"), "orbital_period is '3,0': read as 3 days"),
        (PLAIN.replace("orbital_period", "Orbital Period"), "'Orbital Period' is read as orbital_period"),
        ("# #orbital_period=5\n" + PLAIN, "orbital_period is given twice: 5 and 3"),
    ],
)
def test_what_had_to_be_assumed_is_said(tmp_path, content, warning):
    lightcurve = read(tmp_path / "a.csv", content)
    assert lightcurve.times.tolist() == [0, 0.25, 0.5] and lightcurve.fluxes.tolist() == [1.5, 0.99, 1.25]
    assert lightcurve.flags.tolist() == [0, 0, 1] and lightcurve.metadata == {"orbital_period": 3}
    assert len(lightcurve.warnings) == 1 and warning in lightcurve.warnings[0]


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "NA", "null", "--", "#N/A", "inf"])
def test_a_flux_that_is_missing_is_a_bad_sample(tmp_path, cell):
    lightcurve = read(tmp_path / "a.csv", PLAIN.replace("0.99", cell))
    assert lightcurve.flags.tolist() == [0, 1, 1]


def test_uncertainties_are_read_where_the_heading_names_them(tmp_path):
    lightcurve = read(tmp_path / "a.csv", "time,flux,flux_err,flag\n0,1,0.1,0\n1,1.1,,0\n")
    assert lightcurve.uncertainties.tolist() == [0.1, 0] and not lightcurve.warnings


@pytest.mark.parametrize(
    "value, kept, said",
    [
        ("soon", "soon", "orbital_period is 'soon', not a number of days: write '# #orbital_period=3'"),
        ("3 parsec", "3 parsec", "not a number of days"),
        ("3 +/- 0.1", "3 +/- 0.1", "not a number of days"),
        ("true", True, "not a number of days"),
        ("nan", None, "not a number of days"),
        ("", "", "not a number of days"),
    ],
)
def test_metadata_of_the_wrong_type_are_reported(value, kept, said):
    found, warnings = comments.collect([f"# #orbital_period={value}"])
    assert found == {"orbital_period": kept} and len(warnings) == 1 and said in warnings[0]


@pytest.mark.parametrize(
    "line, count",
    [
        ("# orbital_period=3", 1),
        ("# #orbital_period: 3", 1),
        ("# #mass=1.1 Msun", 1),
        ("# #mass=1.1", 0),
        ("# #name=2MASS J1", 0),
        ("# #date=2026-01-01", 0),
        ("# #sampling_cadence=1 min", 1),
        ("# a comment = a comment", 0),
    ],
)
def test_lines_that_are_nearly_metadata_are_reported(line, count):
    assert len(comments.collect([line])[1]) == count


@pytest.mark.parametrize("name", [*comments.NUMBERS])
def test_every_metadata_that_must_be_a_number_is_one_or_is_reported(name):
    assert comments.collect([f"# #{name}=7,,"]) == ({name: 7}, [])
    for value in ("seven", "true", "null", "7 bananas"):
        assert comments.collect([f"# #{name}={value}"])[1], value


def test_a_flag_column_that_repeats_the_flux(tmp_path):
    lightcurve = read(tmp_path / "a.csv", "0,1.01,1.01\n1,0.99,0.99\n2,1,1\n")
    assert lightcurve.good.all() and lightcurve.warnings == (REPEATED,)


@pytest.mark.parametrize(
    "content, message, hint",
    [
        (b"SIMPLE  =                    T" + b" " * 3000, "is a FITS file, not CSV", "lc_type fits"),
        (gzip.compress(b"SIMPLE  =                    T" + b" " * 3000, mtime=0), "is a FITS file", "lc_type fits"),
        (b"# %ECSV 1.0\n# ---\n", "is an ECSV file", "lc_type ecsv"),
        (b"PK\x03\x04rest", "is a spreadsheet", "save the table as CSV"),
        (b"\x93NUMPY\x01", "is a numpy file", "save the table as CSV"),
        (b"a,b\n1,2\n", "line 1: the columns are a, b", "name a time"),
        (b"time,flux,flag\n1,234.5,1,0\n2,3,0\n", "line 2: has 4 columns, not 3", "three values"),
        (b"time,flux,flag\n1;2\n", "line 2: has 2 columns, not 3", "three values"),
        (b"time,flux,flag\n1,1,0\n2,x,0\n", "line 3: the flux 'x' is not a number", "three values"),
        (b"time,flux,flag\n1,1,0\n2,1,\n", "line 3: the flag '' is not a number", "three values"),
        (b"time,flux,flag\n1,1,0\n,1,0\n", "line 3: the time '' is not a number", "three values"),
    ],
)
def test_what_cannot_be_read_says_what_is_expected(tmp_path, content, message, hint):
    with pytest.raises(LightCurveError, match=message) as caught:
        read(tmp_path / "bad.csv", content)
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["bom", "excel_padded_comments", "empty_cell"])
def test_the_stored_cases(name):
    lightcurve = lcsg.read(DATA / f"{name}.csv")
    assert lightcurve.metadata == {"orbital_period": 3}
    assert np.count_nonzero(~lightcurve.good) == {"empty_cell": EMPTY}.get(name, 0)
    assert np.isfinite(lightcurve.fluxes[lightcurve.good]).all() and not lightcurve.warnings
