"""Files that are no saved task database are named as what they are."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import pytest

from eas.errors import RequestError
from eas.taskdb.saved_file import inspect_file

DUMPS = [
    "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\nCREATE TABLE `eas_task` (id INT);\n",
    "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n",
    "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE eas_task (id INT);\n",
]


@pytest.mark.parametrize("text", DUMPS)
@pytest.mark.parametrize("packed", [False, True])
def test_an_sql_dump_is_called_an_sql_dump(text: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    with pytest.raises(RequestError, match=r"dump\.sql is an SQL dump .*nothing was changed") as caught:
        inspect_file(path)
    assert "eas db save" in caught.value.hint


def test_a_sqlite_file_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "eas.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE eas_task (id INTEGER)")
    connection.close()
    with pytest.raises(RequestError, match=r"eas\.sqlite is a sqlite database"):
        inspect_file(path)


def test_what_is_unknown_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(b"\x00\x01\x02")
    with pytest.raises(RequestError, match="is damaged"):
        inspect_file(path)
