"""Find and run the programs of the servers, on this machine or in the root of another Debian release."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from infra.services import debian, places, processes


def prepare() -> None:
    """Create the root of the selected suite at the first call; raise ServiceTrouble if that fails."""
    root, suite = places.root(), places.suite()
    if root is None:
        return
    if suite not in places.SUITES:
        raise processes.ServiceTrouble(f"unknown suite {suite!r}; available: {', '.join(places.SUITES)}")
    if not debian.can_enter():
        raise processes.ServiceTrouble("cannot create mount namespaces: services of another Debian release need root")
    log = places.folder() / "root.log"
    places.folder().mkdir(parents=True, exist_ok=True)
    try:
        debian.root_with(suite, list(places.SUITES[suite].values()), root, log)
    except (OSError, subprocess.CalledProcessError) as error:
        raise processes.ServiceTrouble(f"Debian {suite} cannot be installed: {error}\n  -> see {log}") from error


def require(program: str, package: str) -> str:
    """Return the path of a server program; if it is missing on this machine, root installs its package."""
    root = places.root()
    if root is None:
        return processes.require(program, package)
    for folder in processes.FOLDERS:
        if (root / folder.lstrip("/") / program).exists():
            return f"{folder}/{program}"
    raise processes.ServiceTrouble(f"{program} is missing in {root}: remove that folder and start the services again")


def command(words: Sequence[str]) -> list[str]:
    """Return the command line that runs a server program, in the root of the suite if one is selected."""
    root = places.root()
    return list(words) if root is None else debian.inside(root, places.folder(), words)


def database() -> str:
    """Return the name of the database server: MariaDB or MySQL."""
    return "MySQL" if "mysqld" in places.SUITES.get(places.suite(), {}) else "MariaDB"
