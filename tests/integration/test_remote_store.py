"""Jobs whose file products are behind a server that speaks S3, and what happens when a store is away."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from sqlalchemy import select

from eas.errors import ServiceError, StoreError
from eas.filestore.remote import RemoteFileStore
from eas.states import AttemptState
from eas.taskdb import tables
from eas.worker.worker import WorkerOptions
from tests.integration.harness import System
from tests.s3 import S3, s3_server

SYNTHESIS = {
    "task": "synthesis_batman",
    "outputs": {"lightcurve": "sub/a.lc"},
    "specs": {"duration": 2, "orbital_period": 1, "sampling_cadence": 600, "planet_radius": 0.5},
}
VERIFY = {"task": "verify", "inputs": {"lightcurve": "sub/a.lc"}}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


def system_on(folder: Path, url: str, options: dict[str, Any] | None = None) -> System:
    return System(folder, store_url=url, store_options=json.dumps(options or {}))


def store_of(system: System) -> RemoteFileStore:
    assert isinstance(system.app.store, RemoteFileStore)
    return system.app.store


def test_a_chain_and_its_successor_run_on_s3(s3: S3, tmp_path: Path) -> None:
    system = system_on(tmp_path, s3.new_bucket(), s3.options)
    assert system.run([SYNTHESIS, VERIFY]).succeeded
    version = system.rows(select(tables.product_versions))[0]
    files = store_of(system).files
    assert sorted(files.find("")) == sorted(["wd/sub/a.lc", version.store_path])
    assert files.cat("wd/sub/a.lc") == files.cat(version.store_path)
    assert files.info("wd/sub/a.lc")["size"] == version.size
    assert system.run([VERIFY], name="later").succeeded
    assert list((tmp_path / "scratch").rglob("*")) == [], "copies do not stay"
    assert not (tmp_path / "store").exists()
    system.app.close()


def test_a_missing_bucket_is_reported_before_anything_is_claimed(s3: S3, tmp_path: Path) -> None:
    system = system_on(tmp_path, "s3://not-made-yet/eas", s3.options)
    with pytest.raises(StoreError, match="not-made-yet"):
        system.app.local_workers(1)
    with pytest.raises(StoreError, match="not-made-yet"):
        system.app.worker(WorkerOptions(("eas-base",))).run()
    system.app.close()


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[System, set[str]]]:
    """A system whose store's server goes away for the requests of which a part is in the set."""
    system, broken = system_on(tmp_path, f"memory://{uuid.uuid4().hex}"), set[str]()
    monkeypatch.setattr("eas.filestore.remote.MAX_TRIES", 1)

    def unless_broken(name: str) -> Any:
        real = getattr(MemoryFileSystem, name)

        def request(self: Any, one: str, other: str, **options: Any) -> Any:
            if any(part in f"{name} {one} {other}" for part in broken):
                raise ConnectionResetError("connection reset by peer")
            return real(self, one, other, **options)

        return request

    for name in ("put_file", "get_file", "mv"):
        monkeypatch.setattr(MemoryFileSystem, name, unless_broken(name))
    yield system, broken
    system.app.close()


def work(system: System) -> None:
    system.app.worker(WorkerOptions(tuple(system.app.registry.installed_worker_types()), idle_exit=0.2)).run()


@pytest.mark.parametrize("request_", ["put_file", "get_file"])
def test_nothing_fails_because_the_store_is_away(away: tuple[System, set[str]], request_: str) -> None:
    system, broken = away
    job = system.submit([SYNTHESIS])
    if request_ == "get_file":
        with system.worker():
            system.drive(job)
        job = system.submit([VERIFY], name="reads")
    system.drive(job, steps=3)
    broken.add(f"{request_} " if request_ == "get_file" else ".versions")
    with pytest.raises(ServiceError, match="connection reset"):
        work(system)
    of_job = select(tables.attempts.c.state).where(tables.attempts.c.job_id == job)
    assert [row.state for row in system.rows(of_job)] == [AttemptState.QUEUED]

    broken.clear()
    with system.worker():
        system.drive(job)
    assert system.summary(job).succeeded
    assert [row.state for row in system.rows(of_job)] == [AttemptState.DONE]


def test_a_published_name_that_cannot_be_linked_fails_nothing(away: tuple[System, set[str]], caplog) -> None:
    system, broken = away
    broken.add("mv ")
    assert system.run([SYNTHESIS, VERIFY]).succeeded
    assert "could not be published" in caplog.text
