"""Damaged saved databases, also with a right checksum: each is restored or refused, and a refusal changes nothing."""

from __future__ import annotations

import atexit
import gzip
import hashlib
import json
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import func, select

from eas import registry
from eas.errors import RequestError
from eas.operations import backup
from eas.states import AttemptState
from eas.taskdb import results
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from eas.taskdb.saved_file import inspect_file, saved_tables
from tests.contract.chains import claim_these, new_worker, queue_tasks, result, version

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**31, 2**63, 10**400, 1.5, 1e999, float("nan"), "", "a" * 300, "\ud800", "\0", "0"),
    *(
        [],
        {},
        [[]],
        {"sha256": 1},
        {"table": "tasks"},
        {"table": "commits", "columns": []},
        {"table": [], "columns": 1},
    ),
]
STRATEGY = st.tuples(
    st.integers(0, 2**32), st.sampled_from(["value", "value", "value", "line", "byte", "nested", "cut"])
)


@cache
def _base() -> tuple[TaskDatabase, Path, list[bytes]]:
    folder = Path(tempfile.mkdtemp(prefix="eas-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = TaskDatabase(f"sqlite:///{folder}/one.sqlite")
    initialise(database, registry.load())
    new_worker(database, "a")
    ids = [each.attempt_id for each in queue_tasks(database, ["null"] * 4, outputs={"lightcurve": "a.gz"})]
    claim_these(database, "a", ids[:2])
    ended = [result(each, AttemptState.DONE, versions=(version(each, "lightcurve", "a.gz"),)) for each in ids[:2]]
    database.transact(lambda c: results.finish(c, "a", ended, database.now()))
    path = folder / "saved.gz"
    backup.save(database, path)
    return database, path, gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def rows(database: TaskDatabase) -> dict[str, int]:
    """Return the number of rows of each table."""
    with database.read() as connection:
        counts = ((each.name, select(func.count()).select_from(each)) for each in saved_tables())
        return {name: connection.execute(count).scalar_one() for name, count in counts}


def damage(lines: list[bytes], how: str, chance: random.Random) -> bytes:
    """Return the content of a damaged file."""
    *body, _ = lines
    place = chance.randrange(len(body))
    if how == "value":
        value = json.loads(body[place])
        holder = (
            chance.choice([value, *(each for each in value.values() if isinstance(each, dict | list) and each)])
            if isinstance(value, dict)
            else value
        )
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
        holder[key] = chance.choice(VALUES)
        body[place] = json.dumps(value).encode() + b"\n"
    elif how == "line":
        body[place : place + 1] = chance.choice(
            [[], [body[place]] * 2, [body[chance.randrange(len(body))], body[place]]]
        )
    elif how == "nested":
        body[place] = b"[" * 100_000 + b"]" * 100_000 + b"\n"
    text = b"".join(body)
    packed = gzip.compress(text + json.dumps({"sha256": hashlib.sha256(text).hexdigest()}).encode() + b"\n", 1)
    if how == "byte":
        at = chance.randrange(len(packed))
        return packed[:at] + bytes([packed[at] ^ (1 << chance.randrange(8))]) + packed[at + 1 :]
    return packed[: chance.randrange(len(packed))] if how == "cut" else packed


def check(example: tuple[int, str]) -> None:
    """Fail if a damaged file gives anything but a RequestError, or changes a database that it is not restored to."""
    seed, how = example
    database, path, lines = _base()
    damaged = path.with_name("damaged.gz")
    damaged.write_bytes(damage(lines, how, random.Random(seed)))
    before = rows(database)
    try:
        inspect_file(damaged)
        backup.restore(database, registry.load(), damaged, force=True)
    except RequestError as error:
        assert error.hint
        assert rows(database) == before
    else:
        backup.restore(database, registry.load(), path, force=True)
