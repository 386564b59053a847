"""Times of the searches by span, cadence and threads, and their memory for two years of samples every 25 s.

``python -m benchmarks.search_speed``. Each search runs in a new process, on white noise with a planet, over the default
range of periods from 4 days. The measurement of memory uses a narrow range at the longest periods: memory depends on
the number of samples, and these periods have the longest transits.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import Result, peak_memory, run_in_subprocess
from benchmarks.queue_setup import report
from eas.lightcurves.lightcurve import LightCurve
from eas.tasks.base import Task, TaskContext

SEARCHES = ("tls", "bls_reference", "bls_kovacs", "qats")
THREADED = ("tls", "bls_kovacs", "qats")
LONG_SPAN, SHORT_CADENCE = 730.0, 25.0
"""Two years [days], and PLATO's shortest cadence [s]."""
WORKER_MEMORY = {"tls": 16, "bls_reference": 8, "bls_kovacs": 8}
"""Memory limits of the worker types [GB]."""


def light_curve(span: float, cadence: float) -> LightCurve:
    """Return white noise with a planet of period 7.3 days; ``span`` is in days, ``cadence`` in seconds."""
    times = np.arange(0, span, cadence / 86400)
    noise = 3e-4 * np.sqrt(600 / cadence)
    fluxes = 1 + noise * np.random.default_rng(1).standard_normal(len(times))
    fluxes[times % 7.3 < 0.15] -= 1e-3
    return LightCurve(times, fluxes, uncertainties=np.full(len(times), noise))


def _task(kind: str) -> Task:
    if kind == "tls":
        from eas.tasks.transit_search_tls import TransitSearchTLS as Search
    elif kind == "bls_reference":
        from eas.tasks.transit_search_bls_reference import TransitSearchBLSReference as Search  # type: ignore[assignment]
    elif kind == "bls_kovacs":
        from eas.tasks.transit_search_bls_kovacs import TransitSearchBLSKovacs as Search  # type: ignore[assignment]
    else:
        from eas.tasks.transit_search_qats import TransitSearchQATS as Search  # type: ignore[assignment]
    return Search()


def _context(folder: Path, curve: LightCurve, threads: int, settings: dict[str, float]) -> TaskContext:
    from eas.lightcurves import files
    from eas.model import InputProduct

    files.write(folder / "curve.gz", curve)
    return TaskContext(
        task_type="benchmark",
        settings={"search_settings": settings},
        metadata={},
        inputs={"lightcurve": InputProduct("curve.gz", folder / "curve.gz", {})},
        outputs={},
        scratch=folder,
        input_directory=folder,
        threads=threads,
    )


def search(kind: str, span: float, cadence: float, threads: int, narrow: bool) -> dict[str, float]:
    """Run a search in this process; return seconds, CPU seconds and memory [MB].

    Unless ``narrow``, a short search compiles the code first.
    """
    task = _task(kind)
    settings = {"period_min": span / 2 * 0.98, "period_max": span / 2} if narrow else {"period_min": 4.0}
    with tempfile.TemporaryDirectory() as folder:
        if not narrow:
            task.run(_context(Path(folder), light_curve(30, 1800), threads, {"period_min": 12.0}))
        context = _context(Path(folder), light_curve(span, cadence), threads, settings)
        before, wall, cpu = peak_memory(), time.monotonic(), time.process_time()
        found = task.run(context)
        return {
            "seconds": time.monotonic() - wall,
            "cpu": time.process_time() - cpu,
            "memory": peak_memory(),
            "before": before,
            "period": float(found["period"] or 0),
        }


def _measured(kind: str, span: float, cadence: float, threads: int, narrow: bool = False) -> dict[str, float]:
    given = [kind, str(span), str(cadence), str(threads), str(int(narrow))]
    return run_in_subprocess("benchmarks.search_speed", *given)


def rows() -> list[tuple[object, ...]]:
    """Return search, span [days], cadence [s], threads, seconds, CPU seconds and memory [MB] of each measurement."""
    found: list[tuple[object, ...]] = []
    for kind in SEARCHES:
        for span, cadence, threads in ((30, 600, 1), (60, 600, 1), (60, 1800, 1), (60, 600, 2)):
            if threads == 1 or kind in THREADED:
                got = _measured(kind, span, cadence, threads)
                figures = [round(got[name], 2) for name in ("seconds", "cpu")]
                found.append((kind, span, cadence, threads, *figures, round(got["memory"])))
    return found


def run() -> list[Result]:
    """Measure the gain of a second thread, and the memory of long light curves."""
    found: list[Result] = []
    for kind in THREADED:
        one, two = (_measured(kind, 60, 600, threads)["seconds"] for threads in (1, 2))
        found.append(Result(f"{kind}, 60 days every 600 s: 2 threads against 1", two, one, "s", ""))
    for kind, most in WORKER_MEMORY.items():
        memory = _measured(kind, LONG_SPAN, SHORT_CADENCE, 2, narrow=True)["memory"] / 1000
        found.append(
            Result(f"{kind}, 730 days every 25 s: memory", memory, float(most), "GB", "below its worker type's")
        )
    return found


def main() -> None:
    """Measure all searches and print a table; with arguments, measure one search and print JSON."""
    if len(sys.argv) > 1:
        kind, span, cadence, threads, narrow = sys.argv[1:]
        print(json.dumps(search(kind, float(span), float(cadence), int(threads), narrow == "1")))
        return
    headings = ["search", "span [days]", "cadence [s]", "threads", "wall [s]", "CPU [s]", "memory [MB]"]
    report("search_speed", headings, rows())


if __name__ == "__main__":
    main()
