"""QC of light curves: catches each way in which one can be bad, and never raises."""

import gzip

import numpy as np
import pytest

from eas.lightcurves import files
from eas.lightcurves.lightcurve import LightCurve
from eas.tasks.lightcurves import check_lightcurve, check_metadata


def curve(n=100, cadence=600.0):
    return LightCurve(np.arange(n) * cadence / 86400, np.ones(n), uncertainties=np.full(n, 1e-4))


def failed(checks):
    return {each.name.removeprefix("lightcurve "): each.detail for each in checks if not each.passed}


def judge(path, lightcurve=None):
    if lightcurve is not None:
        files.write(path, lightcurve)
    return failed(check_lightcurve("lightcurve", path, cadence=600, samples=100))


def spoilt(column, index, value):
    lightcurve = curve()
    values = getattr(lightcurve, column).copy()
    values[index] = value
    return lightcurve.evolve(**{column: values})


def test_a_good_one_passes_and_says_what_was_seen(tmp_path):
    files.write(tmp_path / "a.gz", curve())
    checks = check_lightcurve("lightcurve", tmp_path / "a.gz", cadence=600, samples=100)
    assert not failed(checks)
    assert len(checks) == 8 and all(each.detail for each in checks)


@pytest.mark.parametrize(
    "lightcurve, name, detail",
    [
        (spoilt("fluxes", 7, np.nan), "is finite", "1 samples are not finite, the first is sample 7"),
        (spoilt("fluxes", 7, np.inf), "is finite", "sample 7"),
        (spoilt("times", 7, np.nan), "times increase", "sample 6"),
        (spoilt("uncertainties", 7, np.nan), "is finite", "sample 7"),
        (spoilt("uncertainties", 7, -1), "uncertainties", "sample 7"),
        (spoilt("times", 50, 0.0), "times increase", "sample 49"),
        (spoilt("times", 50, 50.5 / 144), "cadence", "deviate by up to 0.5"),
        (curve().evolve(flags=np.ones(100, np.int8)), "has good samples", "0 of 100"),
        (curve(cadence=300), "cadence", "300 s, expected 600 s"),
        (curve(cadence=601), "cadence", "601 s, expected 600 s"),
        (curve(n=99), "number of samples", "99, expected 100"),
        (curve(n=1), "cadence", "1 samples have none"),
    ],
)
def test_a_bad_one_fails(tmp_path, lightcurve, name, detail):
    assert detail in judge(tmp_path / "a.gz", lightcurve)[name]


def test_nan_in_a_bad_sample_is_no_fault(tmp_path):
    lightcurve = spoilt("fluxes", 7, np.nan).evolve(flags=(np.arange(100) == 7).astype(np.int8))
    assert not judge(tmp_path / "a.gz", lightcurve)


def test_no_file(tmp_path):
    assert judge(tmp_path / "a.gz") == {"exists": "was not written"}
    assert "no file name" in judge(None)["exists"]
    (tmp_path / "a.gz").touch()
    assert judge(tmp_path / "a.gz") == {"exists": "0 bytes"}


def test_garbage(tmp_path):
    path = tmp_path / "a.gz"
    for content in (b"garbage", gzip.compress(b""), gzip.compress(b"\x00\xff" * 99), gzip.compress(b"1 2 3\n")):
        path.write_bytes(content)
        assert list(judge(path)) == ["parses"]


def test_truncated(tmp_path):
    path = tmp_path / "a.gz"
    files.write(path, curve())
    path.write_bytes(path.read_bytes()[:-20])
    assert "truncated" in judge(path)["parses"]


def test_metadata():
    checks = check_metadata({"a": 1, "b": float("nan"), "c": None, "d": True, "e": "1"}, ["a", "b", "c", "d", "e", "f"])
    assert [each.passed for each in checks] == [True, False, False, False, False, False]
    assert not check_metadata(None, ["a"])[0].passed
