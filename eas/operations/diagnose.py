"""Checks of the parts that the settings name: database, services, queue, file store, disks, versions."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib import metadata
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

import eas
from eas.filestore import open_store
from eas.filestore.opening import check_url, local_path
from eas.findings import Check, Finding, Level
from eas.operations.init import leaf_types
from eas.queues import open_queue
from eas.registry import BASE_WORKER_TYPE, Registry
from eas.settings import Settings
from eas.taskdb import migrate
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.queries import service_warnings
from eas.taskdb.service_lease import SCALER, SUPERVISOR, is_alive

MIN_FREE_BYTES = 1e9
"""Minimum free space of a disk [bytes]; less is reported as a problem."""
PACKAGES = ("prefect", "sqlalchemy", "pandas", "numpy", "pymysql", "pika")


def checks(settings: Settings, registry: Registry) -> dict[str, Check]:
    """Return the checks by name. None of them creates a database, a queue or a folder."""
    return {
        "database": partial(check_database, settings),
        "queue": partial(check_queue, settings, registry),
        "store": partial(check_store, settings),
        "disk": partial(check_disks, settings),
        "task types": partial(check_task_types, registry),
        "versions": check_versions,
    }


def check_database(settings: Settings) -> list[Finding]:
    """Check that the task database answers and has this release's schema; then workers, supervisor and scaler."""
    ok, note, problem = _levels("database")
    url = make_url(settings.database())
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        folder = _existing(Path(url.database or ".").absolute().parent)
        if not os.access(folder, os.W_OK | os.X_OK):
            return [problem(f"the folder {folder} cannot be written", "choose another one: EAS_HOME")]
        return [note(f"there is no database yet: {url.database}", "`eas db init`, or the first `eas run`, creates it")]
    with closing(TaskDatabase(settings.database(), timeout=0)) as database:
        with database.read() as connection:
            schema = migrate.current_revision(connection)
        newest = migrate.head_revision()
        where = f"{database.safe_url} answers"
        if schema is None:
            return [problem(f"{where}, but holds no tables of EAS", "run `eas db init`")]
        if schema < newest:
            return [problem(f"{where}; its schema is {schema}, this release needs {newest}", "run `eas db init`")]
        if schema > newest:
            hint = "use the release of eas that migrated it, or a later one"
            return [problem(f"{where}; its schema {schema} is newer than this release's, {newest}", hint)]
        now = database.now()
        return [ok(f"{where}, schema {schema}"), *database.fetch(lambda c: services(c, now, settings.lease))]


def services(connection: Connection, now: float, lease: float) -> list[Finding]:
    """Check workers, supervisor and scaler by their leases and heartbeats; ``lease`` is the lease of workers [s]."""
    alive = service_warnings.living_workers(connection, now, lease)
    kinds = ", ".join(f"{count} run {kind}" for kind, count in sorted(alive.items()) if kind != BASE_WORKER_TYPE)
    total = alive.get(BASE_WORKER_TYPE, 0)
    found = [
        Finding("workers", Level.OK, f"{total} alive{': ' if kinds else ''}{kinds}")
        if total
        else Finding("workers", Level.NOTE, "none is alive", "`eas run` starts its own; else: `eas worker`")
    ]
    missing = {
        SUPERVISOR: ("supervisor", "`eas run` needs none; submitted jobs do: `eas schedule`"),
        SCALER: ("scaler", "needed to start workers automatically: the deployment `scale-workers/eas`"),
    }
    for service, (name, hint) in missing.items():
        if is_alive(connection, service, now):
            found.append(Finding(name, Level.OK, "alive"))
        else:
            found.append(Finding(name, Level.NOTE, "not running", hint))
    return found + [_warning(text) for text in service_warnings.warnings(connection, now, lease)]


def _warning(text: str) -> Finding:
    """Return a warning about missing services as a finding; its last sentence says what to do."""
    message, _, hint = text.rpartition(". ")
    return Finding("services", Level.PROBLEM, message, hint)


def check_queue(settings: Settings, registry: Registry) -> list[Finding]:
    """Check that the broker answers, if the queue has one."""
    url = settings.queue_url.get_secret_value()
    # Counting messages does not read the database.
    with closing(TaskDatabase("sqlite://")) as unused, closing(open_queue(url, AttemptClaims(unused))) as job_queue:
        counts = job_queue.message_counts(leaf_types(registry))
    if counts is None:
        return [Finding("queue", Level.OK, "in the task database, without a broker")]
    return [Finding("queue", Level.OK, f"the broker answers; it holds {sum(counts.values())} messages")]


def check_store(settings: Settings) -> list[Finding]:
    """Check that the file store can be written. A missing local folder is not created."""
    ok, note, problem = _levels("store")
    check_url(settings.store_location)
    path = local_path(settings.store_location)
    if path is not None and not path.exists():
        folder = _existing(path)
        if not os.access(folder, os.W_OK | os.X_OK):
            hint = "check the owner of that folder, or set EAS_STORE_URL or EAS_DATA_DIR"
            return [problem(f"the file store cannot be created: {folder} cannot be written", hint)]
        return [note(f"there is no folder {path} yet", "the first task that stores a file creates it")]
    store = open_store(
        settings.store_location, settings.store_options.get_secret_value(), scratch=settings.scratch_directory
    )
    store.check()
    return [ok(f"{store.name} can be written")]


def check_disks(settings: Settings) -> list[Finding]:
    """Check the free space of the disks that hold the data, the settings and temporary files."""
    ok, _, problem = _levels("disk")
    found: dict[int, Finding] = {}
    for folder in (settings.data_directory, settings.home, Path(tempfile.gettempdir())):
        existing = _existing(folder.absolute())
        space = shutil.disk_usage(existing)
        text = f"{space.free / 1e9:.1f} GB of {space.total / 1e9:.1f} GB free at {existing}"
        enough = space.free >= MIN_FREE_BYTES
        finding = ok(text) if enough else problem(text, "free some space, or set EAS_DATA_DIR or TMPDIR")
        found.setdefault(existing.stat().st_dev, finding)
    return list(found.values())


def check_task_types(registry: Registry) -> list[Finding]:
    """List the worker types that can run here, and the missing modules of the others."""
    ok, note, _ = _levels("task types")
    found = [ok(f"workers of this machine can run {', '.join(registry.installed_worker_types())}")]
    for kind in registry.worker_types.values():
        types = [each for each in registry.task_types.values() if each.worker_type == kind.name]
        missing = sorted({module for each in types for module in each.missing_modules()})
        if missing:
            install = f"pip install 'eas-prefect[{kind.extra}]'" if kind.extra else f"install {', '.join(missing)}"
            found.append(note(f"{kind.name} cannot run here: {', '.join(missing)} is not installed", install))
    return found


def check_versions() -> list[Finding]:
    """Return the versions of EAS, Python and the most important packages."""
    versions = [f"eas {eas.__version__}", f"Python {platform.python_version()}"]
    versions += [f"{name} {metadata.version(name)}" for name in PACKAGES]
    return [Finding("versions", Level.OK, ", ".join(versions))]


def _levels(check: str) -> tuple[Callable[..., Finding], Callable[..., Finding], Callable[..., Finding]]:
    """Return three functions that create findings of a check: ok, note, problem."""
    ok, note, problem = (partial(Finding, check, level) for level in (Level.OK, Level.NOTE, Level.PROBLEM))
    return ok, note, problem


def _existing(path: Path) -> Path:
    """Return the folder itself, or the nearest one above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())
