"""The flow ``prune-database``: what `eas db prune` does, from Prefect."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from sqlalchemy import func, select, update

from eas.app import App
from eas.taskdb import tables
from flows.prune_database import prune_database
from tests.contract.chains import new_job


def jobs(app: App) -> int:
    query = select(func.count()).select_from(tables.jobs)
    return int(app.database.fetch(lambda c: c.execute(query).scalar_one()))


def test_an_old_job_is_removed_if_that_is_asked_for(app: App) -> None:
    job = app.database.transact(new_job)
    ended = update(tables.jobs).where(tables.jobs.c.id == job).values(state="done", ended_at=app.database.now() - 1e6)
    app.database.transact(lambda c: c.execute(ended))
    assert prune_database(older_than="90d", apply=True)["jobs"] == []
    assert prune_database(older_than="7d")["jobs"] == [job]
    assert jobs(app) == 1
    assert prune_database(older_than="7d", apply=True)["jobs"] == [job]
    assert jobs(app) == 0


def test_a_wrong_age_fails_with_what_is_right(app: App) -> None:
    for wrong in ("soon", "2999-01-01"):
        state: State[Any] = prune_database(older_than=wrong, return_state=True)
        assert state.is_failed()
        assert "older_than" in str(state.message)
