"""Two real light curves, from the examples in the source distribution of ellc 1.8.15 on PyPI (Maxted 2016).

They are downloaded by pip for the test and are no part of this repository. Nothing on PyPI carries
the whole light curve of a star with a transiting planet; these are the nearest: a star of low mass
that transits a Sun-like one every fortnight, 2.5% deep, seen from the ground by SuperWASP over four
seasons; and an eclipsing binary in the Pleiades seen by K2, whose two eclipses are of unlike depth.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.science_recovery import METHODS, Method, search
from eas.lightcurves.lightcurve import LightCurve

PACKAGE = "ellc==1.8.15"
TLS, BLS, KOVACS, QATS = METHODS
J0113_PERIOD = 14.2769
"""Gomez Maqueo Chew et al. (2014, A&A 572, A50) [days]."""
HD23642_PERIOD = 2.46113
"""Southworth, Maxted and Smalley (2005, A&A 429, 645) [days]."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's examples, unpacked."""
    folder = tmp_path_factory.mktemp("ellc")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "ellc", PACKAGE]
    subprocess.run([*command, "--dest", str(folder)], check=True, timeout=200)
    (archive,) = folder.glob("ellc-*.tar.gz")
    wanted = ("J0113+31/table5.dat", "ellc_emcee/HD23642.dat")
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.name.endswith(wanted):
                opened.extract(member, folder, filter="data")
    return next(folder.glob("ellc-*/examples"))


def from_magnitudes(times: Any, magnitudes: Any, errors: Any, period: float) -> LightCurve:
    order = np.argsort(times)
    order = order[np.r_[True, np.diff(times[order]) > 1e-6]]
    fluxes = 10 ** (-0.4 * magnitudes[order])
    return LightCurve(
        times[order] - times.min(), fluxes, uncertainties=errors[order], metadata={"orbital_period": period}
    )


@pytest.mark.parametrize(
    "method, settings",
    [
        (TLS, {}),
        # The longest of BLS' boxes, 0.2 days, is shorter than this transit; its grid is the densest.
        (BLS, {"period_min": 13.9, "period_max": 14.7}),
        (QATS, {"duration_min": 0.15, "duration_max": 0.3, "duration_count": 4}),
    ],
    ids=lambda each: getattr(each, "task_type", ""),
)
def test_a_transiting_star_of_low_mass(examples: Path, method: Method, settings: dict[str, float]) -> None:
    times, magnitudes, errors = np.loadtxt(examples / "J0113+31" / "table5.dat", usecols=(0, 1, 2), unpack=True)
    lightcurve = from_magnitudes(times, magnitudes, errors, J0113_PERIOD)
    found = search(method, lightcurve, {"period_min": 13.5, "period_max": 15.2, **settings})
    assert found["outcome"] == "PASS"
    assert found["period"] == pytest.approx(J0113_PERIOD, rel=2e-4)
    assert 0.02 < found["depth"] < 0.03  # type: ignore[operator]
    assert method.significance(found) > method.threshold


@pytest.mark.parametrize("method", METHODS, ids=lambda each: each.task_type)
def test_an_eclipsing_binary(examples: Path, method: Method) -> None:
    times, magnitudes, errors = np.loadtxt(examples / "ellc_emcee" / "HD23642.dat", usecols=(0, 1, 2), unpack=True)
    lightcurve = from_magnitudes(times, magnitudes, errors, HD23642_PERIOD)
    found = search(method, lightcurve, {"period_min": 1.8, "period_max": 8})
    assert found["outcome"] == "PASS"
    assert found["period"] == pytest.approx(HD23642_PERIOD, rel=1e-3)
    assert method.significance(found) > method.threshold
