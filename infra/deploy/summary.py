"""What `eas status` shows of the task database; ``python -m infra.deploy.summary`` prints it as JSON, in a pod."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from eas.app import App
from eas.orchestration import scaling
from eas.taskdb import service_lease
from eas.taskdb.queries import status
from eas.taskdb.queries.service_warnings import warnings
from infra.deploy import command

Object = dict[str, Any]
MAX_MESSAGE = 300
SERVICES = {"supervisor": service_lease.SUPERVISOR, "scaler": service_lease.SCALER}
VOLUMES = {"eas-output": Path("/data")}


def summary(app: App) -> Object:
    """Return queues, workers, unfinished jobs and the last errors as plain data, without secrets."""
    loads = scaling.read_loads(app.database, app.registry, lease=app.settings.lease)
    now = app.database.now()
    jobs, errors, found, renewed = app.database.fetch(
        lambda c: (
            status.unfinished_jobs(c),
            status.last_errors(c),
            warnings(c, now, app.settings.lease),
            {name: service_lease.last_renewal(c, key) for name, key in SERVICES.items()},
        )
    )
    return {
        "services": {name: None if at is None else round(now - at, 1) for name, at in renewed.items()},
        "volumes": _volumes(),
        "warning": "; ".join(found),
        "queues": [
            {"worker_type": each.worker_type, "queued": each.queued, "running": each.running, "workers": each.workers}
            for each in loads
        ],
        "jobs": [{"id": row.id, "name": row.name, "state": row.state} for row in jobs],
        "errors": [
            {
                "at": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.logged_at)),
                "job": row.job_name,
                "message": row.message[:MAX_MESSAGE],
            }
            for row in errors
        ],
    }


def _volumes() -> Object:
    """Return size and free space of the volumes that are mounted here."""
    found = {}
    for name, path in VOLUMES.items():
        if path.is_dir():
            usage = shutil.disk_usage(path)
            found[name] = {"total": usage.total, "free": usage.free}
    return found


def main() -> int:
    """Print it; return the exit code."""

    def show() -> None:
        with App.load() as app:
            sys.stdout.write(json.dumps(summary(app)) + "\n")

    return command.run(show)


if __name__ == "__main__":
    sys.exit(main())
