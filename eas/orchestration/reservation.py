"""Reserves a submitted job for the process that will drive it, until its orchestrator takes the lease over."""

from __future__ import annotations

import contextlib
import logging
import threading
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from eas.errors import EASError
from eas.maintenance import process_identity
from eas.taskdb import job_lease
from eas.taskdb.engine import TaskDatabase

LOG = logging.getLogger("eas.reservation")


class Reservation:
    """Renews the lease that ``submit(..., to_drive=True)`` took; used as a context manager.

    Between submission and the orchestrator's first step a Prefect server may have to start, for
    longer than a lease lasts: without renewal a supervisor would adopt the job in between. A thread
    renews the lease until the orchestrator holds it or the context ends; then the lease is released
    if it is still the reservation's.

    Parameters
    ----------
    lease:
        Age of a driver's last heartbeat at which other processes may take the job over [s]; the lease
        is renewed four times as often.
    """

    def __init__(self, database: TaskDatabase, job_id: int, *, lease: float = job_lease.LEASE_DURATION) -> None:
        self.database = database
        self.job_id = job_id
        self._interval = lease / 4
        self._holder = process_identity.reservation()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"reservation of job {job_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(EASError):  # the lease expires by itself
            self.database.transact(lambda c: job_lease.release(c, self.job_id, self._holder))

    def _keep(self, connection: Connection) -> bool:
        return job_lease.renew(connection, self.job_id, self._holder, self.database.now())

    def _renew(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                if not self.database.transact(self._keep):
                    return  # the orchestrator holds it
            except EASError as error:
                LOG.warning("the reservation of job %d could not be renewed: %s", self.job_id, error.what)
