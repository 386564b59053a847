"""The lease of a service that needs only one active process: the supervisor, or the scaler of workers.

A row of the table of periodic work holds when the lease was last renewed. The holder is the process
that knows this exact time: taking and renewing are guarded updates of that value, so no column is
needed for an owner. The lease also is the service's heartbeat: without a living holder, reports warn that a
service is missing.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, delete

from eas.taskdb import periodic_locks
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.periodic_locks import TABLE

SUPERVISOR = "supervisor"
SCALER = "scale-workers"
SERVICE_LEASE_DURATION = 60.0
"""Time [s] after which a lease that is not renewed expires."""


class ServiceLease:
    """The lease of one service, for one process. Not thread-safe."""

    def __init__(self, database: TaskDatabase, name: str, duration: float = SERVICE_LEASE_DURATION) -> None:
        self.database = database
        self.name = name
        self.duration = duration
        self._renewed_at: float | None = None

    def hold(self) -> bool:
        """Take or renew the lease; False while another process holds it. Raises ServiceError."""
        now = self.database.now()
        if not self.database.transact(lambda connection: self._hold(connection, now)):
            self._renewed_at = None
            return False
        self._renewed_at = now
        return True

    def wait(self, pause: Callable[[float], bool]) -> bool:
        """Wait until this process holds the lease, and return True; False as soon as another process renews it.

        The holder may have been killed: only a renewal shows that it is alive. ``pause`` waits for
        some seconds and returns whether to give up, as ``threading.Event.wait`` does.
        """
        first = self.database.fetch(lambda connection: last_renewal(connection, self.name))
        while not self.hold():
            seen = self.database.fetch(lambda connection: last_renewal(connection, self.name))
            if seen != first or pause(min(1.0, self.duration / 10)):
                return False
        return True

    def release(self) -> None:
        """Release the lease, if this process still holds it."""
        mine = delete(TABLE).where(TABLE.c.name == self.name, TABLE.c.done_at == self._renewed_at)
        if self._renewed_at is not None:
            self.database.transact(lambda connection: connection.execute(mine).rowcount)
            self._renewed_at = None

    def _hold(self, connection: Connection, now: float) -> bool:
        last = last_renewal(connection, self.name)
        if last is not None and last != self._renewed_at and now - self.duration < last <= now + self.duration:
            return False
        return periodic_locks.compare_and_set(connection, self.name, last, now)


def last_renewal(connection: Connection, name: str) -> float | None:
    """Return when a service's lease was last renewed [database time, s]; None where no process holds it."""
    return periodic_locks.last_time(connection, name)


def is_alive(connection: Connection, name: str, now: float, duration: float = SERVICE_LEASE_DURATION) -> bool:
    """Return whether a process holds the lease of a service."""
    last = last_renewal(connection, name)
    return last is not None and last > now - duration
