"""``python -m infra.deploy.setup``: what must be there before the first job, done inside the cluster.

Schema and queues; what each worker type gets, into SQL; the work pool with EAS's job template; the
deployments. Every step may be repeated. What `eas deploy` decided comes in ``EAS_DEPLOYMENT``.
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

from eas.app import App
from eas.errors import EASError, ServiceError
from eas.queues.rabbitmq import RabbitMQQueue
from eas.taskdb import worker_types
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from infra.deploy import command
from infra.deploy.resources import Assigned

LOG = logging.getLogger("eas.setup")
Object = dict[str, Any]
POOL = "eas-kubernetes"
ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "infra" / "work_pools" / "kubernetes.json"
PATIENCE = 120.0
"""So long services may take to come up [s]."""


def prepare_services(app: App, decided: Mapping[str, Any]) -> None:
    """Make or migrate the schema, declare the queues, write down what worker types get."""
    database = TaskDatabase(app.settings.database())
    try:
        database.create()
        LOG.info("task database %s: %s", database.safe_url, initialise(database, app.registry))
        given = {
            name: worker_types.Assigned(each["cpu"], each["gpu"], each["memory"])
            for name, each in decided.get("workers", {}).items()
        }
        unknown = database.transact(lambda c: worker_types.assign(c, given))
        for name in unknown:
            LOG.warning("the task database does not know the worker type %s", name)
    finally:
        database.close()
    if isinstance(app.queue, RabbitMQQueue):
        app.queue.declare([each.name for each in app.registry.task_types.values() if not each.control])
        LOG.info("queues declared")


def pool_template(template: Object, decided: Mapping[str, Any], namespace: str) -> Object:
    """Return the base job template with this deployment's image and namespace as defaults."""
    changed = copy.deepcopy(template)
    properties = changed["variables"]["properties"]
    properties["namespace"]["default"] = namespace
    if decided.get("image"):
        properties["image"]["default"] = decided["image"]
    return changed


def deployments(content: Object, decided: Mapping[str, Any], root: Path = ROOT) -> Object:
    """Return ``prefect.yaml`` for the cluster.

    Everything goes to the Kubernetes pool and runs from the image's folder; of the workers only those
    are in it that `eas deploy` named, each with its image and resources.
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
            pool["job_variables"] = pool.get("job_variables", {}) | _variables(workers[worker_type])
        elif "workers" in each.get("parameters", {}):
            each["parameters"]["workers"] = 0  # the scaler starts them, in pods of their own
        kept.append(each)
    known = {each.get("parameters", {}).get("worker_type") for each in kept}
    kept += [_work(name, each) for name, each in decided.get("workers", {}).items() if name not in known]
    return changed | {"deployments": kept}


def _variables(given: Mapping[str, Any]) -> Object:
    assigned = Assigned(given["cpu"], given["gpu"], given["memory"])
    return assigned.job_variables() | {"image": given["image"]}


def _work(name: str, given: Mapping[str, Any]) -> Object:
    """Return a deployment for a worker type of a third party, which prefect.yaml does not know."""
    return {
        "name": name,
        "entrypoint": "flows/work.py:work",
        "description": "A worker of this type, which leaves when it is idle.",
        "tags": ["eas", "worker"],
        "enforce_parameter_schema": True,
        "parameters": {"worker_type": name},
        "work_pool": {"name": POOL, "work_queue_name": name, "job_variables": _variables(given)},
    }


def prepare_prefect(decided: Mapping[str, Any], namespace: str) -> None:
    """Make or update the work pool and the deployments."""
    template = pool_template(json.loads(TEMPLATE.read_text(encoding="utf-8")), decided, namespace)
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        pool, file = Path(folder) / "pool.json", Path(folder) / "prefect.yaml"
        pool.write_text(json.dumps(template), encoding="utf-8")
        file.write_text(yaml.safe_dump(deployments(content, decided)), encoding="utf-8")
        _prefect("work-pool", "create", POOL, "--type", "kubernetes", "--base-job-template", str(pool), "--overwrite")
        LOG.info("work pool %s: ready", POOL)
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(file))
        LOG.info("deployments: ready")


def require_server() -> None:
    """Raise ServiceError unless the Prefect server answers."""
    url = os.environ.get("PREFECT_API_URL", "")
    try:
        httpx.get(f"{url}/health", timeout=5.0).raise_for_status()
    except httpx.HTTPError as error:
        raise ServiceError(f"the Prefect server at {url} cannot be reached: {error}", cure="see `eas status`") from None


def _prefect(*arguments: str) -> None:
    command = [sys.executable, "-m", "prefect", *arguments]
    # `prefect deploy` runs in the folder of the code; some runtimes set no PWD.
    environment = dict(os.environ) | {"PWD": str(ROOT), "PREFECT_DEFAULT_WORK_POOL_NAME": POOL}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise EASError(f"`prefect {' '.join(arguments[:3])}` failed:\n{said}", cure="see the Prefect server's log")


def _patiently(step: Callable[[], None], patience: float = PATIENCE) -> None:
    """Do a step again while a service that it needs is not there yet."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return step()
        except ServiceError as error:
            if time.monotonic() > deadline:
                raise
            LOG.info("waiting: %s", error.what)
            time.sleep(3.0)


def prepare() -> None:
    """Prepare everything, waiting for services that are not there yet."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    decided = json.loads(os.environ.get("EAS_DEPLOYMENT") or "{}")
    namespace = os.environ.get("EAS_NAMESPACE") or "plato"

    def services() -> None:
        with App.load() as app:
            prepare_services(app, decided)

    _patiently(services)
    _patiently(require_server)
    prepare_prefect(decided, namespace)


def main() -> int:
    """Prepare everything; return the exit code."""
    return command.run(prepare)


if __name__ == "__main__":
    sys.exit(main())
