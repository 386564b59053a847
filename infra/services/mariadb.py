"""A private MariaDB server, or the MySQL server of a suite, on a loopback port with its own data folder."""

from __future__ import annotations

import getpass
import signal
import subprocess
from pathlib import Path

import pymysql

from infra.services import processes, servers
from infra.services.service_state import State, folder


def _place() -> Path:
    return folder() / "mariadb"


def _pid_file() -> Path:
    return folder() / "mariadb.pid"


def _log() -> Path:
    return folder() / "mariadb.log"


def start(state: State) -> None:
    """Start the server unless it runs; create its data folder at the first call."""
    name = servers.database()
    if processes.find(_pid_file()) is None:
        program = {"MariaDB": "mariadbd", "MySQL": "mysqld"}[name]
        server = servers.require(program, "mariadb-server")
        data = _place() / "data"
        if not (data / "mysql").is_dir():
            _install(data, server)
        grants = _place() / "grants.sql"
        grants.touch(mode=0o600)
        grants.write_text(GRANTS[name].format(password=state.password), encoding="utf-8")
        command = servers.command([server, *_options(state, data, grants)])
        processes.start(command, log=_log(), pid_file=_pid_file())
    processes.wait_until(lambda: answers(state), pid_file=_pid_file(), log=_log(), what=name)


def _install(data: Path, server: str) -> None:
    options = ["--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
    if servers.database() == "MySQL":
        command = [server, *options, "--initialize-insecure"]
    else:
        command = [servers.require("mariadb-install-db", "mariadb-server"), *options, "--skip-test-db"]
    data.mkdir(parents=True, exist_ok=True)
    with _log().open("ab") as log:
        subprocess.run(servers.command(command), check=True, stdout=log, stderr=log)


GRANTS = {
    "MariaDB": (
        "DELETE FROM mysql.global_priv WHERE User='';\n"
        "CREATE OR REPLACE USER 'eas'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON *.* TO 'eas'@'127.0.0.1' WITH GRANT OPTION;\n"
    ),
    "MySQL": (
        "ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';\n"
        "CREATE USER IF NOT EXISTS 'eas'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON *.* TO 'eas'@'127.0.0.1' WITH GRANT OPTION;\n"
    ),
}
"""SQL statements that each server runs at its start. The password consists of hexadecimal digits: no quoting needed."""


def _options(state: State, data: Path, grants: Path) -> list[str]:
    # Keep the default durability (each commit is flushed), so that benchmarks are realistic.
    own = ["--mysqlx=OFF", "--skip-log-bin"] if servers.database() == "MySQL" else []
    return [
        "--no-defaults",
        f"--datadir={data}",
        f"--user={getpass.getuser()}",
        "--bind-address=127.0.0.1",
        f"--port={state.mariadb_port}",
        f"--socket={_place() / 'socket'}",
        f"--pid-file={_place() / 'pid'}",
        f"--init-file={grants}",
        "--skip-name-resolve",
        "--max-connections=400",
        "--innodb-buffer-pool-size=512M",
        *own,
    ]


def answers(state: State) -> bool:
    """Return whether a client can log in."""
    try:
        connect(state).close()
    except pymysql.err.MySQLError:
        return False
    return True


def connect(state: State) -> pymysql.Connection[pymysql.cursors.Cursor]:
    """Open a connection as the user with all privileges."""
    return pymysql.connect(
        host="127.0.0.1",
        port=state.mariadb_port,
        user="eas",
        password=state.password,
        autocommit=True,
        connect_timeout=5,
        charset="utf8mb4",
    )


def stop(how: signal.Signals = signal.SIGTERM) -> bool:
    """Stop the server (SIGKILL simulates a crash); return whether it ran."""
    return processes.end(_pid_file(), how=how)


def running() -> bool:
    """Return whether the server process runs."""
    return processes.find(_pid_file()) is not None
