"""Builds database, queue, file store, orchestrators and workers from the settings (composition root).

Orchestrators, workers and queues are imported only when they are used: a report needs none of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy.engine import make_url

from eas import registry, settings
from eas.filestore import FileStore, open_store
from eas.registry import Registry
from eas.settings import Settings
from eas.taskdb import worker_types
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import ensure_schema

if TYPE_CHECKING:
    from eas.orchestration.local_workers import LocalWorkers
    from eas.orchestration.orchestrator import Orchestrator
    from eas.queues.base import JobQueue
    from eas.worker.worker import Worker, WorkerOptions


@dataclass
class App:
    """The parts of EAS for given settings. Connections are opened when they are first used."""

    settings: Settings

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the settings; ``overrides`` come from a command line and win where they are not None."""
        return cls(settings.load(**overrides))

    @cached_property
    def registry(self) -> Registry:
        """Task types and worker types that are installed here."""
        return registry.load()

    @cached_property
    def database(self) -> TaskDatabase:
        """The task database; a sqlite file is created or migrated on first use."""
        database = TaskDatabase(self.settings.database())
        ensure_schema(database, self.registry)
        return database

    def has_database(self) -> bool:
        """Whether the task database exists; does not create it."""
        url = make_url(self.settings.database())
        if url.get_backend_name() != "sqlite":
            return True
        return bool(url.database) and Path(str(url.database)).exists()

    @cached_property
    def queue(self) -> JobQueue:
        """The job queue that ``queue_url`` names."""
        from eas.queues import open_queue
        from eas.taskdb.attempt_claims import AttemptClaims

        return open_queue(self.settings.queue_url.get_secret_value(), AttemptClaims(self.database))

    @cached_property
    def store(self) -> FileStore:
        """The file store."""
        settings = self.settings
        return open_store(
            settings.store_location, settings.store_options.get_secret_value(), scratch=settings.scratch_directory
        )

    def orchestrator(self, job_id: int) -> Orchestrator:
        """Return an orchestrator for a job, not opened yet."""
        from eas.orchestration.orchestrator import Orchestrator

        return Orchestrator(self.database, self.queue, self.registry, job_id)

    def assigned_registry(self) -> Registry:
        """Return the registry with the resources that a deployment assigned to worker types, where it did."""
        assigned = self.database.fetch(worker_types.assigned)
        types = {
            name: replace(each, **assigned[name]._asdict()) if name in assigned else each
            for name, each in self.registry.worker_types.items()
        }
        return Registry(self.registry.task_types, types)

    def worker(self, options: WorkerOptions) -> Worker:
        """Return a worker that is not running yet."""
        from eas.worker.worker import Worker

        return Worker(
            self.database,
            self.queue,
            self.store,
            self.assigned_registry(),
            options,
            input_directory=self.settings.input_directory,
        )

    def local_workers(self, count: int) -> LocalWorkers:
        """Return ``count`` workers of this machine for every worker type that is installed, not started yet.

        Raises StoreError or ServiceError if the file store cannot be written.
        """
        from eas.orchestration.local_workers import LocalWorkers

        if count:
            self.store.check()
        return LocalWorkers(
            count,
            self.registry.installed_worker_types() if count else (),
            database=self.database,
            queue=self.queue,
            environment=dict(os.environ) | self.settings.environment(),
            log_file=self.settings.data_directory / "logs" / "workers.log",
            lease=self.settings.lease,
        )

    def close(self) -> None:
        """Close what was opened."""
        if "queue" in self.__dict__:
            self.queue.close()
        if "database" in self.__dict__:
            self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
