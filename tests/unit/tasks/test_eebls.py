"""Our box least squares equals Kovacs' Fortran routine, and no input ends or hangs the process.

``eebls_reference.json`` holds what ``eebls`` of pyeebls 0.2.0 returns for the cases in it; with that package
installed (``pip install --no-deps pyeebls==0.2.0``), the same cases are run through it again.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from eas.lightcurves.cleaning import clean
from eas.lightcurves.lightcurve import LightCurve
from eas.tasks import jit_cache
from eas.tasks.eebls import FoldedSearch
from eas.tasks.search import Search
from eas.tasks.transit_search_bls_kovacs import make_grid, search_grid

REFERENCE = json.loads(Path(__file__).with_name("eebls_reference.json").read_text(encoding="utf-8"))
EVERY = 20
"""The file holds each twentieth value of a spectrum."""
NAMES = ("period", "power", "depth", "share", "first_bin", "last_bin")


def synthetic(seed, span, n, period, depth, q, phase, noise, gaps):
    rng = np.random.default_rng(seed)
    times = np.linspace(0, span, n)
    if gaps == "random":
        times = np.sort(rng.uniform(0, span, n))
    if gaps == "hole":
        times = times[(times < span * 0.4) | (times > span * 0.6)]
    fluxes = 1 + noise * rng.standard_normal(len(times))
    fluxes[((times - times[0]) / period - phase) % 1 < q] -= depth
    return times, fluxes


def identity(case):
    return f"{case['case']['seed']}-{case['bins']}-{case['case']['gaps'] or 'regular'}"


def ours(case, threads=1):
    times, fluxes = synthetic(**case["case"])
    search = FoldedSearch(times, fluxes, case["bins"], qmin=case["qmin"], qmax=case["qmax"], threads=threads)
    spectrum = search.spectrum(case["lowest"], case["step"], case["count"])
    # Of equal powers the routine takes the last.
    best = len(spectrum) - 1 - int(np.argmax(spectrum[::-1]))
    return spectrum, search.box(case["lowest"] + case["step"] * best)


@pytest.mark.parametrize("case", REFERENCE, ids=identity)
def test_spectrum_and_best_box_are_those_of_the_published_routine(case):
    spectrum, box = ours(case)
    np.testing.assert_allclose(spectrum[::EVERY], case["spectrum"], rtol=1e-10, atol=1e-14)
    assert [getattr(box, name) for name in NAMES] == pytest.approx([case[name] for name in NAMES], rel=1e-10)


@pytest.mark.parametrize("case", REFERENCE[::4], ids=identity)
def test_the_result_does_not_depend_on_the_number_of_threads(case):
    (one, box), (three, other) = ours(case, threads=1), ours(case, threads=3)
    assert (one == three).all()
    assert box == other


def test_the_reference_is_what_the_routine_returns():
    reason = "pyeebls is not installed: pip install --no-deps pyeebls==0.2.0"
    eebls = pytest.importorskip("pyeebls", reason=reason).eebls
    for case in REFERENCE:
        times, fluxes = synthetic(**case["case"])
        work = np.empty((2, len(times)))
        arguments = (case["count"], case["lowest"], case["step"], case["bins"], case["qmin"], case["qmax"])
        spectrum, *found = eebls(times, fluxes, *work, *arguments)
        np.testing.assert_allclose(ours(case)[0], spectrum, rtol=1e-10, atol=1e-14)
        assert [float(each) for each in found] == pytest.approx([case[name] for name in NAMES], rel=1e-12)


def curve(times):
    rng = np.random.default_rng(len(times))
    return LightCurve(times, 1 + 1e-3 * rng.standard_normal(len(times)))


@pytest.mark.parametrize("seed", range(20))
def test_random_times_and_spans_give_finite_results(seed):
    rng = np.random.default_rng(seed)
    lightcurve = curve(np.sort(rng.uniform(0, 10 ** rng.uniform(0, 4), 200)))
    span = lightcurve.times[-1] - lightcurve.times[0]
    for longest in (span, span / 2):
        grid = make_grid(Search(clean(lightcurve), span / 5, longest), 0.05, 0.2)
        assert grid.lowest >= 1 / span
        spectrum, found = search_grid(lightcurve.times, lightcurve.fluxes, grid)
        assert np.isfinite(spectrum).all()
        assert found is None or np.isfinite(found.depth)


def test_all_samples_within_one_trial_transit():
    times = np.concatenate([np.arange(10) / 1000 + day for day in range(0, 50, 10)])
    lightcurve = curve(times)
    grid = make_grid(Search(clean(lightcurve), 9.9, 20.1), 0.05, 0.2)
    spectrum, found = search_grid(lightcurve.times, lightcurve.fluxes, grid)
    assert np.isfinite(spectrum).all()
    assert found is None or np.isfinite(found.power)


def test_a_box_as_wide_as_the_period_counts_only_where_samples_lie_outside():
    search = FoldedSearch(np.arange(50.0), np.ones(50), 10, qmin=0.9, qmax=0.999)
    assert np.isfinite(search.spectrum(0.05, 0.01, 20)).all()


def test_compiling_runs_what_is_compiled():
    assert all(jit_cache.compile_search(task_type) > 0 for task_type in jit_cache.COMPILED)
