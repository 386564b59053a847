"""``python -m infra.deploy.setup``: prepare the services before the first job, inside the cluster.

Creates schema and queues, records the resources of worker types in SQL, and creates the work pool with its
job template and the deployments. Every step is idempotent. ``EAS_DEPLOYMENT`` has the decisions of `eas deploy`.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, WorkPoolFilter, WorkPoolFilterName
from sqlalchemy import Connection

from eas.app import App
from eas.errors import EASError, ServiceError
from eas.operations.init import init_database, init_queue
from eas.settings import safe_url
from eas.taskdb import worker_types
from infra.deploy import command, newest_setup
from infra.deploy.resources import PodResources

LOG = logging.getLogger("eas.setup")
Object = dict[str, Any]
POOL = "eas-kubernetes"
ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "infra" / "work_pools" / "kubernetes.json"
TIMEOUT = 300.0
"""Maximum time to wait for services [s]."""


def prepare_services(app: App, decided: Mapping[str, Any]) -> None:
    """Create or migrate the schema, declare the queues, record the resources of worker types."""
    url = app.settings.database()
    LOG.info("task database %s: %s", safe_url(url), init_database(url, app.registry))
    number = decided.get("number")
    given = {
        name: worker_types.Assigned(each["cpu"], each["gpu"], each["memory"])
        for name, each in decided.get("workers", {}).items()
    }

    def assign(connection: Connection) -> list[str]:
        if number is not None:
            newest_setup.claim(connection, int(number))
        return worker_types.assign(connection, given)

    unknown = app.database.transact(assign)
    for name in unknown:
        LOG.warning("the task database has no worker type %s", name)
    declared = init_queue(app.settings.queue_url.get_secret_value(), url, app.registry)
    LOG.info("%d queues declared", declared)


def pool_template(template: Object, decided: Mapping[str, Any], namespace: str) -> Object:
    """Return the base job template with this deployment's image, namespace and address of `eas web` as defaults."""
    changed = copy.deepcopy(template)
    properties = changed["variables"]["properties"]
    properties["namespace"]["default"] = namespace
    if decided.get("image"):
        properties["image"]["default"] = decided["image"]
    if decided.get("web_url"):
        properties["env"]["default"]["EAS_WEB_URL"] = decided["web_url"]
    return changed


def deployments(content: Object, decided: Mapping[str, Any], root: Path = ROOT) -> Object:
    """Return ``prefect.yaml`` for the cluster.

    All deployments use the Kubernetes pool and run from the image's folder. Of the worker types it contains
    only those given to `eas deploy`, each with its image and resources.
    """
    changed: Object = json.loads(json.dumps(content))  # resolves YAML's anchors into copies
    changed.pop("definitions", None)
    changed["pull"] = [{"prefect.deployments.steps.set_working_directory": {"directory": str(root)}}]
    kept = []
    for each in changed["deployments"]:
        worker_type = each.get("parameters", {}).get("worker_type")
        workers = decided.get("workers", {})
        if worker_type is not None and worker_type not in workers:
            continue
        pool = each.setdefault("work_pool", {})
        pool["name"] = POOL
        if worker_type is not None:
            pool["job_variables"] = pool.get("job_variables", {}) | _variables(decided, worker_type)
        elif "workers" in each.get("parameters", {}):
            each["parameters"]["workers"] = 0  # the scaler starts them, in their own pods
        kept.append(each)
    known = {each.get("parameters", {}).get("worker_type") for each in kept}
    kept += [_work(name, decided) for name in decided.get("workers", {}) if name not in known]
    return changed | {"deployments": kept}


def _variables(decided: Mapping[str, Any], worker_type: str) -> Object:
    given = decided["workers"][worker_type]
    assigned = PodResources(given["cpu"], given["gpu"], given["memory"])
    priority = {"priority_class": decided["priority_class"]} if decided.get("priority_class") else {}
    return assigned.job_variables() | {"image": given["image"]} | priority


def _work(name: str, decided: Mapping[str, Any]) -> Object:
    """Return a deployment for a third-party worker type, which prefect.yaml does not contain."""
    return {
        "name": name,
        "entrypoint": "flows/work.py:work",
        "description": "A worker of this type, which exits when it is idle.",
        "tags": ["eas", "worker"],
        "enforce_parameter_schema": True,
        "parameters": {"worker_type": name},
        "work_pool": {"name": POOL, "work_queue_name": name, "job_variables": _variables(decided, name)},
    }


def prepare_prefect(
    decided: Mapping[str, Any], namespace: str, require_wanted: Callable[[], None] = lambda: None
) -> None:
    """Create or update the work pool and the deployments; ``require_wanted`` raises if this setup is superseded."""
    template = pool_template(json.loads(TEMPLATE.read_text(encoding="utf-8")), decided, namespace)
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        pool, file = Path(folder) / "pool.json", Path(folder) / "prefect.yaml"
        pool.write_text(json.dumps(template), encoding="utf-8")
        file.write_text(yaml.safe_dump(deployments(content, decided)), encoding="utf-8")
        require_wanted()
        _prefect("work-pool", "create", POOL, "--type", "kubernetes", "--base-job-template", str(pool), "--overwrite")
        LOG.info("work pool %s: ready", POOL)
        require_wanted()
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(file))
    if decided.get("workers"):
        require_wanted()
        _remove_others(set(decided["workers"]))
    LOG.info("deployments: ready")


def _remove_others(workers: set[str]) -> None:
    """Remove the `work` deployments of worker types that are no longer deployed, so that the scaler starts none."""
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    flow = FlowFilter(name=FlowFilterName(any_=["work"]))
    try:
        with get_client(sync_client=True) as client:
            for each in client.read_deployments(flow_filter=flow, work_pool_filter=pool):
                if each.parameters.get("worker_type") not in workers:
                    client.delete_deployment(each.id)
                    LOG.info("deployment work/%s: removed", each.name)
    except httpx.HTTPError as error:
        raise _unreachable(error) from None


def require_server() -> None:
    """Raise ServiceError unless the Prefect server answers."""
    url = os.environ.get("PREFECT_API_URL", "")
    try:
        httpx.get(f"{url}/health", timeout=5.0).raise_for_status()
    except httpx.HTTPError as error:
        raise _unreachable(error) from None


def _unreachable(error: httpx.HTTPError) -> ServiceError:
    url = os.environ.get("PREFECT_API_URL", "")
    return ServiceError(f"the Prefect server at {url} cannot be reached: {error}", hint="see `eas status`")


def _prefect(*arguments: str) -> None:
    command = [sys.executable, "-m", "prefect", *arguments]
    # `prefect deploy` runs in the folder of the code; some runtimes set no PWD.
    environment = dict(os.environ) | {"PWD": str(ROOT), "PREFECT_DEFAULT_WORK_POOL_NAME": POOL}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        require_server()  # wait while it is unavailable
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise EASError(f"`prefect {' '.join(arguments[:3])}` failed:\n{said}", hint="see the Prefect server's log")


def _with_retries(step: Callable[[], None], timeout: float = TIMEOUT) -> None:
    """Retry a step while a service that it needs is unavailable."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return step()
        except ServiceError as error:
            if time.monotonic() > deadline:
                raise
            LOG.info("waiting: %s", error.what)
            time.sleep(3.0)


def prepare() -> None:
    """Prepare everything, waiting for services that are not available yet."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    decided = json.loads(os.environ.get("EAS_DEPLOYMENT") or "{}")
    namespace = os.environ.get("EAS_NAMESPACE") or "plato"

    def services() -> None:
        with App.load() as app:
            prepare_services(app, decided)

    _with_retries(services)

    def require_wanted() -> None:
        with App.load() as app:
            newest_setup.require_newest(app.database, decided.get("number"))

    _with_retries(require_server)
    _with_retries(lambda: prepare_prefect(decided, namespace, require_wanted))


def main() -> int:
    """Prepare everything; return the exit code."""
    return command.run(prepare)


if __name__ == "__main__":
    sys.exit(main())
