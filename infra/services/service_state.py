"""Folders of the private services, and their ports and password."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.services import debian

REPOSITORY = Path(__file__).resolve().parents[2]
SUITE_VARIABLE = "EAS_SERVICES_SUITE"
SUITES = {
    "trixie": {"mariadbd": "mariadb-server", "rabbitmq-server": "rabbitmq-server"},
    "sid": {"mysqld": "mysql-server", "rabbitmq-server": "rabbitmq-server"},
}
"""Debian releases whose services can run in addition to those of this machine: package of each server program."""


def suite() -> str:
    """Return the selected Debian release; empty for the services of this machine."""
    return os.environ.get(SUITE_VARIABLE, "")


def folder() -> Path:
    """Return the folder of the services: ``EAS_SERVICES_DIR`` or ``var/services``, with a subfolder for each suite."""
    return Path(os.environ.get("EAS_SERVICES_DIR") or REPOSITORY / "var" / "services").absolute() / suite()


def root() -> Path | None:
    """Return the root directory in which the servers of the suite are installed; None for those of this machine."""
    return debian.base_folder() / f"{suite()}.services" if suite() else None


@dataclass(frozen=True)
class State:
    """Ports, and password of the user ``eas``; chosen at the first start and then kept."""

    mariadb_port: int
    amqp_port: int
    epmd_port: int
    distribution_port: int
    password: str

    @property
    def mariadb_url(self) -> str:
        """SQLAlchemy URL of the server, without a database."""
        return f"mysql+pymysql://eas:{self.password}@127.0.0.1:{self.mariadb_port}/"

    @property
    def rabbitmq_url(self) -> str:
        """AMQP URL of the broker's default virtual host."""
        return f"amqp://eas:{self.password}@127.0.0.1:{self.amqp_port}/%2F"


def _path() -> Path:
    return folder() / "state.json"


def read() -> State | None:
    """Return the state, or None before the first start."""
    try:
        return State(**json.loads(_path().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def load_or_create() -> State:
    """Return the state; at the first call choose free ports and a password."""
    state = read()
    if state is None:
        state = State(*_free_ports(4), password=secrets.token_hex(12))
        _path().parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_path(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(asdict(state), stream, indent=2)
    return state


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def is_listening(port: int) -> bool:
    """Return whether a process listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
