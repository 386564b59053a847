"""One combination of task database and job queue under fire."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from eas import registry
from eas.chains.grammar import parse_chain
from eas.errors import EASError
from eas.filestore import LocalFileStore
from eas.maintenance.publish import republish
from eas.maintenance.reaper import reap
from eas.operations.job_options import SubmitOptions
from eas.operations.pause import resume
from eas.operations.submit import submit
from eas.queues.sql import SQLQueue
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from eas.taskdb.queries import unfinished_jobs
from infra.services import mariadb, rabbitmq, service_state
from tests.chaos import reports
from tests.chaos.chaos_processes import REPOSITORY, ChaosProcesses
from tests.chaos.disk import Disk
from tests.chaos.driver import LEASE
from tests.chaos.faults import Environment, Faults
from tests.chaos.network import FaultyProxy
from tests.chaos.operator import reschedule_failed, states
from tests.clock import Clock

SETTLE = 240.0
"""How long after the last fault all must be done [s]."""
TURNS = 6
LEAVES = Counter({"verify": TURNS, "binning": TURNS, "synthesis_batman": TURNS, "null": 2 * TURNS})
"""Leaf tasks of a chain, by type."""
MANY = 1000
"""Retries and stalls: faults must not use them up."""


def chain(name: str) -> dict[str, Any]:
    """Return a chain: simulated light curves, each binned and verified, and short tasks beside them."""
    return {
        "job_name": name,
        "working_directory": name,
        "task_list": [
            {
                "task": "execution_for_loop",
                "parameter": "i",
                "linear_range": [1, TURNS, TURNS],
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
    """Workers, supervisors and an operator at work, on services and a machine that fail."""

    def __init__(self, name: str, engine: str, queue: str, rng: random.Random, folder: Path) -> None:
        self.name, self.rng, self.folder = name, rng, folder
        self.registry = registry.load()
        self.expected: Counter[str] = Counter()
        self.jobs = 0
        self.disk = Disk(folder / "data")
        self.links: list[FaultyProxy] = []
        unique = uuid.uuid4().hex[:8]
        database_url, queue_url = f"sqlite:///{folder}/eas.sqlite", "sql:"
        if engine == "mariadb":
            mariadb.start(service_state.load_or_create())
            database_url = f"{service_state.load_or_create().mariadb_url}chaos_{unique}"
        if queue == "rabbitmq":
            rabbitmq.start(service_state.load_or_create())
            rabbitmq.control(service_state.load_or_create(), "add_vhost", unique)
            rabbitmq.control(service_state.load_or_create(), "set_permissions", "-p", unique, "eas", ".*", ".*", ".*")
            queue_url = service_state.load_or_create().rabbitmq_url.replace("%2F", unique)
        self.database = TaskDatabase(database_url)
        self.database.create()
        initialise(self.database, self.registry)
        clocks = [Clock(folder / f"clock.{number}") for number in range(2)]
        self.seen_urls = {"EAS_DATABASE_URL": self._linked(database_url), "EAS_QUEUE_URL": self._linked(queue_url)}
        self.scene = Environment(engine, queue, queue_url, self.database, self.disk, clocks, self.links)

    def _linked(self, url: str) -> str:
        """Return the URL by which the processes under test reach a service: through a network that may fail."""
        parsed = make_url(url) if "@" in url else None
        if parsed is None or parsed.port is None:
            return url
        self.links.append(FaultyProxy(parsed.port))
        return url.replace(f":{parsed.port}/", f":{self.links[-1].port}/")

    def go(self, kinds: Sequence[str], prefect: str | None) -> tuple[dict[str, int], dict[str, int], list[str]]:
        """Strike with faults of these kinds; return faults by kind, the totals, and what is lost or doubled."""
        # The clocks of hosts may differ where the task database has one of its own.
        clocks = self.scene.clocks if self.scene.engine == "mariadb" else []
        hosts = [self._environment() | dict(clock.environment()) for clock in clocks]
        cast = ChaosProcesses(hosts or [self._environment()] * 2, self.folder, self.rng)
        faults = Faults(cast, self.rng, self.scene)
        try:
            if prefect is not None:
                self._start_runs(cast, prefect)
            self._feed()
            time.sleep(3.0)
            for number, kind in enumerate(kinds):
                struck = faults.inject(kind)
                print(f"[{self.name}] {number + 1}/{len(kinds)} {kind}{'' if struck else ': not possible'}", flush=True)
                time.sleep(self.rng.uniform(0.0, 0.5))
                cast.mend()
                self._feed()
            faults.end()
            cast.stop_operator()
            overdue = self._settle(cast)
        finally:
            cast.end()
        found = overdue + self._check()
        counted = {"operator's commands": cast.commands(), "processes restarted": cast.restarts}
        counted |= reports.totals(self.database)
        return dict(faults.struck), counted, found

    def close(self, kept: bool) -> None:
        """End what is left; with ``kept``, copy the files from the disk that ends, too."""
        self.database.close()
        for link in self.links:
            link.close()
        self.disk.close(self.folder / "data.kept" if kept else None)

    def _start_runs(self, cast: ChaosProcesses, prefect: str) -> None:
        """Start two `eas run` of one job, which the supervisors also look at."""
        file = self.folder / "two-runs.json"
        file.write_text(json.dumps(chain("two-runs")), encoding="utf-8")
        for host in cast.hosts:
            host["PREFECT_API_URL"] = prefect  # type: ignore[index]
        options = ["--retries", "100", "--backoff", "0.02", "--max-stalls", "100"]
        cast.run(str(file), *options)
        self.expected += LEAVES
        deadline = time.monotonic() + SETTLE
        while time.monotonic() < deadline:
            if unfinished := self._unfinished():
                cast.run("--resume", str(unfinished[0]))
                return
            if cast.runs[0].poll() is not None:
                break
            time.sleep(0.2)
        raise RuntimeError(f"eas run has submitted no job: see {self.folder}/processes.log")

    def _feed(self) -> None:
        """Keep a job or two running."""
        try:
            while len(self._unfinished()) < 2:
                name = f"chaos-{self.jobs + 1}"
                parsed = parse_chain(json.dumps(chain(name)), "chaos.json", self.registry)
                submit(self.database, self.registry, parsed, SubmitOptions(retries=MANY, backoff=0.02, max_stalls=MANY))
                self.jobs += 1
                self.expected += LEAVES
        except EASError as error:
            print(f"[{self.name}] no job was submitted: {error.what}", flush=True)

    def _unfinished(self) -> list[int]:
        return [job.id for job in self.database.fetch(unfinished_jobs.unfinished)]

    def _settle(self, cast: ChaosProcesses) -> list[str]:
        """Put back what operators took away, and wait until all jobs are done."""
        queue = SQLQueue(AttemptClaims(self.database))
        resume(self.database, queue)
        deadline = time.monotonic() + SETTLE
        while time.monotonic() < deadline:
            cast.mend()
            # A cancellation may have been on its way; the workers' sweep publishes what is queued here.
            reschedule_failed(self.database, queue)
            if all(done for _, done in states(self.database)):
                return []
            time.sleep(1.0)
        return [f"not done {SETTLE:.0f} s after the last fault"]

    def _check(self) -> list[str]:
        store = LocalFileStore(self.folder / "data" / "store")
        # The maintenance that the next worker would do: no worker started after the last ones were killed.
        reap(self.database, SQLQueue(AttemptClaims(self.database)), LEASE)
        republish(self.database, store)
        url = make_url(self.database.url)
        place: dict[str, Any] = {"sqlite": url.database}
        if self.scene.engine == "mariadb":
            login = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
            place = {"mysql": login | {"database": url.database, "charset": "utf8mb4"}}
        request = place | {"store": str(store.root), "tasks": dict(self.expected)}
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.checker"],
            cwd=REPOSITORY, input=json.dumps(request), capture_output=True, text=True, check=False,
        )  # fmt: skip
        failed = [f"the checker failed: {done.stderr}"] if done.stderr or done.returncode not in (0, 1) else []
        return failed + done.stdout.splitlines() + reports.differences(self.database)

    def _environment(self) -> dict[str, str]:
        return self.seen_urls | {
            "EAS_HOME": str(self.folder / "home"),
            "EAS_DATA_DIR": str(self.folder / "data"),
            "EAS_LEASE": str(LEASE),
            "EAS_MAX_STALLS": str(MANY),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PATH": os.environ.get("PATH", ""),
        }
