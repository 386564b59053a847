"""`eas db` and `eas queue`: they make, check, save, and never show a password."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from eas.cli import cli
from eas.errors import EASError, RequestError, ServiceError, SettingsError
from tests import services

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EAS_HOME", str(tmp_path / "home"))
    for name in ("EAS_DATABASE_URL", "EAS_QUEUE_URL", "EAS_DATA_DIR", "EAS_DB_PASSWD", "EAS_MQ_PASSWD"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*arguments: str) -> Result:
        result = CliRunner().invoke(cli, list(arguments))
        if isinstance(result.exception, EASError):
            raise result.exception
        return result

    return invoke


def saved(tmp_path: Path) -> dict[str, str]:
    return dict(json.loads((tmp_path / "home" / "settings.json").read_text()))


def test_mysql_is_created_and_remembered(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = urlsplit(services.mariadb_server())
    name = f"eas_test_{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("EAS_DB_PASSWD", str(server.password))
    where = ["--db_host", "127.0.0.1", "--db_port", str(server.port), "--db_user", "eas", "--db_name", name]
    try:
        first = run("db", "init", "--db_engine", "mysql", *where)
        assert first.exit_code == 0, first.output
        assert "created" in first.output
        assert str(server.password) not in first.output
        assert saved(tmp_path)["database_url"].endswith(name)
        assert (tmp_path / "home" / "settings.json").stat().st_mode & 0o777 == 0o600
        assert "unchanged" in run("db", "init").output, "later calls need no options"
        run("db", "save", "--output", "saved.gz")
        back = json.loads(run("db", "restore", "--input", "saved.gz", "--force", "--json").output)
        assert back["rows"]["jobs"] == 0
        assert "file contents" in back["not_carried"]
    finally:
        services.drop_database(f"{services.mariadb_server()}{name}")


def test_a_wrong_password_is_reported_and_not_shown(run: Run, tmp_path: Path) -> None:
    port = str(urlsplit(services.mariadb_server()).port)
    where = ["--db-host", "127.0.0.1", "--db-port", port, "--db-user", "eas", "--db-passwd", "s3cret"]
    with pytest.raises(ServiceError, match="Access denied") as caught:
        run("db", "init", "--db-engine", "mysql", *where)
    assert "s3cret" not in str(caught.value)
    assert not (tmp_path / "home" / "settings.json").exists(), "what does not work is not saved"


def test_sqlite_by_path(run: Run, tmp_path: Path) -> None:
    assert "created" in run("db", "init", "--db-engine", "sqlite3", "--db-name", "some/tasks.sqlite").output
    assert (tmp_path / "some" / "tasks.sqlite").exists()


def test_a_url_and_parts_of_one_are_refused(run: Run) -> None:
    with pytest.raises(SettingsError, match="--db-host"):
        run("db", "init", "--url", "sqlite:///x", "--db-host", "h")


def test_the_sql_queue(run: Run, tmp_path: Path) -> None:
    assert "sql:" in run("queue", "init", "--queue-implementation", "sql").output
    assert saved(tmp_path)["queue_url"] == "sql:"
    shown = json.loads(run("queue", "show", "--json").output)
    assert shown == {"queue": "sql:", "queued": {}, "held_back": {}, "messages": None, "paused": []}


def test_rabbitmq_is_declared_and_remembered(run: Run, tmp_path: Path) -> None:
    server = urlsplit(services.rabbitmq_server())
    where = ["--mq_host", "127.0.0.1", "--mq_port", str(server.port), "--mq_user", "eas"]
    done = run("queue", "init", "--queue_implementation", "amqp", *where, "--mq_passwd", str(server.password))
    assert done.exit_code == 0, done.output
    assert str(server.password) not in done.output
    assert saved(tmp_path)["queue_url"] == services.rabbitmq_server()
    shown = json.loads(run("queue", "show", "--json").output)
    assert shown["messages"].keys() >= {"null", "verify"}


def test_a_broker_that_is_not_there_is_not_saved(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="RabbitMQ"):
        run("queue", "init", "--queue-implementation", "amqp", "--mq-host", "127.0.0.1", "--mq-port", "1")
    with pytest.raises(SettingsError):
        run("queue", "init", "--url", "redis://x")
    assert not (tmp_path / "home" / "settings.json").exists()


def test_restoring_nonsense_changes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_text("no")
    with pytest.raises(RequestError, match="damaged"):
        run("db", "restore", "--input", "x.gz")
