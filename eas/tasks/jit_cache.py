"""Compiles the searches ahead of time, at installation or in image builds: ``python -m eas.tasks.jit_cache``.

numba caches the compiled code next to the modules or, if they are read-only, in ``NUMBA_CACHE_DIR``, which must
then be set for this command and for the workers. Otherwise each worker would compile for a minute. Searches
whose packages are not installed are skipped.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from eas.lightcurves import files
from eas.lightcurves.lightcurve import LightCurve
from eas.model import InputProduct
from eas.tasks.base import Task, TaskContext

COMPILED = {
    "transit_search_tls": ("transitleastsquares", "transit_search_tls", "TransitSearchTLS"),
    "transit_search_qats": ("numba", "transit_search_qats", "TransitSearchQATS"),
    "transit_search_bls_kovacs": ("numba", "transit_search_bls_kovacs", "TransitSearchBLSKovacs"),
}
"""Task types whose code is compiled when it is first used: the package needed, module and class."""


def compile_search(task_type: str) -> float:
    """Run a task type on a small light curve; return how long that took [s]."""
    began = time.monotonic()
    task = _load(task_type)
    times = np.arange(2000) / 48
    uncertainties = np.full(len(times), 1e-4)
    noise = uncertainties * np.random.default_rng(1).standard_normal(len(times))
    fluxes = 1 - 1e-3 * (times % 5 < 0.15) + noise
    lightcurve = LightCurve(times, fluxes, uncertainties=uncertainties)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files.write(folder / "lightcurve.gz", lightcurve)
        context = TaskContext(
            task_type=task_type,
            settings={"search_settings": {"period_min": 4, "period_max": 6}},
            metadata={},
            inputs={"lightcurve": InputProduct("lightcurve.gz", folder / "lightcurve.gz")},
            outputs={},
            scratch=folder,
            input_directory=folder,
        )
        task.run(context)
    return time.monotonic() - began


def _load(task_type: str) -> Task:
    _, module, name = COMPILED[task_type]
    task = getattr(importlib.import_module(f"eas.tasks.{module}"), name)()
    assert isinstance(task, Task)
    return task


def main() -> int:
    """Compile all installed searches, and print the times."""
    logging.basicConfig(level=logging.WARNING)
    for task_type, (module, _, _) in COMPILED.items():
        if importlib.util.find_spec(module) is None:
            sys.stdout.write(f"{task_type}: {module} is not installed\n")
        else:
            sys.stdout.write(f"{task_type}: ready, {compile_search(task_type):.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
