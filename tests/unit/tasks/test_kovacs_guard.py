"""Kovacs' routine ends the process for some arguments: they never reach it, and a worker would survive."""

import numpy as np
import pytest

from eas.lightcurves.lightcurve import LightCurve
from eas.tasks import warm
from eas.tasks.search import Search
from eas.tasks.transit_search_bls_kovacs import BINS, make_grid, search_grid
from eas.worker.executor import Executor
from eas.worker.protocol import Work

STOPPING = """
import numpy as np
from pyeebls import eebls
from eas.tasks.base import Task

class Stops(Task):
    def run(self, context):
        times = np.arange(100.0)
        eebls(times, np.ones(100), np.empty(100), np.empty(100), 10, 0.001, 0.01, 200, 0.05, 0.2)
        return {}
"""


def curve(times):
    rng = np.random.default_rng(len(times))
    return LightCurve(times, 1 + 1e-3 * rng.standard_normal(len(times)))


@pytest.mark.parametrize("seed", range(20))
def test_the_lowest_frequency_is_never_below_the_reciprocal_of_the_span(seed):
    rng = np.random.default_rng(seed)
    lightcurve = curve(np.sort(rng.uniform(0, 10 ** rng.uniform(0, 4), 200)))
    span = lightcurve.times[-1] - lightcurve.times[0]
    for longest in (span, span / 2):
        grid = make_grid(Search(lightcurve, span / 5, longest), {})
        assert grid.lowest >= 1 / span
        assert BINS + int(grid.qmax * BINS) + 1 <= 3000
        spectrum, found = search_grid(lightcurve.times, lightcurve.fluxes, grid)
        assert np.isfinite(spectrum).all()
        assert found is None or np.isfinite(found.depth)


def test_all_samples_within_one_trial_transit():
    times = np.concatenate([np.arange(10) / 1000 + day for day in range(0, 50, 10)])
    lightcurve = curve(times)
    grid = make_grid(Search(lightcurve, 9.9, 20.1), {})
    spectrum, found = search_grid(lightcurve.times, lightcurve.fluxes, grid)
    assert np.isfinite(spectrum).all() and (found is None or np.isfinite(found.power))


def test_a_stop_fails_the_attempt_and_not_the_worker(tmp_path):
    (tmp_path / "stopping.py").write_text(STOPPING)
    with Executor(threads=1, memory_limit=None, input_directory=tmp_path, python_path=[tmp_path]) as executor:
        stopped = executor.run(Work(1, "stops", "stopping:Stops", tmp_path / "scratch"))
        assert (not stopped.passed and "ended" in stopped.reason.lower()) or "exit" in stopped.reason.lower()
        after = executor.run(Work(2, "null", "eas.tasks.trivial:Null", tmp_path / "scratch", {"duration": 0}))
        assert after.passed


def test_warming_runs_what_is_compiled():
    assert all(warm.warm(task_type) > 0 for task_type in warm.COMPILED)
