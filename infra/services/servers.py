"""Find and run the programs of the servers, on this machine or in the root of another Debian release."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from infra.services import debian, processes, service_state


def prepare() -> None:
    """Create the root of the selected suite at the first call; raise ServiceError if that fails."""
    root, suite = service_state.root(), service_state.suite()
    if root is None:
        return
    if suite not in service_state.SUITES:
        raise processes.ServiceError(f"unknown suite {suite!r}; available: {', '.join(service_state.SUITES)}")
    if not debian.can_enter():
        raise processes.ServiceError("cannot create mount namespaces: services of another Debian release need root")
    log = service_state.folder() / "root.log"
    service_state.folder().mkdir(parents=True, exist_ok=True)
    try:
        debian.root_with(suite, list(service_state.SUITES[suite].values()), root, log)
    except (OSError, subprocess.CalledProcessError) as error:
        raise processes.ServiceError(f"Debian {suite} cannot be installed: {error}\n  -> see {log}") from error


def require(program: str, package: str) -> str:
    """Return the path of a server program; if it is missing on this machine, root installs its package."""
    root = service_state.root()
    if root is None:
        return processes.require(program, package)
    for folder in processes.PROGRAM_FOLDERS:
        if (root / folder.lstrip("/") / program).exists():
            return f"{folder}/{program}"
    raise processes.ServiceError(f"{program} is missing in {root}: remove that folder and start the services again")


def command(words: Sequence[str]) -> list[str]:
    """Return the command line that runs a server program, in the root of the suite if one is selected."""
    root = service_state.root()
    return list(words) if root is None else debian.command_in_root(root, service_state.folder(), words)


def database() -> str:
    """Return the name of the database server: MariaDB or MySQL."""
    return "MySQL" if "mysqld" in service_state.SUITES.get(service_state.suite(), {}) else "MariaDB"
