"""Files of a worker that was killed right after its commit are published by the next one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from eas.filestore import LocalFileStore
from eas.maintenance.publish import republish
from eas.maintenance.reaper import run_due
from eas.taskdb import tables, workers
from tests.integration.harness import System


def synthesis(file: str) -> dict[str, object]:
    specs = {"duration": 2, "orbital_period": 1, "sampling_cadence": 600, "planet_radius": 0.5}
    return {"task": "synthesis_batman", "outputs": {"lightcurve": file}, "specs": specs}


def killed_before_it_showed(system: System, *files: str) -> list[Path]:
    """Run tasks by a worker that publishes nothing and is then found to be gone; return the published names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalFileStore, "publish", lambda *_: None)
        assert system.run([synthesis(each) for each in files]).succeeded
    (worker,) = system.rows(select(tables.workers.c.id))
    now = system.app.database.now()
    with system.app.database.write() as connection:
        connection.execute(tables.workers.update().values(state="alive", ended_at=None))
        workers.mark_lost(connection, [worker.id], "its process is gone", now)
    names = [Path(system.app.settings.store_location, "wd", each) for each in files]
    assert not any(each.exists() for each in names)
    return names


def test_products_of_a_lost_worker_are_shown_once(system: System) -> None:
    names = killed_before_it_showed(system, "a.lc", "sub/b.lc")
    assert republish(system.app.database, system.app.store) == 2
    assert all(each.stat().st_nlink == 2 for each in names), "links to the versions"
    assert republish(system.app.database, system.app.store) == 0


def test_a_worker_that_woke_up_and_is_lost_again_counts_again(system: System) -> None:
    names = killed_before_it_showed(system, "a.lc")
    republish(system.app.database, system.app.store)
    (worker,) = system.rows(select(tables.workers.c.id))
    names[0].unlink()
    with system.app.database.write() as connection:
        workers.record_heartbeat(connection, worker.id, system.app.database.now())
        workers.mark_lost(connection, [worker.id], "its process is gone", system.app.database.now())
    assert republish(system.app.database, system.app.store) == 1
    assert names[0].exists()


def test_maintenance_does_it(system: System) -> None:
    names = killed_before_it_showed(system, "a.lc")
    run_due(system.app.database, system.app.queue, 300.0, system.app.store)
    assert names[0].exists()


def test_a_store_that_refuses_is_no_reason_to_stop(system: System, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    killed_before_it_showed(system, "a.lc")

    def refuse(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(LocalFileStore, "set_published_name", refuse)
    republish(system.app.database, system.app.store)
    assert "no space left" in caplog.text
