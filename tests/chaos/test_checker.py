"""The checker of the fault tests finds each kind of loss and of doubling; it shares no code with the product."""

from __future__ import annotations

import ast
import json
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.chaos.fault_schedule import distribute_faults
from tests.chaos.network import FaultyProxy
from tests.integration.harness import System
from tests.processes import ROOT

LIGHT_CURVE = {"duration": 5, "sampling_cadence": 600, "orbital_period": 2}
CHAIN = [
    {"task": "execution_chain", "task_list": [{"task": "null", "duration": 0}]},
    {"task": "synthesis_batman", "specs": LIGHT_CURVE, "outputs": {"lightcurve": "a.gz"}},
    {"task": "verify", "inputs": {"lightcurve": "a.gz"}},
]
TASKS = {"null": 1, "synthesis_batman": 1, "verify": 1}
DAMAGE = {
    "UPDATE jobs SET state = 'running'": "lost: job 1 is running",
    "UPDATE tasks SET state = 'blocked', reason = 'why' WHERE task_type = 'verify'": "(verify) is blocked: why",
    "DELETE FROM attempts WHERE task_type = 'verify'": "has 0 accepted results",
    "UPDATE attempts SET task_id = (SELECT id FROM tasks WHERE task_type = 'null'), number = 9"
    " WHERE task_type = 'verify'": "doubled: task",
    "UPDATE tasks SET accepted_attempt_id = 99 WHERE task_type = 'null'": "names attempt 99 as accepted",
    "UPDATE attempts SET state = 'queued' WHERE task_type = 'null'": "is left queued",
    "DELETE FROM attempt_results": "is done with 0 results",
    "UPDATE product_versions SET size = size + 1": "bytes, not",
    "UPDATE product_versions SET passed_qc = 0": "has 0 accepted versions",
    "UPDATE products SET current_version_id = 99": "the current version of wd/a.gz is 99",
    "INSERT INTO product_versions SELECT 99, product_id, attempt_id, semantic, store_path, size, sha256, 1, created_at"
    " FROM product_versions": "doubled: wd/a.gz has 2 accepted versions",
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checker")
    system = System(folder)
    assert system.run(CHAIN).succeeded
    system.app.close()
    return folder


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "copy"))


def check(folder: Path, tasks: dict[str, int] | None = None) -> tuple[int, str]:
    request = {"sqlite": str(folder / "eas.sqlite"), "store": str(folder / "store"), "tasks": tasks or TASKS}
    command = [sys.executable, "-m", "tests.chaos.checker"]
    ended = subprocess.run(command, cwd=ROOT, input=json.dumps(request), capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


def test_nothing_is_found_where_nothing_is_wrong(done: Path) -> None:
    assert check(done) == (0, "")


@pytest.mark.parametrize("statement", DAMAGE)
def test_damage_in_sql_is_found(copy: Path, statement: str) -> None:
    with closing(sqlite3.connect(copy / "eas.sqlite")) as connection, connection:
        assert connection.execute(statement).rowcount > 0
    code, found = check(copy)
    assert code == 1 and DAMAGE[statement] in found


def test_tasks_that_no_chain_has_or_that_are_missing_are_found(done: Path) -> None:
    assert "lost: 1 tasks of type null, and the chains have 2" in check(done, TASKS | {"null": 2})[1]
    assert "doubled: 1 tasks of type verify, and the chains have 0" in check(done, {"null": 1})[1]


@pytest.mark.parametrize("version", [True, False])
def test_a_file_that_is_missing_or_changed_is_found(copy: Path, version: bool) -> None:
    files = [path for path in (copy / "store").rglob("a.gz") if path.is_file()]
    [file] = [path for path in files if (".versions" in path.parts) is version]
    content = file.read_bytes()
    file.unlink()
    assert "is not there" in check(copy)[1]
    file.write_bytes(content[:-1] + b"\0" if content[-1] else content[:-1] + b"\1")
    assert "has another checksum" in check(copy)[1]


def test_it_imports_nothing_of_the_product() -> None:
    tree = ast.parse((ROOT / "tests" / "chaos" / "checker.py").read_text(encoding="utf-8"))
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) == {"pymysql"}


def test_faults_are_dealt_evenly_to_those_that_they_apply_to() -> None:
    dealt = distribute_faults(60, {"one": ["a", "b"], "two": ["a", "b", "c"], "three": ["a", "d"]}, random.Random(1))
    every = [kind for kinds in dealt.values() for kind in kinds]
    assert {kind: every.count(kind) for kind in "abcd"} == dict.fromkeys("abcd", 15)
    assert set(dealt["one"]) <= {"a", "b"} and set(dealt["three"]) <= {"a", "d"}
    assert all(len(kinds) >= 15 for kinds in dealt.values())


# -- the network -------------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a service that sends back what it receives."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                while data := connection.recv(100):
                    connection.sendall(data)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_network_that_swallows_and_is_cut(echo: int) -> None:
    link = FaultyProxy(echo)
    try:
        with socket.create_connection(("127.0.0.1", link.port)) as one:
            one.sendall(b"seen")
            assert one.recv(100) == b"seen"
            link.drop()
            one.sendall(b"swallowed")
            one.settimeout(0.2)
            with pytest.raises(TimeoutError):
                one.recv(100)
            link.mend()
            one.settimeout(30)
            with pytest.raises(ConnectionResetError):
                one.recv(100)
        link.cut()
        with socket.create_connection(("127.0.0.1", link.port)) as refused, pytest.raises(ConnectionResetError):
            refused.recv(100)
        link.mend()
        link.slow(0.05)
        with socket.create_connection(("127.0.0.1", link.port)) as again:
            again.sendall(b"late")
            assert again.recv(100) == b"late"
    finally:
        link.close()
