"""Light curves in FITS and ECSV files."""

import sys

import numpy as np
import pytest

pytest.importorskip("astropy", reason="astropy is not installed: pip install 'eas-prefect[fits]'")

from astropy import units
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from eas.lightcurves import astropy_tables, files
from eas.lightcurves.flags import REPEATED
from eas.lightcurves.lightcurve import LightCurveError

TIMES = np.array([1325.0, 1325.1, 1325.2, 1325.3, 1325.4])
FLUXES = np.array([1000.0, 1001, 999, 1000, 990])


def columns(**changes):
    found = {
        "TIME": fits.Column("TIME", "D", array=TIMES, unit="BJD - 2457000, days"),
        "SAP_FLUX": fits.Column("SAP_FLUX", "E", array=FLUXES * 2, unit="e-/s"),
        "SAP_FLUX_ERR": fits.Column("SAP_FLUX_ERR", "E", array=np.full(5, 2.0), unit="e-/s"),
        "PDCSAP_FLUX": fits.Column("PDCSAP_FLUX", "E", array=FLUXES, unit="e-/s"),
        "PDCSAP_FLUX_ERR": fits.Column("PDCSAP_FLUX_ERR", "E", array=np.array([1, 1, np.nan, 1, 1]), unit="e-/s"),
        "QUALITY": fits.Column("QUALITY", "J", array=np.array([0, 0, 0, 0, 8])),
    }
    return [each for each in {**found, **changes}.values() if each is not None]


def write(path, table_columns, **keywords):
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = "TIC 1"
    primary.header["TEFF"] = 5772.0
    primary.header["TICID"] = 1
    table = fits.BinTableHDU.from_columns(table_columns, name="LIGHTCURVE")
    for name, value in keywords.items():
        table.header[name] = value
    mask = fits.ImageHDU(np.zeros((3, 3), np.int32), name="APERTURE")
    fits.HDUList([primary, table, mask]).writeto(path)
    return path


def test_a_light_curve_as_tess_publishes_it(tmp_path):
    lightcurve = astropy_tables.read_fits(write(tmp_path / "a.fits", columns(), SECTOR=2))
    assert lightcurve.times.tolist() == TIMES.tolist()
    assert lightcurve.fluxes == pytest.approx(FLUXES / 1000)
    assert lightcurve.uncertainties == pytest.approx([1e-3, 1e-3, 0, 1e-3, 1e-3])
    assert lightcurve.flags.tolist() == [0, 0, 0, 0, 1]
    assert lightcurve.metadata == {
        "object": "TIC 1",
        "teff": 5772.0,
        "ticid": 1,
        "sector": 2,
        "flux_divided_by": 1000.0,
    }
    assert lightcurve.warnings == ("the fluxes are divided by their median, 1000",)
    files.write(tmp_path / "a.gz", lightcurve, with_metadata=True)
    assert files.read(tmp_path / "a.gz").metadata == lightcurve.metadata


def test_compressed_files_and_the_period_in_a_header(tmp_path):
    path = write(tmp_path / "a.fits.gz", columns(), **{"HIERARCH ORBITAL_PERIOD": 3.5})
    assert astropy_tables.read_fits(path).metadata["orbital_period"] == 3.5
    path = write(tmp_path / "b.fits", columns(), **{"HIERARCH ORBITAL_PERIOD": "3.5 d"})
    lightcurve = astropy_tables.read_fits(path)
    assert lightcurve.metadata["orbital_period"] == 3.5
    assert "orbital_period is '3.5 d': read as 3.5 days" in lightcurve.warnings


def test_samples_without_time_or_flux(tmp_path):
    times = fits.Column("TIME", "D", array=np.where(np.arange(5) == 1, np.nan, TIMES), unit="d")
    fluxes = fits.Column("PDCSAP_FLUX", "E", array=np.where(np.arange(5) == 2, np.nan, FLUXES))
    lightcurve = astropy_tables.read_fits(write(tmp_path / "a.fits", columns(TIME=times, PDCSAP_FLUX=fluxes)))
    assert lightcurve.flags.tolist() == [0, 1, 0, 1]
    assert "1 samples without a time are left out" in lightcurve.warnings


def test_a_plain_table_in_seconds_without_flags(tmp_path):
    plain = [
        fits.Column("time", "D", array=TIMES * 86400, unit="s"),
        fits.Column("flux", "D", array=FLUXES / 1000),
        fits.Column("flux_err", "D", array=np.full(5, 1e-3)),
    ]
    lightcurve = astropy_tables.read_fits(write(tmp_path / "a.fits", plain))
    assert lightcurve.times == pytest.approx(TIMES)
    assert lightcurve.fluxes.tolist() == (FLUXES / 1000).tolist() and (lightcurve.uncertainties == 1e-3).all()
    assert lightcurve.warnings == (
        "the times are in seconds and are converted to days",
        "there is no column of flags: all samples are read as good",
    )


def test_a_flag_column_that_repeats_the_flux(tmp_path):
    path = write(tmp_path / "a.fits", columns(QUALITY=fits.Column("QUALITY", "E", array=FLUXES)))
    lightcurve = astropy_tables.read_fits(path)
    assert lightcurve.good.all() and REPEATED in lightcurve.warnings


def test_ecsv_with_masked_values_units_and_meta(tmp_path):
    table = Table(
        {
            "time": TIMES * units.day,
            "flux": MaskedColumn(FLUXES / 1000, mask=[0, 0, 1, 0, 0]),
            "flag": [0, 0, 0, 1, 0],
        },
        meta={"orbital_period": 3, "star": {"mass": 1}, "name": "KIC 1"},
    )
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    lightcurve = astropy_tables.read_ecsv(tmp_path / "a.ecsv")
    assert lightcurve.times.tolist() == TIMES.tolist() and lightcurve.flags.tolist() == [0, 0, 1, 1, 0]
    assert lightcurve.metadata == {"orbital_period": 3, "name": "KIC 1"} and not lightcurve.warnings


def test_ecsv_with_times_of_astropy(tmp_path):
    table = Table({"time": Time(TIMES + 2457000, format="jd"), "flux": FLUXES / 1000, "quality": np.zeros(5, int)})
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    lightcurve = astropy_tables.read_ecsv(tmp_path / "a.ecsv")
    assert lightcurve.times == pytest.approx(TIMES + 2457000) and lightcurve.good.all()


def broken_files():
    unsorted = fits.Column("TIME", "D", array=TIMES[::-1])
    texts = fits.Column("PDCSAP_FLUX", "5A", array=np.array(["a", "b", "c", "d", "e"]))
    many = fits.Column("PDCSAP_FLUX", "2E", array=np.ones((5, 2)))
    none = [fits.Column("X", "D", array=TIMES)]
    return [
        (lambda path: write(path, columns(TIME=unsorted)), "does not come after", "sort"),
        (lambda path: write(path, columns(PDCSAP_FLUX=texts)), "column of the flux does not hold numbers", "give"),
        (lambda path: write(path, columns(PDCSAP_FLUX=many)), "not one light curve", "one number in each row"),
        (lambda path: write(path, none), r"no table has a time and a flux among its columns \(X\)", "name a time"),
        (lambda path: write(path, columns()).write_bytes(path.read_bytes()[:5800]), "cannot be read as FITS", "check"),
        (lambda path: path.write_text("0,1,0\n"), "cannot be read as FITS", "check that the file is FITS"),
        (lambda path: path.write_bytes(b""), "cannot be read as FITS", "check"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_bad_file_is_named_with_what_is_expected(tmp_path, number):
    make, message, hint = broken_files()[number]
    make(tmp_path / "bad.fits")
    with pytest.raises(LightCurveError, match=message) as caught:
        astropy_tables.read_fits(tmp_path / "bad.fits")
    assert "bad.fits" in caught.value.what and hint in caught.value.hint


@pytest.mark.parametrize(
    "content", ["0,1,0\n", "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: x, datatype: int64}\nx\n1\n"]
)
def test_a_bad_ecsv_file(tmp_path, content):
    (tmp_path / "bad.ecsv").write_text(content)
    with pytest.raises(LightCurveError, match=r"bad\.ecsv") as caught:
        astropy_tables.read_ecsv(tmp_path / "bad.ecsv")
    assert caught.value.hint


def test_without_astropy_the_hint_says_how_to_get_it(tmp_path, monkeypatch):
    path = write(tmp_path / "a.fits", columns())
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    monkeypatch.setitem(sys.modules, "astropy.table", None)
    for read in (astropy_tables.read_fits, astropy_tables.read_ecsv):
        with pytest.raises(LightCurveError, match="astropy, which is not installed") as caught:
            read(path)
        assert "eas-prefect[fits]" in caught.value.hint


def test_a_name_with_a_line_break_is_no_line_of_the_light_curve_file(tmp_path):
    table = Table({"time": TIMES, "flux": FLUXES / 1000, "flag": np.zeros(5, int)}, meta={"LINES": 1, "b": 2})
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    text = (tmp_path / "a.ecsv").read_text()
    assert "LINES" in text
    (tmp_path / "a.ecsv").write_text(text.replace("LINES", '"a\\n7 7 0 0\\n#"'))
    lightcurve = astropy_tables.read_ecsv(tmp_path / "a.ecsv")
    assert lightcurve.metadata == {"b": 2}
    files.write(tmp_path / "a.gz", lightcurve, with_metadata=True)
    assert len(files.read(tmp_path / "a.gz")) == 5
