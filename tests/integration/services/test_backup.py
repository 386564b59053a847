"""A saved task database is the same wherever it is restored, and nothing but a sound file is."""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from eas import registry
from eas.errors import RequestError
from eas.operations import backup
from eas.states import AttemptState
from eas.taskdb import attempts, results, saved_file, tables
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from eas.taskdb.saved_file import inspect_file, saved_tables
from tests.contract.chains import claim_these, new_worker, next_ids, queue_tasks, result, version

LONG_TEXT = "Ωδός 星 \U0001f6f0 " * 20_000


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[TaskDatabase]:
    database = TaskDatabase(f"sqlite:///{tmp_path}/one.sqlite")
    initialise(database, registry.load())
    yield database
    database.close()


@pytest.fixture
def mariadb(database_url: Callable[[str], str]) -> Iterator[TaskDatabase]:
    database = TaskDatabase(database_url("mariadb"))
    yield database
    database.close()


def fill(database: TaskDatabase) -> None:
    new_worker(database, uuid.uuid4().hex)
    queued = queue_tasks(database, ["null"] * 50, retries=1, outputs={"lightcurve": "ŝtelo.gz"})
    ids = [each.attempt_id for each in queued[:20]]
    claim_these(database, "a", ids)
    ended = [
        result(
            each,
            AttemptState.DONE if each % 2 else AttemptState.FAILED,
            metadata={"third": 1 / 3, "text": LONG_TEXT},
            versions=(version(each, "lightcurve", "ŝtelo.gz"),),
        )
        for each in ids[:10]
    ]
    database.transact(lambda c: results.finish(c, "a", ended, database.now()))


def rows(database: TaskDatabase) -> dict[str, list[tuple[object, ...]]]:
    def read(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in saved_tables()
        }

    return database.fetch(read)


def test_from_mariadb_to_sqlite_and_back(sqlite: TaskDatabase, mariadb: TaskDatabase, tmp_path: Path) -> None:
    fill(mariadb)
    before = rows(mariadb)
    saved = backup.save(mariadb, tmp_path / "one.gz")
    assert saved.total == sum(map(len, before.values()))
    backup.restore(sqlite, registry.load(), tmp_path / "one.gz")
    assert rows(sqlite) == before
    backup.save(sqlite, tmp_path / "two.gz")
    fill(mariadb)
    backup.restore(mariadb, registry.load(), tmp_path / "two.gz", force=True)
    assert rows(mariadb) == before


def test_a_restored_database_goes_on(sqlite: TaskDatabase, tmp_path: Path) -> None:
    fill(sqlite)
    backup.save(sqlite, tmp_path / "saved.gz")
    other = TaskDatabase(f"sqlite:///{tmp_path}/two.sqlite")
    backup.restore(other, registry.load(), tmp_path / "saved.gz")
    fill(other)  # new rows get new ids
    assert next_ids(AttemptClaims(other), "b", ["null"], 500)
    other.close()


@pytest.mark.parametrize("engine", ["sqlite", "mariadb"])
def test_a_save_is_of_one_moment(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    database: TaskDatabase = request.getfixturevalue(engine)
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            queue_tasks(database, ["null"] * 5)

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        for number in range(3):
            time.sleep(0.1)
            saved = backup.save(database, tmp_path / f"{number}.gz")
            # Each transaction writes one job, five tasks and five attempts.
            assert saved.rows["tasks"] == saved.rows["attempts"] == 5 * saved.rows["jobs"]
    finally:
        stop.set()
        writer.join()


def test_a_filled_database_is_not_replaced_unasked(sqlite: TaskDatabase, tmp_path: Path) -> None:
    fill(sqlite)
    before = rows(sqlite)
    backup.save(sqlite, tmp_path / "saved.gz")
    with pytest.raises(RequestError, match="not empty"):
        backup.restore(sqlite, registry.load(), tmp_path / "saved.gz")
    assert rows(sqlite) == before
    backup.restore(sqlite, registry.load(), tmp_path / "saved.gz", force=True)
    assert rows(sqlite) == before


@pytest.mark.parametrize("engine", ["sqlite", "mariadb"])
def test_a_restore_that_is_cut_off_leaves_the_old_data(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database: TaskDatabase = request.getfixturevalue(engine)
    fill(database)
    backup.save(database, tmp_path / "saved.gz")
    fill(database)
    before = rows(database)
    inner = backup._fill

    def cut_off(connection: Connection, path: Path) -> None:
        inner(connection, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, "_fill", cut_off)
    with pytest.raises(KeyboardInterrupt):
        backup.restore(database, registry.load(), tmp_path / "saved.gz", force=True)
    assert rows(database) == before


def _lines(path: Path) -> list[bytes]:
    with gzip.open(path) as stream:
        return stream.readlines()


def _write(path: Path, lines: list[bytes]) -> None:
    with gzip.open(path, "wb") as stream:
        stream.writelines(lines)


def test_damaged_files_are_refused(sqlite: TaskDatabase, tmp_path: Path) -> None:
    fill(sqlite)
    path = tmp_path / "saved.gz"
    backup.save(sqlite, path)
    lines = _lines(path)
    header = json.loads(lines[0])
    damages = {
        "checksum": [*lines[:-5], lines[-5].replace(b"0", b"1"), *lines[-4:]],
        "end is missing": lines[:-1],
        "not JSON": [lines[0], b"{{\n", *lines[1:]],
        "not a saved": [b"{}\n", *lines[1:]],
        "format version": [json.dumps(header | {"version": 99}).encode() + b"\n", *lines[1:]],
    }
    for message, damaged in damages.items():
        _write(path, damaged)
        with pytest.raises(RequestError, match=message):
            inspect_file(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RequestError, match="damaged"):
        inspect_file(path)
    path.write_bytes(b"plain text")
    with pytest.raises(RequestError, match="unpacked"):
        inspect_file(path)
    with pytest.raises(RequestError, match="no file"):
        inspect_file(tmp_path / "absent.gz")


def test_another_schema_is_refused(sqlite: TaskDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "saved.gz"
    backup.save(sqlite, path)
    monkeypatch.setattr(saved_file, "head_revision", lambda: "9999")
    with pytest.raises(RequestError, match="has schema"):
        backup.restore(sqlite, registry.load(), path)


def test_a_failed_save_leaves_no_file(sqlite: TaskDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, "_rows", fail)
    with pytest.raises(KeyboardInterrupt):
        backup.save(sqlite, tmp_path / "folder" / "saved.gz")
    assert list((tmp_path / "folder").iterdir()) == []


def test_depths_after_a_restore_are_the_same(sqlite: TaskDatabase, tmp_path: Path) -> None:
    fill(sqlite)
    with sqlite.read() as connection:
        before = attempts.queue_lengths(connection)
        assert connection.execute(select(func.count()).select_from(tables.log_entries)).scalar() == 0
    backup.save(sqlite, tmp_path / "s.gz")
    backup.restore(sqlite, registry.load(), tmp_path / "s.gz", force=True)
    with sqlite.read() as connection:
        assert attempts.queue_lengths(connection) == before
