"""A Prefect server, a process worker and all deployments, set up by the README's own commands."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.acceptance import prefect_server
from tests.acceptance.conftest import Home
from tests.acceptance.prefect_server import PREFECT, ask_prefect
from tests.processes import ROOT, TIMEOUT, free_port, wait_for

PREFIX = ".venv/bin/prefect "
OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def section(title: str) -> list[str]:
    """Return the commands of one section of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {re.escape(title)}\n(.*?)^## ", text, flags=re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"```sh\n(.*?)```", body, flags=re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@dataclass
class PrefectInstallation:
    """The README's set-up in a folder of its own, on a port of its own."""

    home: Home
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return prefect_server.api_url(self.port)

    def run_readme_command(self, command: str) -> str:
        """Run a command of the README as it stands there, but for the port; what stays, stays behind."""
        arguments = shlex.split(command.replace("127.0.0.1:4200", f"127.0.0.1:{self.port}"))[1:]
        if arguments[1:2] == ["start"]:
            self._stay(arguments)
            return ""
        return self.prefect(*arguments)

    def _stay(self, arguments: list[str]) -> None:
        log = self.home.folder / f"{arguments[0]}.log"
        if arguments[0] == "server":
            self.processes.append(prefect_server.start(arguments, self.home.environment, self.port, log))
            return
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*PREFECT, *arguments],
                cwd=ROOT, env=self.home.environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)

    def prefect(self, *arguments: str) -> str:
        done = subprocess.run(
            [*PREFECT, *arguments],
            cwd=ROOT, env=self.home.environment, capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, deployment: str, **parameters: Any) -> str:
        """Start a deployment and return the flow run's id."""
        return flow_run_id(self.prefect("deployment", "run", deployment, "--params", json.dumps(parameters)))

    def ask(self, path: str, **body: Any) -> Any:
        return ask_prefect(self.url, path, body)

    def flow_run(self, run: str) -> dict[str, Any]:
        (found,) = self.ask("/flow_runs/filter", flow_runs={"id": {"any_": [run]}})
        return dict(found)

    def ended(self, run: str, timeout: float = 2 * TIMEOUT) -> dict[str, Any]:
        """Wait until a flow run is over and return it."""

        def over() -> dict[str, Any] | None:
            found = self.flow_run(run)
            return found if found["state_type"] in OVER else None

        return dict(wait_for(over, f"the flow run {run} to end", timeout))

    def runs_of_job(self, job_id: int) -> list[dict[str, Any]]:
        """Return the flow runs that drove a job, the newest first."""
        tagged = {"tags": {"all_": [f"job-{job_id}"]}}
        return list(self.ask("/flow_runs/filter", flow_runs=tagged, sort="START_TIME_DESC"))

    def log(self, run: str) -> str:
        """Return the messages that a flow run has logged so far, one on a line."""
        body = {"logs": {"flow_run_id": {"any_": [run]}}}
        return "\n".join(record["message"] for record in self.ask("/logs/filter", **body))

    def artifact(self, key: str) -> dict[str, Any]:
        """Wait for the newest artifact of a key."""
        body = {"artifacts": {"key": {"any_": [key]}}}
        return dict(wait_for(lambda: self.ask("/artifacts/latest/filter", **body), f"the artifact {key}")[0])

    def count_task_runs(self, run: str, states: list[str] | None = None) -> int:
        body: dict[str, Any] = {"flow_runs": {"id": {"any_": [run]}}}
        if states:
            body["task_runs"] = {"state": {"type": {"any_": states}}}
        return int(self.ask("/task_runs/count", **body))

    def submit(self, chain: Path) -> int:
        return int(self.home.eas("submit", chain).stdout)

    def job_state(self, job_id: int) -> str:
        return str(self.home.rows(f"SELECT state FROM jobs WHERE id={job_id}")[0].state)

    def close(self) -> None:
        """End everything: services that stay, workers, the Prefect worker and the server."""
        ours = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in ours:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(ours, timeout=15)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for each in self.processes:
            each.wait()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("EAS_HOME") == self.home.environment["EAS_HOME"]
        except psutil.Error:
            return False


def flow_run_id(output: str) -> str:
    """Return the flow run's id from what ``prefect deployment run`` said."""
    found = re.search(r"UUID: ([0-9a-f-]{36})", output)
    assert found, output
    return found[1]
