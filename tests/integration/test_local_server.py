"""The Prefect server that ``eas run`` starts and keeps: real processes, real locks."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from eas.errors import RequestError
from flows import prefect_database
from flows.local_server import ADDRESS, Address, LocalServer
from flows.local_server_process import UseCounter
from tests.processes import MAX_TIMEOUT, wait_for

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "prefect"
    for process in servers(tmp_path / "prefect"):
        process.kill()
        process.wait()


def servers(folder: Path) -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cmdline"]) if str(folder) in (each.info["cmdline"] or [])]


def is_gone(address: Address) -> bool:
    try:
        return psutil.Process(address.pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def test_two_starts_at_once_make_one_server(folder: Path) -> None:
    first, second = LocalServer(folder, 600), LocalServer(folder, 600)
    with first.used(), second.used():
        assert first.start()
        second.start()
        address = first.wait()
        assert second.wait() == address
        wait_for(lambda: len(servers(folder)) == 1, "the second server to leave it to the first")
        assert not LocalServer(folder, 600).start()
        listening = psutil.Process(address.pid).net_connections("tcp")
        assert {each.laddr.ip for each in listening if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        with pytest.raises(RequestError, match="in use"):
            LocalServer(folder, 600).stop()

        # What a killed server leaves behind says nothing.
        os.kill(address.pid, signal.SIGKILL)
        wait_for(lambda: is_gone(address), "the end of the server")
        assert (folder / ADDRESS).exists()
        # Its lock goes with its last thread, a moment after the process has become a zombie.
        wait_for(lambda: LocalServer(folder, 600).address() is None, "the end of its lock")
        # Which of the two had started it is chance; the one that had says that it ended.
        assert LocalServer(folder, 600).wait() != address
    stopped = LocalServer(folder, 600).stop()
    assert stopped is not None
    wait_for(lambda: is_gone(stopped), "the end of the server")
    assert LocalServer(folder, 600).stop() is None


def test_a_server_stops_when_it_is_idle_but_not_while_a_run_uses_it(folder: Path) -> None:
    server = LocalServer(folder, 0)
    with server.used():
        server.start()
        address = server.wait()
        (process,) = servers(folder)
        # It looks twice a second: it would have stopped long before it answers for the third time.
        spent = sum(process.cpu_times()[:2])
        wait_for(lambda: server.ready() and sum(process.cpu_times()[:2]) > spent + 0.1, "the server to look at its use")
        assert server.ready() == address
        assert LocalServer(folder, 0).in_use()
    wait_for(lambda: is_gone(address), "the server to stop by itself")
    assert LocalServer(folder, 0).address() is None


def test_a_request_and_an_open_connection_are_a_use_and_a_health_check_is_none() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def check() -> None:
        counter = UseCounter(application)
        counter._used -= 100
        event = asyncio.Event()

        async def receive() -> Any:
            await event.wait()

        async def send(message: Any) -> None: ...

        event.set()
        await counter({"type": "http", "path": "/api/health"}, receive, send)
        assert counter.idle >= 100
        event.clear()
        connection = asyncio.create_task(counter({"type": "websocket", "path": "/api/events/out"}, receive, send))
        await asyncio.sleep(0)
        assert counter.idle == 0
        counter._used -= 100
        event.set()
        await connection
        assert counter.idle < 100

    asyncio.run(check())


def test_a_new_database_is_a_copy_of_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = tmp_path / "template.sqlite"
    with closing(sqlite3.connect(template)) as connection:
        connection.execute("CREATE TABLE of_the_template (x)")
        connection.commit()
    monkeypatch.setattr(prefect_database, "template_path", lambda: template)
    folder = tmp_path / "prefect"
    folder.mkdir()
    (folder / "prefect.db-wal").write_bytes(b"of a database that is gone")
    asyncio.run(prefect_database.prepare(folder))
    assert not (folder / "prefect.db-wal").exists()
    with closing(sqlite3.connect(folder / "prefect.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("of_the_template",)]


@pytest.mark.parametrize(("prepared_by", "migrations"), [("", 1), ("3.0.0", 1), (prefect_database._version(), 0)])
def test_a_database_of_another_release_of_prefect_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared_by: str, migrations: int
) -> None:
    (tmp_path / "prefect.db").touch()
    if prepared_by:
        (tmp_path / "prefect-version").write_text(prepared_by)
    done = []

    async def migrate() -> None:
        done.append(1)

    monkeypatch.setattr(prefect_database, "_migrate", migrate)
    asyncio.run(prefect_database.prepare(tmp_path))
    asyncio.run(prefect_database.prepare(tmp_path))
    assert len(done) == migrations
