"""Light curves of the stitching group: read whole, or refused with the file's name and the line."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas.lightcurves import comments, files, lcsg
from eas.lightcurves.lightcurve import LightCurve, LightCurveError, same

TEXT = b"""# stitched by hand
# #orbital_period=3.5
# #star = KIC 1
# #quiet=true
time,flux,flag
0,1,0

0.5,0.99,0
# a gap
2,nan,0
2.5,1.01,4
"""


def test_reads_samples_flags_and_metadata(tmp_path):
    for name, content in (("a.csv", TEXT), ("a.csv.gz", gzip.compress(TEXT))):
        (tmp_path / name).write_bytes(content)
        lightcurve = lcsg.read(tmp_path / name)
        assert lightcurve.times.tolist() == [0, 0.5, 2, 2.5]
        assert lightcurve.flags.tolist() == [0, 0, 1, 1]
        assert lightcurve.fluxes[[0, 1, 3]].tolist() == [1, 0.99, 1.01] and np.isnan(lightcurve.fluxes[2])
        assert lightcurve.metadata == {"orbital_period": 3.5, "star": "KIC 1", "quiet": True}
        assert not lightcurve.uncertainties.any()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"0,1,0\n1,1\n", r"bad.csv, line 2: has 2 columns, not 3"),
        (b"# c\n\n0,1,0\n1,one,0\n", r"bad.csv, line 4: the flux 'one' is not a number"),
        (b"time,flux,flag\n0,1,0\ntime,flux,flag\n", r"line 3: the time 'time'"),
        (b"0,1,0\nnan,1,0\n", r"line 2: the time is nan"),
        (b"0,1,0\n2,1,0\n# c\n2,1,0\n", r"line 4: the time 2 does not come after 2"),
        (b"0,1,0\n1,1,\n", r"line 2: the flag '' is not a number"),
        (b"0,1,0\n1,\xff\xfe,0\n", r"bad.csv, line 2: is not text"),
        (b"", "holds no samples"),
        (b"time,flux,flag\n", "holds no samples"),
        (gzip.compress(TEXT)[:-9], "damaged gzip"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(LightCurveError, match=message) as caught:
        lcsg.read(path)
    assert caught.value.hint


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(LightCurveError, match="cannot be read"):
        lcsg.read(tmp_path)


@pytest.mark.parametrize(
    "line, pair",
    [
        ("# #a=1", ("a", 1)),
        ("##a = 1.5", ("a", 1.5)),
        ("# #two words=x=y", ("two words", "x=y")),
        ("# #a=nan", ("a", None)),
        ("# #a=False", ("a", False)),
        ("# #a=[1]", ("a", "[1]")),
        ('# #a="1"', ("a", "1")),
        ("# #a=", ("a", "")),
        ("# #a=1,,", ("a", 1)),
        ("# #a=1;;\r\n", ("a", 1)),
        ("# #a=word\t\t", ("a", "word")),
        ('# #a="1,,"', ("a", "1,,")),
        ("# a=1", None),
        ("# #=1", None),
        ("# #a", None),
    ],
)
def test_comments(line, pair):
    assert comments.parse(line) == pair


# Names that the system knows have a type and a spelling of their own: see test_lcsg_quirks.
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1).filter(
    lambda name: name.lower() not in comments.NUMBERS
)
VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(NAMES, VALUES | st.text()))
def test_metadata_come_back_from_comments(metadata):
    assert comments.parse_head(comments.to_lines(metadata) + b"0 1 0 0\n# #late=1\n")[0] == metadata


def test_light_curve_files_may_carry_metadata(tmp_path):
    lightcurve = LightCurve(np.arange(4.0), np.ones(4), metadata={"orbital_period": 3.5, "star": "K\u00e9pler"})
    files.write(tmp_path / "a.gz", lightcurve, with_metadata=True)
    back = files.read(tmp_path / "a.gz", {"orbital_period": 4})
    assert same(back, lightcurve) and back.metadata == {"orbital_period": 4, "star": "K\u00e9pler"}
