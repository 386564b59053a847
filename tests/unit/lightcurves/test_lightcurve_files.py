"""Light curve files: exact, deterministic, and clear about what is wrong with a bad one."""

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eas.lightcurves import files
from eas.lightcurves.flags import REPEATED
from eas.lightcurves.lightcurve import LightCurve, LightCurveError, same

ANY_FLOAT = st.floats(width=64)
ROUND_TRIP = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def columns(draw):
    n = draw(st.integers(1, 20))
    seconds = draw(hnp.arrays(np.float64, n, elements=st.floats(-1e12, 1e12)))
    fluxes = draw(hnp.arrays(np.float64, n, elements=ANY_FLOAT))
    flags = draw(hnp.arrays(np.int8, n, elements=st.integers(0, 1)))
    one = draw(st.booleans())
    uncertainties = np.full(n, draw(ANY_FLOAT)) if one else draw(hnp.arrays(np.float64, n, elements=ANY_FLOAT))
    return seconds, fluxes, flags, uncertainties


@ROUND_TRIP
@given(columns())
def test_round_trip_is_exact(tmp_path, table):
    seconds, fluxes, flags, uncertainties = table
    lightcurve = LightCurve(seconds / 86400, fluxes, flags, uncertainties)
    path, again = tmp_path / "a.gz", tmp_path / "b.gz"
    files.write(path, lightcurve)
    back = files.read(path, {"mes": 7.1})
    assert same(back, lightcurve)
    assert back.metadata == {"mes": 7.1}
    files.write(again, back)
    assert again.read_bytes() == path.read_bytes()


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.float64, 5, elements=st.floats(-1e6, 1e6)))
def test_any_time_comes_back_to_its_last_bit(days):
    back = files.seconds(days) / 86400
    assert (np.abs(back - days) <= np.spacing(np.abs(days))).all()


def test_many_blocks_round_trip(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROWS_PER_BLOCK", 7)
    rng = np.random.default_rng(1)
    lightcurve = LightCurve(np.arange(50) * 25.0 / 86400, rng.normal(size=50), rng.integers(0, 2, 50), rng.random(50))
    files.write(tmp_path / "a.gz", lightcurve)
    assert same(files.read(tmp_path / "a.gz"), lightcurve)


def test_the_file_has_four_columns_time_in_seconds_and_flags_third(tmp_path):
    path = tmp_path / "a.gz"
    files.write(path, LightCurve(np.array([0, 0.5]), np.array([1.0, 0.99]), np.array([0, 1]), np.array([1e-5, 2e-5])))
    assert gzip.decompress(path.read_bytes()) == b"0.0 1.0 0 1e-05\n43200.0 0.99 1 2e-05\n"


def test_bytes_do_not_depend_on_name_or_clock(tmp_path, monkeypatch):
    lightcurve = LightCurve(np.arange(5.0), np.ones(5))
    files.write(tmp_path / "one.gz", lightcurve)
    monkeypatch.setattr("time.time", lambda: 1e9)
    files.write(tmp_path / "other.gz", lightcurve)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "other.gz").read_bytes()


def test_comments_and_blank_lines_are_skipped(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"# time flux\r\n\n0 1 0 0\r\n25 1.5 1 0.1 # a flare\n"))
    back = files.read(path)
    assert back.fluxes.tolist() == [1, 1.5]
    assert back.flags.tolist() == [0, 1]
    assert back.cadence == pytest.approx(25)


LINE = b"25 1 0 0\n"


@pytest.mark.parametrize(
    "content, message",
    [
        (LINE + b"50 1 0\n", "line 2: has 3 columns, not 4"),
        (b"50 1 0\n25 1 0\n", "line 1: has 3 columns, not 4"),
        (LINE + b"50 1 0\n1 2 3 4 5\n", "line 2: has 3 columns"),
        (b"# c\n\n" + LINE + b"50 one 0 0\n", "line 4: the flux 'one' is not a number"),
        (LINE + b"50 1 2 0\n", "line 2: the flag is 2"),
        (LINE + b"50 1 nan 0\n", "line 2: the flag is nan"),
        (LINE + b"50 1 \xff 0\n", "line 2: the flag '.' is not a number"),
        (b"", "holds no samples"),
        (b"# only a comment\n", "holds no samples"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    path = tmp_path / "bad.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(LightCurveError, match=message) as caught:
        files.read(path)
    assert "bad.gz" in caught.value.what


@pytest.mark.parametrize(
    "content",
    [
        b"0 1.001 1.001 0\n25 0.999 0.999 0\n50 1.0 1.0 0\n",
        b"# flat\n0 1.0 1.0 0\n25 1.0 1.0 0\n",
        b"0 nan nan 0\n25 0.999 0.999 0\n",
    ],
)
def test_a_flag_column_that_repeats_the_flux_is_all_good_with_a_warning(tmp_path, content):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(content))
    back = files.read(path)
    assert back.good.all() and back.warnings == (REPEATED,)
    files.write(path, back)
    assert not files.read(path).warnings


def test_flags_of_our_own_files_are_flags_though_they_equal_the_flux(tmp_path):
    path = tmp_path / "a.gz"
    files.write(path, LightCurve(np.arange(5.0), np.ones(5), np.ones(5, np.int8)))
    back = files.read(path)
    assert not back.good.any() and not back.warnings


def test_metadata_in_comments_have_their_type(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"# #orbital_period=72 h\n# #t0=soon\n" + LINE))
    back = files.read(path)
    assert back.metadata == {"orbital_period": 3, "t0": "soon"}
    assert back.warnings[0] == "orbital_period is '72 h': read as 3 days"
    assert "t0 is 'soon', not a number of days" in back.warnings[1]


def test_a_file_that_is_not_there_or_not_gzip(tmp_path):
    path = tmp_path / "a.gz"
    with pytest.raises(LightCurveError, match="no such light curve file"):
        files.read(path)
    path.write_bytes(LINE)
    with pytest.raises(LightCurveError, match="not a gzip file"):
        files.read(path)
    with pytest.raises(LightCurveError, match="cannot be read"):
        files.read(tmp_path)


@pytest.mark.parametrize("cut", [3, 12, 40, -1, -5])
def test_a_truncated_or_damaged_file(tmp_path, cut):
    path = tmp_path / "a.gz"
    files.write(path, LightCurve(np.arange(100.0), np.linspace(0, 1, 100)))
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with pytest.raises(LightCurveError, match=r"truncated|damaged"):
        files.read(path)
    path.write_bytes(whole[:60] + b"\x00\x55\xaa" + whole[63:])
    with pytest.raises(LightCurveError):
        files.read(path)


def test_an_empty_file_is_no_light_curve(tmp_path):
    path = tmp_path / "a.gz"
    path.touch()
    with pytest.raises(LightCurveError, match="holds no samples"):
        files.read(path)
