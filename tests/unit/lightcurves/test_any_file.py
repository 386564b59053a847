"""Whatever a file holds, a reader returns a light curve or says what is wrong with it: never another error."""

import gzip

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eas.lightcurves import astropy_tables, files, lcsg
from eas.lightcurves.cleaning import clean
from eas.lightcurves.lightcurve import LightCurve, LightCurveError

NUMBERS = ["0", "1", "1.5", "-1", "1e308", "1e-308", "1e999", "nan", "inf", "1,5", "1_0", "0x1", "\u0663"]
WORDS = ["", " ", "x", "time", "flux", "flag", "True", "--", "[s]", "#", "# #a", "# #orbital_period=3 d"]
CELLS = st.sampled_from([*NUMBERS, *WORDS, '"', '""', "\ufeff", "\x00", "\u00e9"])
TEXTS = st.builds(
    lambda rows, separator, end: end.join(separator.join(row) for row in rows),
    st.lists(st.lists(CELLS, max_size=5), max_size=8),
    st.sampled_from([",", ";", "\t", " ", "|", " , "]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
READERS = [lcsg.read, files.read, astropy_tables.read_fits, astropy_tables.read_ecsv]
OFTEN = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_and_use(reader, path):
    """Read, write, read again and clean: each of these may say that the light curve cannot be used."""
    try:
        lightcurve = reader(path)
        assert isinstance(lightcurve, LightCurve) and len(lightcurve) and all(map(str, lightcurve.warnings))
        files.write(path, lightcurve, with_metadata=True)
        assert len(files.read(path)) == len(lightcurve)
        clean(lightcurve)
    except LightCurveError as error:
        assert error.what


@pytest.mark.parametrize("reader", READERS)
@OFTEN
@given(TEXTS)
@example("time,flux\n" + "\n".join(f"{n},{n + 1}" for n in range(20)))
@example("\n".join(f"{n},{1e-308 if n % 3 else 1e300},0" for n in range(30)))
@example("# #orbital_period=3\n0,1,0,,\n")
@example("0,1,0\n1,1e308,0\n2,1e-308,0\n3,1e308,0\n4,1,0\n")
def test_any_table(tmp_path, reader, text):
    path = tmp_path / "a"
    content = text.encode()
    path.write_bytes(gzip.compress(content) if reader is files.read else content)
    read_and_use(reader, path)


@pytest.mark.parametrize("reader", READERS)
@OFTEN
@given(st.binary(max_size=300), st.sampled_from([b"", b"SIMPLE  =", b"# %ECSV 1.0\n# ---\n", b"\xff\xfe", b"\x1f\x8b"]))
def test_any_bytes(tmp_path, reader, content, begin):
    path = tmp_path / "a"
    path.write_bytes(begin + content)
    read_and_use(reader, path)
