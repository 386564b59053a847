"""Real processes: the ``eas`` command, workers, a Prefect server, each test in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import create_engine, inspect, text

from eas import registry
from eas.queues.rabbitmq import PREFIX
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from infra.services import rabbitmq, service_state
from tests.acceptance.prefect_server import serving
from tests.processes import TIMEOUT, clean_environment
from tests.services import drop_database, empty_mariadb, mariadb_server, rabbitmq_server, remove_queues

__all__ = ["empty_mariadb"]

EAS = [sys.executable, "-m", "eas"]


@dataclass
class Home:
    """A folder with a task database of its own, and the command line on it."""

    folder: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def eas(self, *arguments: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*EAS, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if code is not None:
            assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*EAS, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        """Kill what a failed test left running, so that it disturbs no other test."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    @property
    def database_url(self) -> str:
        return self.environment.get("EAS_DATABASE_URL") or f"sqlite:///{self.folder / 'eas-data' / 'eas.sqlite'}"

    def rows(self, query: str) -> list[Any]:
        path = self.database_url.removeprefix("sqlite:///")
        if path != self.database_url and not Path(path).exists():
            return []
        engine = create_engine(self.database_url)
        try:
            with engine.connect() as connection:
                if not inspect(connection).has_table("attempts"):
                    return []  # it is being made
                return list(connection.execute(text(query)).all())
        finally:
            engine.dispose()

    def chain(self, *tasks: dict[str, Any], name: str = "chain") -> Path:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"job_name": name, "working_directory": name, "task_list": list(tasks)}))
        return path

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes that work for this folder."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            try:
                if "-m eas worker" in " ".join(command) and process.environ().get("EAS_HOME") == str(
                    self.folder / "eas-data"
                ):
                    found.append(process)
            except psutil.Error:
                continue
        # A child that was forked a moment ago still shows its parent's command line.
        ids = {process.pid for process in found}
        return [process for process in found if _parent(process) not in ids]


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


@contextmanager
def home_of(folder: Path, environment: dict[str, str]) -> Iterator[Home]:
    """Give a home folder; what runs on it at the end is killed."""
    home = Home(folder, environment)
    try:
        yield home
    finally:
        home.close()


def loop(values: int, *body: dict[str, Any]) -> dict[str, Any]:
    """Return a loop over numbers from 0, with these tasks in each iteration."""
    return {"task": "execution_for_loop", "parameter": "i", "values": list(range(values)), "task_list": list(body)}


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one Prefect server for the session and give its API's URL."""
    with serving(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture
def bare_home(tmp_path: Path) -> Iterator[Home]:
    """A folder where nothing is configured: the embedded default."""
    with home_of(tmp_path, clean_environment()) as home:
        yield home


COMBINATIONS = ("sqlite+sql", "mariadb+sql", "mariadb+rabbitmq")
"""Task database and job queue."""


@pytest.fixture(scope="session")
def virtual_host(worker_id: str) -> str:
    """Return the URL of a RabbitMQ virtual host of this test process: queues have fixed names."""
    url = rabbitmq_server()
    state = service_state.read()
    assert state is not None
    name = f"test-{worker_id}"
    if name not in rabbitmq.control(state, "list_vhosts", "--silent").split():
        rabbitmq.control(state, "add_vhost", name)
        rabbitmq.control(state, "set_permissions", "-p", name, "eas", ".*", ".*", ".*")
    return f"{url.rpartition('/')[0]}/{name}"


@contextmanager
def services_of(combination: str, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Give the environment of a new task database and a new job queue."""
    if combination == "sqlite+sql":
        yield {}
        return
    environment = {"EAS_DATABASE_URL": f"{mariadb_server()}eas_test_{uuid.uuid4().hex[:12]}"}
    if combination.endswith("rabbitmq"):
        environment["EAS_QUEUE_URL"] = request.getfixturevalue("virtual_host")
    database = TaskDatabase(environment["EAS_DATABASE_URL"])
    database.create()
    initialise(database, registry.load())
    database.close()
    yield environment
    drop_database(environment["EAS_DATABASE_URL"])
    if "EAS_QUEUE_URL" in environment:
        remove_queues(environment["EAS_QUEUE_URL"], PREFIX)


@pytest.fixture(params=COMBINATIONS)
def combination(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Environment of each combination of task database and job queue."""
    with services_of(request.param, request) as environment:
        yield environment


@pytest.fixture
def plain_home(tmp_path: Path, combination: dict[str, str]) -> Iterator[Home]:
    """A folder on each combination of task database and job queue, without Prefect."""
    with home_of(tmp_path, clean_environment() | combination) as home:
        yield home


@pytest.fixture
def home(plain_home: Home, prefect_server: str) -> Home:
    """A folder on each combination of task database and job queue, with a Prefect server."""
    plain_home.environment |= {
        "PREFECT_API_URL": prefect_server,
        "PREFECT_HOME": str(plain_home.folder / "prefect-home"),
    }
    return plain_home


NO_BROWSER = "chromium is not installed: `make services` as root, or apt-get install chromium"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(NO_BROWSER)
        pytest.skip(NO_BROWSER)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()
