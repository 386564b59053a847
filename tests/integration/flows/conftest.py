"""A Prefect server of the tests' own for each file, and an application on a fresh home folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from eas.app import App
from flows import flow_runs


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def app(server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setenv("EAS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("EAS_DATABASE_URL", "EAS_QUEUE_URL", "EAS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    with App.load() as made:
        yield made


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server give two flow runs at once, instead of its 200."""
    monkeypatch.setattr(flow_runs, "PAGE_SIZE", 2)
