"""Encodes tasks and their parents as numbers in one string, in SQL, and decodes them with numpy.

A row of Python objects for each of a million tasks takes four times as long (``make bench``,
``tree of 1,000,000 tasks``); so the engine joins thousands of numbers to one text where it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, bindparam, case, func, select

from eas.model import CONTROL_TASKS
from eas.states import TaskState
from eas.taskdb import tables
from eas.taskdb.queries.reports import stream

if TYPE_CHECKING:
    import numpy as np

    IntArray = np.ndarray[tuple[int], np.dtype[np.int64]]

JOBS, TASKS = tables.jobs, tables.tasks
_CODES = 16
_CONTROL = 8
PACKED = 50_000
"""Number of task ids per encoded string."""

SHARE = 0.1
"""Jobs with fewer of all tasks than this are found by index; else the whole table is read as texts.

At a quarter of all tasks the texts take 0.65 of the time of rows by index.
"""


class PackedTasks(NamedTuple):
    """Tasks as numbers separated by commas: ``(id - first) + span * link`` of each.

    A link is ``16 * parent_id + state``, plus 8 for a control task: ``state`` is the place in
    ``TaskState``, and a root's parent is 0.
    """

    first: int
    span: int
    numbers: str


class UnpackedTasks(NamedTuple):
    """Tasks in ascending order of their ids; each array has shape (tasks,).

    ``parent_ids``: 0 for a root; ``states``: place in ``TaskState``; ``controls``: whether it is a control task.
    """

    ids: IntArray
    parent_ids: IntArray
    states: IntArray
    controls: np.ndarray[Any, Any]


def task_links(connection: Connection, job_ids: Sequence[int]) -> Iterator[PackedTasks]:
    """Yield all tasks of jobs, thousands at a time."""
    wanted = TASKS.c.job_id.in_(job_ids)
    everything = connection.execute(select(func.count()).select_from(JOBS)).scalar_one() == len(job_ids)
    link = link_column()
    if connection.dialect.name != "sqlite" or not (everything or _many(connection, wanted)):
        for part in stream(connection, select(TASKS.c.id, link).where(wanted).order_by(TASKS.c.id)):
            yield pack(part)
        return
    begin = bindparam("begin", type_=BigInteger)
    text = func.group_concat((TASKS.c.id - begin) + PACKED * link)
    packed = select(text).where(TASKS.c.id.between(begin, begin + (PACKED - 1)))
    packed = packed if everything else packed.where(wanted)
    last = connection.execute(select(func.max(TASKS.c.id))).scalar_one() or 0
    for first in range(1, last + 1, PACKED):
        yield PackedTasks(first, PACKED, connection.execute(packed, {"begin": first}).scalar_one() or "")


def _many(connection: Connection, wanted: ColumnElement[bool]) -> bool:
    """Return whether reading the whole table is faster than looking the wanted tasks up."""
    count = select(func.count()).select_from(TASKS)
    total = connection.execute(count).scalar_one()
    return bool(connection.execute(count.where(wanted)).scalar_one() >= SHARE * total)


def link_column() -> ColumnElement[int]:
    """Return the SQL expression of a task's link."""
    codes = {state.value: code for code, state in enumerate(TaskState)}
    code = case(codes, value=TASKS.c.state) + case((TASKS.c.task_type.in_(sorted(CONTROL_TASKS)), _CONTROL), else_=0)
    return _CODES * func.coalesce(TASKS.c.parent_id, 0) + code


def pack(rows: Sequence[Sequence[int]]) -> PackedTasks:
    """Return rows of ``(id, link)``, at least one, ascending, as numbers."""
    first, span = rows[0][0], rows[-1][0] - rows[0][0] + 1
    return PackedTasks(first, span, ",".join(str(row[0] - first + span * row[1]) for row in rows))


def unpack(packed: Iterable[PackedTasks]) -> UnpackedTasks:
    """Return all tasks of ``packed``."""
    import numpy as np  # a tenth of a second that only readers of trees pay

    parts = [_numbers(each) for each in packed if each.numbers]
    links, ids = np.concatenate(parts, axis=1) if parts else np.empty((2, 0), np.int64)
    order = np.argsort(ids, kind="stable")
    parent_ids, codes = np.divmod(links[order], _CODES)
    return UnpackedTasks(ids[order], parent_ids, codes % _CONTROL, codes >= _CONTROL)


def _numbers(each: PackedTasks) -> IntArray:
    """Return links and ids, shape (2, tasks)."""
    import numpy as np

    links, offsets = np.divmod(np.fromstring(each.numbers, np.int64, sep=","), each.span)
    return np.stack([links, offsets + each.first])
