"""Tasks and their parents as numbers in one text: encoded in SQL, decoded with numpy.

A row of Python objects for each of a million tasks takes four times as long (``make bench``,
``tree of 1,000,000 tasks``); so the engine joins thousands of numbers to one text where it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, case, func

from eas.model import CONTROL_TASKS
from eas.states import TaskState
from eas.taskdb import tables

if TYPE_CHECKING:
    import numpy as np

    IntArray = np.ndarray[tuple[int], np.dtype[np.int64]]

TASKS = tables.tasks
_CODES = 16
_CONTROL = 8


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


def link_column() -> ColumnElement[int]:
    """Return the SQL expression of a task's link."""
    # The engine tries the cases in this order: the most frequent first.
    codes = {state: code for code, state in enumerate(TaskState)}
    states = {state.value: codes[state] for state in sorted(codes, key=lambda state: state is not TaskState.DONE)}
    code = case(states, value=TASKS.c.state) + case((TASKS.c.task_type.in_(sorted(CONTROL_TASKS)), _CONTROL), else_=0)
    return _CODES * func.coalesce(TASKS.c.parent_id, 0) + code


def link(parent_id: int, state: TaskState, *, control: bool) -> int:
    """Return a task's link, as ``link_column`` does."""
    return _CODES * parent_id + list(TaskState).index(state) + _CONTROL * control


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
