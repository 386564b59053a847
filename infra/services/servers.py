"""Where the programs of the servers are: on this machine, or in the root of another Debian release."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from infra.services import debian, places, processes


def prepare() -> None:
    """Make the root of the suite that is meant, the first time; raise ServiceTrouble where that cannot be."""
    root, suite = places.root(), places.suite()
    if root is None:
        return
    if suite not in places.SUITES:
        raise processes.ServiceTrouble(f"no suite {suite!r}; there are {', '.join(places.SUITES)}")
    if not debian.can_enter():
        raise processes.ServiceTrouble("this machine allows no mount namespaces: services of another Debian need root")
    log = places.folder() / "root.log"
    places.folder().mkdir(parents=True, exist_ok=True)
    try:
        debian.root_with(suite, list(places.SUITES[suite].values()), root, log)
    except (OSError, subprocess.CalledProcessError) as error:
        raise processes.ServiceTrouble(f"Debian {suite} cannot be installed: {error}\n  -> see {log}") from error


def require(program: str, package: str) -> str:
    """Return the path of a program where the servers run; on this machine, root installs its package if need be."""
    root = places.root()
    if root is None:
        return processes.require(program, package)
    for folder in processes.FOLDERS:
        if (root / folder.lstrip("/") / program).exists():
            return f"{folder}/{program}"
    raise processes.ServiceTrouble(f"{program} is not in {root}: remove that folder, and start again")


def command(words: Sequence[str]) -> list[str]:
    """Return the command line that runs a program of the servers."""
    root = places.root()
    return list(words) if root is None else debian.inside(root, places.folder(), words)


def database() -> str:
    """Return which server the task database runs on: MariaDB, or MySQL."""
    return "MySQL" if "mysqld" in places.SUITES.get(places.suite(), {}) else "MariaDB"
