"""One operator's command at a time in a namespace: a Lease of the Kubernetes API, as its own controllers use.

A second command fails with the name of the holder. The holder renews it; when its process is killed, the
lease expires. ``take_over`` ends the other command at its next request. Its times are the API server's: the
clocks of operators' machines may differ by more than the lease lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from infra.deploy.client import Cluster, ClusterError, NoRightsError
from infra.deploy.progress import Progress

Object = dict[str, Any]
NAME = "eas-operator"
LEASE_DURATION = 60
"""Duration of a lease without renewal [s]."""
RENEW_INTERVAL = 10.0
COMMAND_ANNOTATION = "eas/command"
"""Annotation that holds the command for which the lease is held."""
SEQUENCE_ANNOTATION = "eas/number"
"""Annotation that holds the number of that command."""


class BusyError(ClusterError):
    """Another operator's command runs in the namespace."""


class OperatorLease:
    """The lease of one namespace, as held or requested by this process."""

    def __init__(self, cluster: Cluster, command: str) -> None:
        self.cluster, self.command = cluster, command
        self.holder = f"{_user()}@{socket.gethostname()} ({uuid.uuid4().hex[:8]})"
        self.number = int(cluster.now().timestamp())
        """Commands of a namespace have increasing numbers."""
        self._version = ""

    async def take(self, *, take_over: bool = False) -> None:
        """Acquire the lease. Raises BusyError if another process holds it and ``take_over`` is not set."""
        while not await self.cluster.create_if_absent(self._manifest()):
            found = await self.cluster.get("Lease", NAME)
            if found is None:
                continue  # it was deleted meanwhile
            if self._is_held(found) and not take_over:
                raise BusyError(
                    f"{describe(found)} in namespace {self.cluster.namespace}",
                    hint="wait until that ends, or give --take-over to end it",
                )
            last = (found["metadata"].get("annotations") or {}).get(SEQUENCE_ANNOTATION, "0")
            self.number = max(self.number, int(last) + 1)
            version = found["metadata"]["resourceVersion"]
            if await self.cluster.replace("Lease", NAME, self._content(), version) is not None:
                break
        await self._note_version()

    async def renew(self) -> None:
        """Renew the lease. Raises BusyError where another process has taken it over."""
        spec = {"spec": {"renewTime": self._now()}}
        changed = await self.cluster.replace("Lease", NAME, spec, self._version)
        if changed is not None:
            self._version = changed["metadata"]["resourceVersion"]
        else:
            await self._note_version()

    async def release(self) -> None:
        """Release the lease if this process still holds it; the object is kept."""
        free = {"spec": {"holderIdentity": None, "renewTime": self._now()}}
        await self.cluster.replace("Lease", NAME, free, self._version)

    async def _note_version(self) -> None:
        found = await self.cluster.get("Lease", NAME) or {}
        if (found.get("spec") or {}).get("holderIdentity") != self.holder:
            who = describe(found) if found else "another command"
            raise BusyError(f"{who}, which has taken over", hint="see `eas status`, then try again")
        self._version = found["metadata"]["resourceVersion"]

    def _is_held(self, lease: Object) -> bool:
        """Whether a process holds a lease that it has renewed in time."""
        spec = lease.get("spec") or {}
        if not spec.get("holderIdentity") or not spec.get("renewTime"):
            return False
        age = self.cluster.now() - datetime.fromisoformat(spec["renewTime"])
        return age.total_seconds() < int(spec.get("leaseDurationSeconds") or LEASE_DURATION)

    def _now(self) -> str:
        return self.cluster.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _manifest(self) -> Object:
        manifest: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"} | self._content()
        manifest["metadata"] |= {"name": NAME, "namespace": self.cluster.namespace}
        return manifest

    def _content(self) -> Object:
        noted = {COMMAND_ANNOTATION: self.command, SEQUENCE_ANNOTATION: str(self.number)}
        return {
            "metadata": {"annotations": noted, "labels": {"app.kubernetes.io/part-of": "eas"}},
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": LEASE_DURATION,
                "acquireTime": self._now(),
                "renewTime": self._now(),
            },
        }


@asynccontextmanager
async def operator_lease(
    cluster: Cluster, command: str, progress: Progress, *, take_over: bool = False
) -> AsyncIterator[int]:
    """Hold the lease during the block, and yield the command's number.

    When another command takes the lease over, the block ends with BusyError.
    """
    lease = OperatorLease(cluster, command)
    try:
        await lease.take(take_over=take_over)
    except NoRightsError as error:
        progress.print_line(f"not protected from another operator's commands: {error.what}")
        yield lease.number
        return
    block, lost = asyncio.current_task(), []
    assert block is not None

    async def keep() -> None:
        while True:
            await asyncio.sleep(RENEW_INTERVAL)
            try:
                await lease.renew()
            except BusyError as error:
                lost.append(error)
                block.cancel()
                return
            except ClusterError:
                continue  # a short outage: the lease lasts longer

    renewing = asyncio.create_task(keep())
    try:
        yield lease.number
    except asyncio.CancelledError:
        if lost:
            raise lost[0] from None
        raise
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing
        if not lost:
            with contextlib.suppress(ClusterError):  # it expires by itself
                await lease.release()


def describe(lease: Object) -> str:
    """Say who holds a lease, with which command, and since when."""
    spec = lease.get("spec") or {}
    who = str(spec.get("holderIdentity") or "an unknown user").partition(" (")[0]
    what = (lease["metadata"].get("annotations") or {}).get(COMMAND_ANNOTATION, "a command")
    since = str(spec.get("acquireTime") or "")[:19].replace("T", " ")
    return f"{who} runs `{what}` since {since} UTC"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container may lack a name
        return "unknown"
