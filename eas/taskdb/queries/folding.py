"""The period at which to fold a light curve: from the task that made it, or from a search of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from eas.states import TaskState
from eas.taskdb import tables

ATTEMPTS, RESULTS, TASKS = tables.attempts, tables.attempt_results, tables.tasks
VERSIONS, LINKS = tables.product_versions, tables.task_products

MAX_SEARCHES = 20
"""Maximum number of searches of the file that are read for a period."""


class Ephemeris(NamedTuple):
    """``period`` and ``epoch`` (time of a transit, None if unknown) [days]; ``source``: where both come from."""

    period: float
    epoch: float | None
    source: str


def ephemeris(connection: Connection, version_id: int) -> Ephemeris | None:
    """Return the period at which to fold a version of a light curve, or None if no task gives one."""
    version = connection.execute(select(VERSIONS).where(VERSIONS.c.id == version_id)).one_or_none()
    if version is None:
        return None
    found = [*_of_searches(connection, version.product_id)]
    made = select(RESULTS.c.output_metadata, TASKS.c.settings).join(ATTEMPTS, ATTEMPTS.c.id == RESULTS.c.attempt_id)
    made = made.join(TASKS, TASKS.c.id == ATTEMPTS.c.task_id).where(RESULTS.c.attempt_id == version.attempt_id)
    row = connection.execute(made).one_or_none()
    if row is not None:
        known = json.loads(row.output_metadata)
        period = _positive(known.get("orbital_period"))
        if period is not None:
            epoch = _number(known.get("t0", _setting(json.loads(row.settings), "t0")))
            near = next((each.epoch for each in found if abs(each.period / period - 1) < 0.01), None)
            return Ephemeris(period, epoch if epoch is not None else near, "the task that made it")
    return found[0] if found else None


def _of_searches(connection: Connection, product_id: int) -> list[Ephemeris]:
    """Return the periods that searches of the file found, the newest first."""
    readers = (
        select(TASKS.c.id, RESULTS.c.output_metadata)
        .join(LINKS, LINKS.c.task_id == TASKS.c.id)
        .join(RESULTS, RESULTS.c.attempt_id == TASKS.c.accepted_attempt_id)
        .where(LINKS.c.product_id == product_id, LINKS.c.direction == "in", TASKS.c.state == TaskState.DONE)
    )
    found = []
    for row in connection.execute(readers.order_by(LINKS.c.task_id.desc()).limit(MAX_SEARCHES)):
        known = json.loads(row.output_metadata)
        period = _positive(known.get("period"))
        if period is not None:
            found.append(Ephemeris(period, _number(known.get("first_transit")), f"the search of task {row.id}"))
    return found


def _setting(settings: Mapping[str, Any], name: str) -> Any:
    specs = settings.get("specs")
    return settings.get(name, specs.get(name) if isinstance(specs, Mapping) else None)


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def _positive(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None
