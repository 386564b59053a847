"""A worker whose release is older than the schema exits with a message, and fails no task."""

from __future__ import annotations

import contextlib
import json
import logging

import pytest
from sqlalchemy import select, text

from eas.taskdb import tables
from eas.worker import worker as module
from eas.worker.worker import WorkerOptions
from infra.deploy import newest_setup, setup
from tests.integration.harness import System

TASK = {"task": "null", "name": "n", "inputs": [], "outputs": []}


def migrate_to_a_later_release(system: System, *, without_attempts: bool = False) -> None:
    def migrate(connection: object) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))  # type: ignore[attr-defined]
        if without_attempts:
            connection.execute(text("ALTER TABLE attempts RENAME TO attempts_of_later"))  # type: ignore[attr-defined]

    system.app.database.transact(migrate)


def why_left(system: System) -> list[str]:
    return [row.reason for row in system.app.database.fetch(lambda c: c.execute(select(tables.workers)).all())]


@pytest.mark.parametrize("without_attempts", [False, True])
def test_an_idle_worker_exits_when_the_schema_is_newer(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, without_attempts: bool
) -> None:
    monkeypatch.setattr(module, "SCHEMA_CHECK_INTERVAL", 60.0 if without_attempts else 0.0)
    worker = system.app.worker(WorkerOptions(("eas-base",), idle_exit=30.0))
    migrate_to_a_later_release(system, without_attempts=without_attempts)
    with caplog.at_level(logging.WARNING, "eas.worker"):
        worker.run()
    assert "now has schema 9999" in caplog.text and "start one of the newer release" in caplog.text
    (reason,) = why_left(system)
    assert "has schema 9999" in reason
    assert worker.stats.failed == 0


def test_a_worker_whose_database_fails_for_another_reason_fails(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = system.app.worker(WorkerOptions(("eas-base",), idle_exit=30.0))

    def fail(*_: object) -> None:
        raise RuntimeError("another reason")

    monkeypatch.setattr(worker, "_claim", fail)
    with pytest.raises(RuntimeError, match="another reason"):
        worker.run()


# -- setups of `eas deploy`: the newest wins ---------------------------------------------------------


def test_an_older_setup_is_superseded_by_a_newer_one(system: System) -> None:
    database = system.app.database
    for number in (5, 5, 7):  # a Job that is tried again has its own number
        database.transact(lambda c, number=number: newest_setup.claim(c, number))
    newest_setup.require_newest(database, 7)
    newest_setup.require_newest(database, None)
    with pytest.raises(newest_setup.SupersededError, match="superseded by setup 7"):
        newest_setup.require_newest(database, 5)
    with pytest.raises(newest_setup.SupersededError, match="setup 5 is superseded"):
        database.transact(lambda c: newest_setup.claim(c, 5))


def test_a_superseded_setup_changes_no_resources(system: System) -> None:
    from eas.taskdb import worker_types
    from infra.deploy.setup import prepare_services

    def decided(number: int, cpu: int) -> dict[str, object]:
        return {"number": number, "workers": {"eas-base": {"cpu": cpu, "gpu": 0, "memory": 1.0}}}

    prepare_services(system.app, decided(2, 4))
    with pytest.raises(newest_setup.SupersededError):
        prepare_services(system.app, decided(1, 1))
    assert system.app.database.fetch(worker_types.assigned)["eas-base"].cpu == 4


@pytest.mark.parametrize("superseded_at", [1, 2, 3])
def test_a_superseded_setup_stops_before_its_next_change_in_prefect(
    monkeypatch: pytest.MonkeyPatch, superseded_at: int
) -> None:
    changes: list[str] = []
    monkeypatch.setattr(setup, "_prefect", lambda *words: changes.append(words[0]))
    monkeypatch.setattr(setup, "_remove_others", lambda workers: changes.append(f"only {sorted(workers)}"))
    asked: list[int] = []

    def require_wanted() -> None:
        asked.append(1)
        if len(asked) == superseded_at:
            raise newest_setup.SupersededError("superseded", hint="")

    decided = {"workers": {"eas-base": {"cpu": 1, "gpu": 0, "memory": 1.0, "image": "r/eas-base:1"}}}
    with pytest.raises(newest_setup.SupersededError):
        setup.prepare_prefect(decided, "plato", require_wanted)
    assert changes == ["work-pool", "--no-prompt", "only ['eas-base']"][: superseded_at - 1]
    asked.clear()
    changes.clear()
    superseded_at = 99
    setup.prepare_prefect(decided, "plato", require_wanted)
    assert len(changes) == 3


def test_a_setup_that_is_superseded_while_it_waits_for_prefect_leaves_prefect_as_it_is(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup.App, "load", lambda: contextlib.nullcontext(system.app))
    monkeypatch.setenv("EAS_DEPLOYMENT", json.dumps({"number": 1}))

    def newer_one_begins() -> None:
        system.app.database.transact(lambda c: newest_setup.claim(c, 2))

    monkeypatch.setattr(setup, "require_server", newer_one_begins)
    monkeypatch.setattr(setup, "_prefect", lambda *words: pytest.fail(f"changed Prefect: {words}"))
    with pytest.raises(newest_setup.SupersededError, match="superseded by setup 2"):
        setup.prepare()
