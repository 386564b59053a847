"""A deployment on a real cluster: `eas` commands as processes, `kubectl` for what an operator does by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.deploy.manifests import kubectl

Object = dict[str, Any]
TIMEOUT = 600.0


@dataclass(frozen=True)
class Deployment:
    """One namespace of the cluster that KUBECONFIG names, and where its images are."""

    namespace: str
    registry: str
    tag: str

    def eas(self, *arguments: str, code: int = 0) -> str:
        """Run an `eas` command here; return what it wrote, errors included."""
        command = [sys.executable, "-m", "eas", *arguments, "--namespace", self.namespace]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "Traceback" not in said
        return said

    def deploy(self, *arguments: str, code: int = 0) -> str:
        """Run `eas deploy` with this deployment's images."""
        return self.eas("deploy", "--registry", self.registry, *arguments, code=code)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl in the namespace; return its output."""
        command = [kubectl(), "-n", self.namespace, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def inside(self, *arguments: str, stdin: str = "") -> str:
        """Run an `eas` command in the supervisor's pod; return its output."""
        return self.kubectl("exec", "-i", "deploy/supervisor", "-c", "supervisor", "--", "eas", *arguments, stdin=stdin)

    def pods(self, selector: str) -> list[Object]:
        """Return the pods that a label selector chooses."""
        return list(json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"])

    def submit(self, chain: Object) -> int:
        """Submit a chain; return the job's id."""
        return int(json.loads(self.inside("submit", "--json", "/dev/stdin", stdin=json.dumps(chain)))["job_id"])

    def totals(self, job: int) -> dict[str, int]:
        """Return how many `null` tasks of a job are in each state. Fails where there is no such job."""
        rows = json.loads(self.inside("report", "progress", "--job", str(job), "--json"))
        states = ("waiting", "queued", "running", "stalled", "failed", "blocked", "done", "cancelled")
        return {state: sum(row[state] for row in rows if row["task_type"] == "null") for state in states}


def until(condition: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        time.sleep(2.0)


def from_environment() -> Deployment | None:
    """Return the deployment that the environment asks for, None where it asks for none."""
    if not os.environ.get("EAS_TEST_CLUSTER"):
        return None
    return Deployment(
        os.environ.get("EAS_TEST_NAMESPACE", "eas-test"),
        os.environ.get("EAS_TEST_REGISTRY", "localhost"),
        os.environ.get("EAS_TEST_TAG", "") or _release(),
    )


def _release() -> str:
    import eas

    return eas.__version__
