"""The tasks that a batch's Prefect task run represents, as an artifact of that run."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate

from eas import web_addresses
from eas.plain_text import one_line
from eas.states import TaskState
from flows.task_run_events import flow_run_id

LOG = logging.getLogger("eas.flows")

MAX_MEMBERS = 200
"""Maximum number of tasks in a list; unsuccessful ones come first."""
LONGEST_TEXT = 200
"""Maximum number of characters in a cell."""
WRITE_INTERVAL = 30.0
"""Minimum interval [s] between two updates of the list of a batch."""

ORDER = (
    TaskState.FAILED,
    TaskState.STALLED,
    TaskState.BLOCKED,
    TaskState.CANCELLED,
    TaskState.RUNNING,
    TaskState.QUEUED,
    TaskState.WAITING,
    TaskState.DONE,
)
"""Order of the states in a list."""
RANK = {state: place for place, state in enumerate(ORDER)}


class Member(NamedTuple):
    """A task of a batch."""

    task_id: int
    label: str
    state: TaskState
    reason: str


@dataclass
class MemberList:
    """The list of one batch; ``artifact`` is the artifact's id once it exists on the server."""

    task_run: UUID
    artifact: UUID | None = None


def first_members(states: Iterable[tuple[int, TaskState]]) -> list[tuple[int, TaskState]]:
    """Return which tasks of a batch are listed, failed ones first."""
    return sorted(states, key=lambda each: (RANK[each[1]], each[0]))[:MAX_MEMBERS]


def rows(members: Iterable[Member], web_url: str = "") -> list[dict[str, str]]:
    """Return the rows of the list; with addresses of the tasks' pages where that of ``eas web`` is given."""
    return [
        {"task": str(member.task_id), "state": str(member.state)}
        | ({"page": web_addresses.link(web_url, web_addresses.task(member.task_id))} if web_url else {})
        | {"what": one_line(member.label, LONGEST_TEXT), "reason": one_line(member.reason, LONGEST_TEXT)}
        for member in members
    ]


class MemberLists:
    """Publishes lists of members, one after the other. Errors are logged, because they must not affect the job."""

    def __init__(self, web_url: str = "") -> None:
        self._web_url = web_url
        # One client for all lists: opening one takes 23 ms of CPU, mostly to load TLS certificates.
        self._client = AsyncExitStack()
        self._opened: PrefectClient | None = None
        self._waiting: dict[UUID, tuple[MemberList, str, list[dict[str, str]]]] = {}
        self._publishing: asyncio.Task[None] | None = None

    def put(self, listed: MemberList, members: list[Member], total: int) -> None:
        """Queue a batch's list for publication; it replaces an older list that is not published yet."""
        description = f"{total} tasks of this batch"
        if total > len(members):
            description += f"; the first {len(members)}, failed ones first"
        self._waiting[listed.task_run] = (listed, description, rows(members, self._web_url))
        if self._publishing is None or self._publishing.done():
            self._publishing = asyncio.get_running_loop().create_task(self._publish_waiting())

    async def close(self) -> None:
        """Wait until all lists are published."""
        if self._publishing is not None:
            await self._publishing
        await self._client.aclose()

    async def _publish_waiting(self) -> None:
        while self._waiting:
            key = next(iter(self._waiting))
            listed, description, table = self._waiting.pop(key)
            try:
                if self._opened is None:
                    self._opened = await self._client.enter_async_context(get_client())
                await _publish(self._opened, listed, description, json.dumps(table))
            except Exception as error:  # of Prefect's client: many kinds
                LOG.warning("the list of a batch's tasks is not up to date: %s", error)


async def _publish(client: PrefectClient, listed: MemberList, description: str, data: str) -> None:
    if listed.artifact is not None:
        await client.update_artifact(listed.artifact, ArtifactUpdate(data=data, description=description))
        return
    new = ArtifactCreate(
        type="table",
        data=data,
        description=description,
        flow_run_id=flow_run_id(),
        task_run_id=listed.task_run,
    )
    listed.artifact = (await client.create_artifact(new)).id
