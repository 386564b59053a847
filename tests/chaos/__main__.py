"""``python -m tests.chaos --faults N --seed S``: nothing is lost, and nothing is done twice.

On each combination of task database and job queue, chains with dependencies run on real worker
processes and a real orchestrator process while faults strike. Afterwards every task must have
exactly one accepted result, every file its checksum, and every report SQL's totals. Servers of its
own are started for it, so that restarts disturb nobody else.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
os.environ.setdefault("EAS_SERVICES_DIR", str(REPOSITORY / "var" / "chaos-services"))

from eas import registry  # noqa: E402
from eas.chains.grammar import parse_chain  # noqa: E402
from eas.control.plain_names import show_again  # noqa: E402
from eas.control.reaper import reap  # noqa: E402
from eas.control.submit import SubmitOptions, submit  # noqa: E402
from eas.errors import ServiceError  # noqa: E402
from eas.filestore import LocalFileStore  # noqa: E402
from eas.queues.sql import SQLQueue  # noqa: E402
from eas.taskdb import jobs  # noqa: E402
from eas.taskdb.engine import TaskDatabase  # noqa: E402
from eas.taskdb.migrate import initialise  # noqa: E402
from eas.taskdb.store import SQLAttemptStore  # noqa: E402
from infra.services import mariadb, places, rabbitmq  # noqa: E402
from tests.chaos.checks import tally, violations  # noqa: E402
from tests.chaos.faults import LEASE, Cast, Faults  # noqa: E402

COMBINATIONS = {
    "sqlite+sql": ("sqlite", "sql"),
    "mariadb+sql": ("mariadb", "sql"),
    "mariadb+rabbitmq": ("mariadb", "rabbitmq"),
}
WORKERS = 2
SETTLE = 180.0
"""How long after the last fault all must be done [s]."""


def chain(number: int) -> dict[str, Any]:
    """Return a chain: simulated light curves, each binned and verified, and short tasks beside them."""
    directory = f"chaos-{number}"
    return {
        "job_name": directory,
        "working_directory": directory,
        "task_list": [
            {
                "task": "execution_for_loop",
                "parameter": "i",
                "linear_range": [1, 6, 6],
                "task_list": [
                    {"task": "verify", "inputs": {"lightcurve": "'binned_{i_index}.gz'.format(**metadata)"}},
                    {
                        "task": "binning",
                        "cadence": 3600,
                        "inputs": {"lightcurve": "'raw_{i_index}.gz'.format(**metadata)"},
                        "outputs": {"lightcurve": "'binned_{i_index}.gz'.format(**metadata)"},
                    },
                    {
                        "task": "synthesis_batman",
                        "specs": {"duration": 20, "sampling_cadence": 600, "orbital_period": 5},
                        "outputs": {"lightcurve": "'raw_{i_index}.gz'.format(**metadata)"},
                    },
                    {"task": "null", "duration": 0.2},
                    {"task": "null", "duration": 0.7},
                ],
            }
        ],
    }


class Run:
    """One combination under fire."""

    def __init__(self, name: str, faults: int, seed: int, folder: Path) -> None:
        self.name, self.count = name, faults
        self.engine, self.queue = COMBINATIONS[name]
        self.rng = random.Random(f"{seed}:{name}")
        self.folder = folder
        self.registry = registry.load()
        self.submitted = 0
        unique = uuid.uuid4().hex[:8]
        self.database_url = f"sqlite:///{folder}/eas.sqlite"
        self.queue_url = "sql:"
        if self.engine == "mariadb":
            mariadb.start(places.make())
            self.database_url = f"{places.make().mariadb_url}chaos_{unique}"
        if self.queue == "rabbitmq":
            rabbitmq.start(places.make())
            rabbitmq.control(places.make(), "add_vhost", unique)
            rabbitmq.control(places.make(), "set_permissions", "-p", unique, "eas", ".*", ".*", ".*")
            self.queue_url = places.make().rabbitmq_url.replace("%2F", unique)
        self.database = TaskDatabase(self.database_url)
        self.database.create()
        initialise(self.database, self.registry)

    def go(self) -> tuple[dict[str, int], dict[str, int], list[str]]:
        """Strike ``count`` times; return faults by kind, the tally and the violations."""
        cast = Cast(self._environment(), self.folder / "processes.log", WORKERS)
        faults = Faults(cast, self.rng, self.database, engine=self.engine, queue=self.queue, queue_url=self.queue_url)
        try:
            self._feed()
            time.sleep(3.0)
            for number in range(self.count):
                struck = faults.strike()
                print(f"[{self.name}] {number + 1}/{self.count} {struck}", flush=True)
                time.sleep(self.rng.uniform(0.2, 1.2))
                cast.mend()
                self._feed()
            overdue = self._settle(cast)
        finally:
            cast.end()
        store = LocalFileStore(self.folder / "data" / "store")
        # The housekeeping of the next worker: the last ones that were killed had none after them.
        reap(self.database, SQLQueue(SQLAttemptStore(self.database)), LEASE)
        show_again(self.database, store)
        found = overdue + violations(self.database, store.root)
        counted = tally(self.database) | {"processes restarted": cast.restarts}
        self.database.close()
        return dict(faults.struck), counted, found

    def _feed(self) -> None:
        """Keep a job or two running."""
        while len(self._unfinished()) < 2:
            self.submitted += 1
            parsed = parse_chain(json.dumps(chain(self.submitted)), "chaos.json", self.registry)
            options = SubmitOptions(retries=1000, backoff=0.02, max_stalls=1000)
            submit(self.database, self.registry, parsed, options)

    def _unfinished(self) -> list[int]:
        return [job.id for job in self.database.fetch(jobs.unfinished)]

    def _settle(self, cast: Cast) -> list[str]:
        deadline = time.monotonic() + SETTLE
        while time.monotonic() < deadline:
            cast.mend()
            if not self._unfinished():
                return []
            time.sleep(0.2)
        return [f"not done {SETTLE:.0f} s after the last fault"]

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "EAS_HOME": str(self.folder / "home"),
            "EAS_DATA_DIR": str(self.folder / "data"),
            "EAS_DATABASE_URL": self.database_url,
            "EAS_QUEUE_URL": self.queue_url,
            "EAS_LEASE": str(LEASE),
            "EAS_MAX_STALLS": "1000",
        }


def main() -> int:
    """Run what the command line asks for; 0 if nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=20, help="in total, shared out among the combinations")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--combination", choices=COMBINATIONS, action="append")
    parser.add_argument("--keep", action="store_true", help="keep databases, files and logs")
    options = parser.parse_args()
    names = options.combination or list(COMBINATIONS)
    began, bad, done = time.monotonic(), 0, 0
    for number, name in enumerate(names):
        share = options.faults // len(names) + (number < options.faults % len(names))
        folder = Path(tempfile.mkdtemp(prefix="eas-chaos-"))
        started = time.monotonic()
        struck, counted, found = Run(name, share, options.seed, folder).go()
        for violation in found[:20]:
            print(f"[{name}] VIOLATED: {violation}")
        seconds = time.monotonic() - started
        print(f"[{name}] {share} faults in {seconds:.0f} s: {struck}; {counted}; {len(found)} violations")
        if found or options.keep:
            print(f"[{name}] kept: {folder}")
        bad += len(found)
        done += share
    if not options.keep:
        rabbitmq.stop()
        mariadb.stop()
    verdict = "nothing lost, nothing doubled" if not bad else f"{bad} VIOLATIONS"
    print(f"chaos: {done} faults, seed {options.seed}, {', '.join(names)}: {verdict}; {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
