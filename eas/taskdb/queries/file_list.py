"""Versions of file products: of one product, of one job, or of all, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from eas.errors import UnknownFileError
from eas.model import StoredVersion
from eas.states import AttemptState
from eas.taskdb import tables
from eas.taskdb.chunks import chunks
from eas.taskdb.engine import AnyRow
from eas.taskdb.queries import keyset, product_status
from eas.taskdb.queries.keyset import Page

PRODUCTS, VERSIONS, ATTEMPTS = tables.products, tables.product_versions, tables.attempts

BUDGET = 20_000
"""Maximum number of attempts examined for one page: many attempts make no files."""


def page(connection: Connection, *, job_id: int | None = None, after: str | None = None, limit: int = 50) -> Page:
    """Return versions of file products, of all jobs the newest first, of one job in the order of their making.

    Rows: columns of ``product_versions``, ``working_directory``, ``name`` and ``current_version_id`` of the
    product, and ``task_id``, ``task_type``, ``job_id`` of the maker. All files of an attempt come together.
    """
    if job_id is not None:
        return _of_job(connection, job_id, after, limit)
    beyond = keyset.cursor(after)
    # Always with a bound, so that engines read the index from its end, not the whole table.
    query = select(VERSIONS.c.id).where(VERSIONS.c.id > 0 if beyond is None else VERSIONS.c.id < beyond)
    ids = list(connection.execute(query.order_by(VERSIONS.c.id.desc()).limit(limit + 1)).scalars())
    found = {row.id: row for row in _rows(connection, VERSIONS.c.id, ids[:limit])}
    rows = [found[each] for each in ids[:limit] if each in found]
    return Page(rows, str(ids[limit - 1]) if len(ids) > limit else None)


def _of_job(connection: Connection, job_id: int, after: str | None, limit: int) -> Page:
    of_job = ATTEMPTS.c.job_id == job_id
    ranges = [(of_job, ATTEMPTS.c.state == state) for state in AttemptState if state is not AttemptState.QUEUED]
    rows: list[AnyRow] = []
    last, looked_at = keyset.cursor(after), 0
    size = 2 * limit
    while looked_at < BUDGET:
        part = keyset.first_ids(connection, ATTEMPTS.c.id, ranges, after=last, limit=size)
        if not part:
            return Page(rows, None, looked_at)
        looked_at += len(part)
        for row in _rows(connection, VERSIONS.c.attempt_id, part):
            # A page ends between two attempts.
            if len(rows) >= limit and row.attempt_id != rows[-1].attempt_id:
                return Page(rows, str(rows[-1].attempt_id), looked_at)
            rows.append(row)
        last = part[-1]
        size = min(4 * size, 2500)
    return Page(rows, str(last), looked_at)


def of_product(connection: Connection, product_id: int, limit: int = 100) -> list[AnyRow]:
    """Return the versions of a file product, the newest first."""
    ids = connection.execute(
        select(VERSIONS.c.id).where(VERSIONS.c.product_id == product_id).order_by(VERSIONS.c.id.desc()).limit(limit)
    )
    return _rows(connection, VERSIONS.c.id, list(ids.scalars()))[::-1]


def _rows(connection: Connection, column: object, values: Sequence[int]) -> list[AnyRow]:
    """Return the rows of versions whose ``column`` has one of the values, by attempt and id."""
    what = (PRODUCTS.c.working_directory, PRODUCTS.c.name, PRODUCTS.c.current_version_id)
    maker = (ATTEMPTS.c.task_id, ATTEMPTS.c.task_type, ATTEMPTS.c.job_id)
    query = (
        select(VERSIONS, *what, *maker)
        .join(PRODUCTS, PRODUCTS.c.id == VERSIONS.c.product_id)
        .outerjoin(ATTEMPTS, ATTEMPTS.c.id == VERSIONS.c.attempt_id)
    )
    found: list[AnyRow] = []
    for part in chunks(values):
        found += connection.execute(query.where(column.in_(part))).all()  # type: ignore[attr-defined]
    return sorted(found, key=lambda row: (row.attempt_id, row.id))


def version(connection: Connection, version_id: int) -> StoredVersion:
    """Return where a version is stored, with the metadata of its making. Raises UnknownFileError."""
    found = product_status.stored(connection, [version_id]).get(version_id)
    if found is None:
        raise UnknownFileError(f"there is no version {version_id} in the task database", hint="`eas files` lists files")
    return found
