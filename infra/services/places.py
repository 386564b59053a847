"""Where the private services live, and what others need to reach them."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def folder() -> Path:
    """Return the services' folder: ``EAS_SERVICES_DIR``, or ``var/services`` in the repository."""
    return Path(os.environ.get("EAS_SERVICES_DIR") or REPOSITORY / "var" / "services").absolute()


@dataclass(frozen=True)
class State:
    """What was chosen at the first start and stays: ports and the password of the user ``eas``."""

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


def make() -> State:
    """Return the state, choosing free ports and a password where there is none yet."""
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


def answers(port: int) -> bool:
    """Return whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
