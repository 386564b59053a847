"""``python -m infra.services start|stop|status|remove [--suite sid]``: private MariaDB and RabbitMQ servers.

``--suite`` selects the servers of a Debian release (sid: MySQL instead of MariaDB), in a separate root directory.

As root, ``start`` also installs Chromium, the browser of the tests, if it is missing. ``start`` prints the URLs
without the password; tests find the servers without further settings.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys

from eas.settings import safe_url
from infra.services import mariadb, processes, rabbitmq, servers, service_state


def start() -> None:
    """Start the servers that do not run."""
    servers.prepare()
    state = service_state.load_or_create()
    mariadb.start(state)
    rabbitmq.start(state)
    # The tests read addresses and password from the state file, which only this user can read.
    print(f"{servers.database()}: {safe_url(state.mariadb_url)}")
    print(f"RabbitMQ: {safe_url(state.rabbitmq_url)}")
    if service_state.suite():
        print(f"tests use them with {service_state.SUITE_VARIABLE}={service_state.suite()}")
        return
    try:
        processes.require("chromium", "chromium")
    except processes.ServiceError as missing:
        print(f"browser tests are skipped: {missing}")


def stop() -> None:
    """Stop the running servers; keep their data."""
    for name, service in (("RabbitMQ", rabbitmq), (servers.database(), mariadb)):
        print(f"{name}: {'stopped' if service.stop() else 'did not run'}")


def status() -> int:
    """Print which servers run; return 0 if both do, else 3."""
    running = {servers.database(): mariadb.running(), "RabbitMQ": rabbitmq.running()}
    for name, runs in running.items():
        print(f"{name}: {'runs' if runs else 'does not run'}")
    print(f"folder: {service_state.folder()}")
    return 0 if all(running.values()) else 3


def main() -> int:
    """Run the given command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.services", description=__doc__)
    parser.add_argument("verb", choices=["start", "stop", "status", "remove"])
    parser.add_argument(
        "--suite", default=service_state.suite(), help="a Debian release: trixie, sid; default: this machine's"
    )
    given = parser.parse_args()
    verb, os.environ[service_state.SUITE_VARIABLE] = given.verb, given.suite
    try:
        if verb == "start":
            start()
        elif verb == "status":
            return status()
        else:
            stop()
            if verb == "remove":
                shutil.rmtree(service_state.folder(), ignore_errors=True)
    except processes.ServiceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
