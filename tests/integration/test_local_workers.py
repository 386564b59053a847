"""Local workers that keep dying: whoever waits for them must be told."""

from __future__ import annotations

import os
import time

import pytest

from eas.control import local_workers as module
from eas.control.local_workers import LocalWorkers
from eas.errors import EASError
from tests.integration.harness import PATIENCE, System


def local(system: System, **environment: str) -> LocalWorkers:
    return LocalWorkers(
        1,
        ["eas-base"],
        database=system.app.database,
        queue=system.app.queue,
        environment=dict(os.environ) | system.app.settings.environment() | environment,
        log_file=system.app.settings.home / "workers.log",
    )


def test_when_all_have_died_too_often_check_says_so(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESTARTS", 1)
    with local(system, EAS_LEASE="nonsense") as workers:
        workers.check()
        deadline = time.monotonic() + PATIENCE
        while workers.processes:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(EASError, match=r"(?s)died 2 times.*workers\.log says why"):
            while time.monotonic() < deadline:
                workers.check()
                time.sleep(0.02)
    assert "bad setting" in (system.app.settings.home / "workers.log").read_text()
    workers.check()  # those that are stopped are no trouble


def test_none_at_all_are_no_trouble(system: System) -> None:
    workers = local(system)
    workers.count = 0
    with workers:
        workers.check()
