"""``python -m tests.chaos --faults N --seed S``: nothing is lost, and nothing is done twice.

On each combination of task database and job queue, chains with dependencies run on two hosts, each with a worker and a
supervisor, while an operator gives random commands and faults strike. Afterwards a checker that shares no code with
EAS must find exactly one accepted result of every task and every file with its checksum. Servers of its own are
started for it, so that restarts disturb no other process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
os.environ.setdefault("EAS_SERVICES_DIR", str(REPOSITORY / "var" / "chaos-services"))

from eas.errors import ServiceError  # noqa: E402
from infra.services import debian, mariadb, processes, rabbitmq, servers, service_state  # noqa: E402
from tests.acceptance.prefect_server import serving  # noqa: E402
from tests.chaos import disk  # noqa: E402
from tests.chaos.fault_schedule import distribute_faults  # noqa: E402
from tests.chaos.faults import applicable  # noqa: E402
from tests.chaos.run import Run  # noqa: E402

COMBINATIONS = {
    "sqlite+sql": ("sqlite", "sql", ""),
    "mariadb+sql": ("mariadb", "sql", ""),
    "mariadb+rabbitmq": ("mariadb", "rabbitmq", ""),
    "mysql9+sql": ("mariadb", "sql", "sid"),
    "mysql9+rabbitmq4": ("mariadb", "rabbitmq", "sid"),
}
"""Engine, queue, and the Debian release whose servers are used; empty: those of this machine."""


@contextlib.contextmanager
def services_of(suite: str) -> Iterator[None]:
    """Use the services of a suite, and stop them at the end."""
    os.environ[service_state.SUITE_VARIABLE] = suite
    servers.prepare()
    try:
        yield
    finally:
        rabbitmq.stop()
        mariadb.stop()


def run(name: str, kinds: list[str], options: argparse.Namespace, prefect: str | None) -> tuple[Counter[str], int]:
    """Run one combination and print what it came to; return faults by kind, and the number of violations."""
    engine, queue, suite = COMBINATIONS[name]
    folder = Path(tempfile.mkdtemp(prefix="eas-chaos-"))
    started = time.monotonic()
    with services_of(suite):
        combination = Run(name, engine, queue, random.Random(f"{options.seed}:{name}"), folder)
        bad = True
        try:
            struck, counted, found = combination.go(kinds, prefect)
            bad = bool(found)
        finally:
            combination.close(kept=bad or options.keep)
            if bad or options.keep:
                print(f"[{name}] kept: {folder}")
    for violation in found[:20]:
        print(f"[{name}] VIOLATED: {violation}")
    seconds = time.monotonic() - started
    print(f"[{name}] {sum(struck.values())} faults in {seconds:.0f} s: {struck}; {counted}; {len(found)} violations")
    return Counter(struck), len(found)


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=20, help="in total, shared out among the combinations")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--combination", choices=COMBINATIONS, action="append", help="run the share of these alone")
    parser.add_argument("--without-runs", action="store_true", help="no `eas run`, for which a Prefect server starts")
    parser.add_argument("--keep", action="store_true", help="keep databases, files and logs")
    return parser.parse_args()


def main() -> int:
    """Run what the command line asks for; 0 if nothing was violated."""
    options = parsed()
    can_enter = debian.can_enter()
    if disk.can_mount() and not os.environ.get("EAS_CHAOS_NAMESPACE"):
        # Disks are mounted in a namespace of our own, and go with it.
        environment = os.environ | {"EAS_CHAOS_NAMESPACE": "1"}
        command = ["unshare", "--mount", sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
        return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode
    possible = {name: each for name, each in COMBINATIONS.items() if can_enter or not each[2]}
    if left_out := sorted(COMBINATIONS.keys() - possible):
        print(f"left out, as this machine allows no mount namespaces: {', '.join(left_out)}")
    kinds = {name: applicable(engine, queue) for name, (engine, queue, _) in possible.items()}
    dealt = distribute_faults(options.faults, kinds, random.Random(options.seed))
    names = options.combination or list(possible)
    began, bad, struck = time.monotonic(), 0, Counter[str]()
    with contextlib.ExitStack() as stack:
        prefect = None
        if not options.without_runs:
            prefect = stack.enter_context(serving(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        for name in names:
            faults, found = run(name, dealt[name], options, prefect)
            struck += faults
            bad += found
    verdict = "nothing lost, nothing doubled" if not bad else f"{bad} VIOLATIONS"
    for kind, times in sorted(struck.items()):
        print(f"{times:5d}  {kind}")
    total, seconds = sum(struck.values()), time.monotonic() - began
    print(f"chaos: {total} faults, seed {options.seed}, {', '.join(names)}: {verdict}; {seconds:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ServiceError, processes.ServiceError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3)
