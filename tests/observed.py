"""A finished job with light curves, a failed task and texts that try to be more than text, to look at in tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eas.taskdb import tables
from tests.integration.harness import System

HOSTILE = "<script>alert(1)</script> **[x](javascript:alert(2))** \x1b[31mred \u202edrow\u2069 \" ' & {{7*7}}"
"""HTML, Markdown, an escape sequence, marks of direction, a template."""

SPECS = {"duration": 20, "orbital_period": 3, "sampling_cadence": 600, "planet_radius": 0.5, "noise": 1e-5, "t0": 1}
CHAIN: dict[str, Any] = {
    "job_name": "observed",
    "working_directory": "wd",
    "task_list": [
        {
            "task": "execution_for_loop", "name": "sweep", "parameter": "size", "values": [0.1, 0.2],
            "task_list": [
                {"task": "synthesis_batman", "name": "synthesis", "specs": SPECS,
                 "outputs": {"lightcurve": "'curve_{size_index}.lc'.format(**metadata)"}},
                {"task": "verify", "name": "check",
                 "inputs": {"lightcurve": "'curve_{size_index}.lc'.format(**metadata)"}},
                {"task": "multiply", "name": "product",
                 "outputs": {"lightcurve": "'p_{size_index}.lc'.format(**metadata)"},
                 "inputs": {"lightcurve_1": "'curve_{size_index}.lc'.format(**metadata)",
                            "lightcurve_2": "'curve_{size_index}.lc'.format(**metadata)"}},
            ],
        },
        {"task": "error", "name": "broken", "inputs": {"lightcurve": "curve_0.lc"}, "outputs": {"lightcurve": "no.lc"}},
        {"task": "verify", "name": "never", "inputs": {"lightcurve": "no.lc"}},
    ],
}  # fmt: skip


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose job 1 is over, and whose job 2 is submitted, not driven, with hostile names."""
    folder = tmp_path_factory.mktemp("observed")
    before = {name: os.environ.pop(name, None) for name in ("EAS_DATABASE_URL", "EAS_DATA_DIR", "EAS_QUEUE_URL")}
    system = System(folder)
    try:
        system.run(CHAIN)
        system.submit({"job_name": "waits", "task_list": [{"task": "null", "name": "later", "duration": 0}]})
        yield system
    finally:
        system.app.close()
        os.environ.update({name: value for name, value in before.items() if value is not None})


def task_id(system: System, name: str, index: int = 0) -> int:
    """Return the id of a task of job 1 by its name."""
    table = tables.tasks
    rows = system.rows(table.select().where(table.c.job_id == 1, table.c.name == name).order_by(table.c.id))
    return int(rows[index].id)


def home(system: System) -> Path:
    """Return the folder that ``EAS_HOME`` names."""
    return system.app.settings.home
