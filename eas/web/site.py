"""Dependencies of all pages: app, renderer and cache of slow results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection
from starlette.requests import Request

from eas.app import App
from eas.taskdb.queries import progress
from eas.web.rendering import Renderer
from eas.web.slow_results import Result, SlowResults

T = TypeVar("T")


@dataclass
class Site:
    """The application's parts, reached from a request by ``site``."""

    app: App
    renderer: Renderer = field(default_factory=Renderer)
    slow: SlowResults = field(default_factory=SlowResults)

    def fetch(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a reading transaction."""
        return self.app.database.fetch(work)

    def counts(self, job_ids: list[int]) -> dict[int, Result[progress.Counts]]:
        """Return the numbers of tasks of jobs by type and state; they may be some seconds old."""
        found = self.slow.get_all({("counts", job_id): self._counter(job_id) for job_id in job_ids})
        return {job_id: found["counts", job_id] for job_id in job_ids}

    def _counter(self, job_id: int) -> Callable[[], Any]:
        return lambda: self.fetch(lambda connection: progress.counts(connection, [job_id])[job_id])

    def close(self) -> None:
        """End its threads."""
        self.slow.close()


def site(request: Request) -> Site:
    """Return the site of a request."""
    found = request.app.state.site
    assert isinstance(found, Site)
    return found
