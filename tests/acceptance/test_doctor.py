"""``eas doctor``: what is wrong with an installation, where each setting comes from, and what to do."""

from __future__ import annotations

import json
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from eas import registry
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import downgrade, head_revision, initialise
from eas.taskdb.service_lease import SCALER, SUPERVISOR, ServiceLease
from tests.acceptance.conftest import Home, services_of
from tests.acceptance.prefect_server import PREFECT
from tests.processes import MAX_TIMEOUT, TIMEOUT, clean_environment, free_port

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)
SECRET = "hunter2"


def diagnose(home: Home, *options: str, code: int = 0) -> dict[str, Any]:
    done = home.eas("doctor", "--json", *options, code=code)
    assert SECRET not in done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["healthy"] is (code == 0)
    assert all(each["hint"] for each in found["findings"] if each["level"] != "ok"), "a finding without advice"
    return found


def levels(found: dict[str, Any]) -> dict[str, str]:
    """Return the level of each check; of several findings the first."""
    return {each["check"]: each["level"] for each in reversed(found["findings"])}


def problems(found: dict[str, Any]) -> dict[str, str]:
    return {each["check"]: each["message"] for each in found["findings"] if each["level"] == "problem"}


def without_prefect(folder: Path, environment: dict[str, str]) -> Home:
    """Return a home without a Prefect server, whatever the profile of the user says."""
    return Home(folder, clean_environment() | environment | {"PREFECT_HOME": str(folder / "prefect-home")})


@pytest.fixture
def bare_home(tmp_path: Path) -> Home:
    return without_prefect(tmp_path, {})


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose service accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield int(server.getsockname()[1])


def test_nothing_is_created_where_nothing_is(bare_home: Home) -> None:
    found = diagnose(bare_home)
    assert [each.name for each in bare_home.folder.iterdir()] == ["prefect-home"]  # Prefect makes its own
    assert levels(found) == {
        "database": "note", "queue": "ok", "store": "note", "disk": "ok", "task types": "ok", "versions": "ok",
        "prefect": "note",
    }  # fmt: skip
    sources = {each["name"]: each["source"] for each in found["settings"]}
    assert sources.pop("server_idle") == "environment"  # set by the tests
    assert set(sources.values()) == {"default"}


def test_settings_name_their_sources_and_hide_passwords(bare_home: Home) -> None:
    url = f"sqlite:///{bare_home.folder / 'tasks.sqlite'}"
    bare_home.eas("db", "init", "--url", url)
    options = json.dumps({"key": "name", "secret": SECRET})
    bare_home.environment |= {"EAS_LEASE": "60", "EAS_STORE_OPTIONS": options, "EAS_WEB_URL": f"http://u:{SECRET}@h/"}
    found = {each["name"]: each for each in diagnose(bare_home)["settings"]}
    assert (found["database_url"]["source"], found["database_url"]["value"]) == ("file", url)
    assert (found["lease"]["source"], found["lease"]["value"]) == ("environment", "60.0")
    assert found["store_options"]["value"] == "key=***, secret=***"
    assert found["web_url"]["value"] == "http://u:***@h/"
    assert found["memory_limits"]["source"] == "default"
    text = bare_home.eas("doctor").stdout
    assert SECRET not in text
    assert f"EAS_DATABASE_URL    file         {url}" in text.splitlines()


def test_a_service_that_never_answers_does_not_hold_it_up(bare_home: Home, silent_port: int) -> None:
    at = f"127.0.0.1:{silent_port}"
    bare_home.environment |= {
        "EAS_DATABASE_URL": f"mysql+pymysql://eas:{SECRET}@{at}/eas",
        "EAS_QUEUE_URL": f"amqp://eas:{SECRET}@{at}/",
        "EAS_STORE_URL": "s3://bucket/eas",
        "EAS_STORE_OPTIONS": json.dumps({"endpoint_url": f"http://{at}", "key": "k", "secret": SECRET}),
        "PREFECT_API_URL": f"http://{at}/api",
    }
    found = problems(diagnose(bare_home, "--timeout", "1", code=1))
    assert {"database", "queue", "store", "prefect"} == set(found)
    assert all("no answer within 1 s" in text for text in found.values())


def test_services_that_are_away_are_named_with_what_to_do(bare_home: Home) -> None:
    at = f"127.0.0.1:{free_port()}"
    bare_home.environment |= {
        "EAS_DATABASE_URL": f"mysql+pymysql://eas:{SECRET}@{at}/eas",
        "EAS_QUEUE_URL": f"amqp://eas:{SECRET}@{at}/",
        "PREFECT_API_URL": f"http://{at}/api",
    }
    found = problems(diagnose(bare_home, "--timeout", "60", code=1))
    assert {"database", "queue", "prefect"} == set(found)
    assert "Connection refused" in found["database"]
    assert "cannot be reached" in found["queue"]


@pytest.mark.parametrize(
    ("variable", "value"), [("EAS_LEASE", "soon"), ("EAS_DATABASE_URL", f"mysql//{SECRET}"), ("EAS_QUEUE_URL", "ftp:x"),
                            ("EAS_STORE_OPTIONS", "[1"), ("EAS_STORE_URL", "relative/path")],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_a_problem(bare_home: Home, variable: str, value: str) -> None:
    bare_home.environment[variable] = value
    if variable == "EAS_STORE_OPTIONS":
        bare_home.environment["EAS_STORE_URL"] = "s3://bucket/eas"
    assert len(problems(diagnose(bare_home, code=1))) == 1


def test_settings_that_prefect_refuses_are_a_problem(bare_home: Home) -> None:
    bare_home.environment["PREFECT_API_REQUEST_TIMEOUT"] = "soon"
    assert problems(diagnose(bare_home, code=1))["prefect"].startswith("its settings cannot be used: ")


def test_a_saved_file_that_is_no_json_is_a_problem(bare_home: Home) -> None:
    folder = bare_home.folder / "eas-data"
    folder.mkdir()
    (folder / "settings.json").write_text("{")
    assert "is not valid JSON" in problems(diagnose(bare_home, code=1))["settings"]


def test_a_store_that_cannot_be_written_is_a_problem(bare_home: Home) -> None:
    (bare_home.folder / "file").write_text("")
    bare_home.environment["EAS_STORE_URL"] = str(bare_home.folder / "file" / "store")
    assert "cannot be written" in problems(diagnose(bare_home, code=1))["store"]


@pytest.mark.parametrize("engine", ["sqlite+sql", "mariadb+sql"])
def test_the_schema_of_another_release_is_a_problem(
    tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    with services_of(engine, request) as environment:
        home = without_prefect(tmp_path, environment)
        database = TaskDatabase(home.database_url)
        initialise(database, registry.load())
        with database.write() as connection:
            downgrade(connection, "-1")
        found = diagnose(home, code=1)
        assert f"this release needs {head_revision()}" in problems(found)["database"]
        assert "`eas db init`" in next(each["hint"] for each in found["findings"] if each["check"] == "database")
        home.eas("db", "init")
        assert levels(diagnose(home))["database"] == "ok"
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        assert "is newer than this release's" in problems(diagnose(home, code=1))["database"]
        database.close()


def test_workers_supervisor_and_scaler_are_seen_by_their_signs_of_life(plain_home: Home) -> None:
    plain_home.environment["PREFECT_HOME"] = str(plain_home.folder / "prefect-home")
    plain_home.eas("submit", plain_home.chain({"task": "null", "duration": 0}))
    found = diagnose(plain_home, code=1)
    assert "no process drives" in problems(found)["services"]
    assert [levels(found)[each] for each in ("workers", "supervisor", "scaler")] == ["note"] * 3
    database = TaskDatabase(plain_home.database_url)
    with ExitStack() as stack:
        stack.callback(database.close)
        for name in (SUPERVISOR, SCALER):
            lease = ServiceLease(database, name)
            assert lease.hold()
            stack.callback(lease.release)
        found = diagnose(plain_home)
    assert [levels(found)[each] for each in ("database", "queue", "supervisor", "scaler")] == ["ok"] * 4


def test_the_prefect_server_and_its_pools_are_looked_at(bare_home: Home, prefect_server: str) -> None:
    bare_home.environment["PREFECT_API_URL"] = prefect_server
    found = diagnose(bare_home, "--timeout", "60")
    assert levels(found)["prefect"] == "ok"
    assert levels(found)["work pools"] == "note"


def test_a_work_pool_without_a_worker_is_a_problem(bare_home: Home, prefect_server: str) -> None:
    bare_home.environment["PREFECT_API_URL"] = prefect_server
    pool = f"test-{uuid.uuid4().hex[:8]}"

    def prefect(*arguments: str) -> None:
        command = [*PREFECT, "--no-prompt", "work-pool", *arguments]
        subprocess.run(command, env=bare_home.environment, check=True, capture_output=True, timeout=TIMEOUT)

    def said() -> dict[str, str]:
        found = diagnose(bare_home, "--timeout", "60", code=1)["findings"]
        return next(each for each in found if pool in each["message"])

    prefect("create", pool, "--type", "process")
    try:
        assert said() == {
            "check": "work pools", "level": "problem", "message": f"no Prefect worker polls work pool {pool}",
            "hint": f"prefect worker start --pool {pool!r}",
        }  # fmt: skip
        prefect("pause", pool)
        assert said()["message"] == f"work pool {pool} is paused"
    finally:
        prefect("delete", pool)
