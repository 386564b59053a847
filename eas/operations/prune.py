"""Remove old jobs and the staging folders of killed workers, while other jobs run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from eas.filestore import FileStore
from eas.model import NewVersion
from eas.taskdb import prune as statements
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.prune import RemovedVersion, RowCounts

WRITE_PAUSE = 0.02
"""Pause [s] after each transaction, so that other processes can write: sqlite allows one writer at a time."""
MAX_CLOCK_SKEW = 3600.0
"""Maximum clock difference between machines, and minimum age of a staging folder that is removed [s]."""


@dataclass
class Pruned:
    """The jobs and files that pruning has removed, or would remove.

    Attributes
    ----------
    jobs:
        Ids of the jobs that are removed.
    reduced:
        Ids of jobs that are still needed: only their logs and superseded attempts are removed.
    removed:
        Rows and versions of file products that are removed.
    leftovers:
        Staging folders that killed workers left behind.
    """

    jobs: list[int] = field(default_factory=list)
    reduced: list[int] = field(default_factory=list)
    removed: RowCounts = field(default_factory=RowCounts)
    leftovers: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """One line: ``4 jobs (40 tasks, 41 attempts, 12 log entries, 8 file versions of 0.1 MB), ...``."""
        extent = self.removed
        return (
            f"{len(self.jobs)} jobs; of them and of {len(self.reduced)} others that stay: {extent.tasks} tasks, "
            f"{extent.attempts} attempts, {extent.log_entries} log entries, {extent.versions} file versions of "
            f"{extent.size / 1e6:.1f} MB; {len(self.leftovers)} staging folders of killed workers"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self) | {"removed": self.removed._asdict()}


def plan(database: TaskDatabase, store: FileStore, before: float, *, products: bool = False) -> Pruned:
    """Return what ``prune`` would remove now; changes nothing."""

    def look(connection: Connection) -> Pruned:
        old = [row.id for row in statements.ended_before(connection, before)]
        extents = {job_id: statements.extent(connection, job_id) for job_id in old}
        readers = statements.readers(connection, old)
        found = Pruned()
        for job_id in old:  # newest first, so that a job whose products only removed jobs have read can be removed, too
            made = extents[job_id].versions
            kept = made and (not products or statements.directory_in_use(connection, job_id))
            if not kept and not readers.get(job_id, set()) - set(found.jobs):
                found.jobs.append(job_id)
                found.removed += extents[job_id]
                continue
            less = RowCounts(0, len(statements.superseded_attempts(connection, job_id)), extents[job_id].log_entries)
            if any(less):
                found.reduced.append(job_id)
                found.removed += less
        return found

    found = database.fetch(look)
    found.leftovers = [str(folder) for folder in orphaned_staging_folders(database, store)]
    return found


def prune(database: TaskDatabase, store: FileStore, before: float, *, products: bool = False) -> Pruned:
    """Remove jobs that ended before the time ``before`` [Unix s], in short transactions.

    A job is removed with its tasks, attempts and logs if it made no file product. With ``products``,
    one that did is removed as well, with the stored versions, unless another job has read or kept one
    of them, or may read it: an unfinished job that works in the same directory. A job that stays loses
    its logs and superseded attempts: neither accepted nor the last of their task. Staging folders that
    killed workers left behind are removed in any case.

    The process may be killed at any moment: the next call continues.
    """
    chosen = plan(database, store, before, products=products)
    done = Pruned()
    for job_id in chosen.jobs:
        now = database.now()
        mark = partial(statements.mark_for_removal, job_id=job_id, before=before, now=now, products=products)
        if database.transact(mark):
            done.removed += _remove(database, store, job_id)
            done.jobs.append(job_id)
    for job_id in chosen.reduced:
        log = _in_chunks(database, statements.remove_log, job_id)
        attempts = _in_chunks(database, statements.remove_superseded, job_id)
        done.removed += RowCounts(0, attempts, log)
        done.reduced.append(job_id)
    for folder in orphaned_staging_folders(database, store):
        shutil.rmtree(folder, ignore_errors=True)
        done.leftovers.append(str(folder))
    return done


def _remove(database: TaskDatabase, store: FileStore, job_id: int) -> RowCounts:
    extent = database.fetch(lambda c: statements.extent(c, job_id))
    _in_chunks(database, statements.remove_log, job_id)
    _in_chunks(database, statements.remove_inputs, job_id)
    while True:
        count, versions = database.transact(lambda c: statements.remove_attempts(c, job_id))
        # If the process is killed here, the files remain and take space, but are never read.
        for version in versions:
            _remove_file(store, version)
        if not count:
            break
        time.sleep(WRITE_PAUSE)
    _in_chunks(database, statements.remove_tasks, job_id)
    database.transact(lambda c: statements.remove_job(c, job_id))
    return extent


def _in_chunks(database: TaskDatabase, remove: Callable[[Connection, int], int], job_id: int) -> int:
    total = 0
    while count := database.transact(lambda c: remove(c, job_id)):
        total += count
        time.sleep(WRITE_PAUSE)
    return total


def _remove_file(store: FileStore, version: RemovedVersion) -> None:
    if version.was_current:
        if version.successor is None:
            store.unpublish(version.working_directory, version.file_name)
        else:
            store.publish(version.working_directory, version.file_name, version.successor)
    store.discard(NewVersion("", version.file_name, version.store_path, 0, ""))


def orphaned_staging_folders(database: TaskDatabase, store: FileStore) -> list[Path]:
    """Return the staging folders of this file store that no living worker can have made.

    A worker creates its staging folder after it has started. A folder that was last changed before the oldest
    living worker started, allowing for clock differences, therefore belongs to no living worker.
    """
    oldest = database.fetch(statements.oldest_worker)
    limit = min(time.time(), database.now() if oldest is None else oldest) - MAX_CLOCK_SKEW
    found = []
    for folder in sorted(store.scratch.iterdir()) if store.scratch.is_dir() else []:
        try:
            if folder.is_dir() and not folder.is_symlink() and folder.stat().st_mtime < limit:
                found.append(folder)
        except FileNotFoundError:
            continue  # its worker has just removed it
    return found
