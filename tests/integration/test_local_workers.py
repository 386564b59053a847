"""Local workers that keep dying: the process that waits for them raises an error."""

from __future__ import annotations

import os
import resource
import time

import pytest

from eas.errors import EASError
from eas.orchestration import local_workers as module
from eas.orchestration.local_workers import LocalWorkers
from tests.integration.harness import TIMEOUT, System


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
        deadline = time.monotonic() + TIMEOUT
        while workers.processes:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(EASError, match=r"(?s)died 2 times.*workers\.log for the reason"):
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


def test_a_worker_that_cannot_be_started_now_is_started_later(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RESTARTS", 1_000_000)
    deadline = time.monotonic() + TIMEOUT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with local(system) as workers:
        [first] = workers.processes
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            first.kill()
            while workers.died < 3:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        while not workers.processes:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert workers._watcher.is_alive()
        workers.check()
    assert "no local worker can be started: [Errno 24] Too many open files" in caplog.text
