"""One Prefect task run, of a task or of a batch of tasks, and its state changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType

from eas.model import LogEntry
from eas.orchestration.dependency_graph import Node
from eas.orchestration.job_summary import in_one_line
from eas.states import TaskState
from eas.taskdb.queries.latest_attempts import AttemptTimes
from flows.batch_members import Member, MemberList, MemberLists, first_members
from flows.task_run_events import Change, RecordedTaskRun, TaskRunSender, start, times

LONGEST_LOG = 200
"""Maximum number of log entries of a task run."""

FINAL = {
    TaskState.DONE: (StateType.COMPLETED, "Completed"),
    TaskState.CANCELLED: (StateType.CANCELLED, "Cancelled"),
    TaskState.FAILED: (StateType.FAILED, "Failed"),
    TaskState.STALLED: (StateType.FAILED, "Stalled"),
    TaskState.BLOCKED: (StateType.FAILED, "Blocked"),
}
"""Task state to the final Prefect state of its task run."""


class DisplayedTaskRun:
    """A Prefect task run, of one EAS task or of a batch of up to ``size``.

    Attributes
    ----------
    open:
        Its tasks that have not settled.
    """

    def __init__(
        self, sender: TaskRunSender, kind: str, name: str, key: str, edges: Iterable[UUID], at: float, size: int = 1
    ) -> None:
        self.kind = kind
        self.size = size
        self.open: set[int] = set()
        self._record = RecordedTaskRun(kind, name, key, edges, at)
        self._sender = sender
        self._members = 0
        self._states: dict[int, TaskState] = {}
        self._reasons: dict[int, str] = {}
        self._name: str | None = None
        self._number = 0
        self._running = False
        self._started: float | None = None
        self._ended = at
        self._logged = 0
        self._listed = MemberList(self._record.id)
        self._unlisted = True

    @property
    def id(self) -> UUID:
        """Prefect's id of the task run."""
        return self._record.id

    @property
    def full(self) -> bool:
        """Whether the batch is full."""
        return self._members >= self.size

    @property
    def is_batch(self) -> bool:
        """Whether it may represent several tasks."""
        return self.size > 1

    @property
    def totals(self) -> str:
        """How many of a batch's tasks are in each state."""
        counts: dict[TaskState, int] = {}
        for state in self._states.values():
            counts[state] = counts.get(state, 0) + 1
        return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))

    def join(self, task_id: int) -> None:
        """Add a task that is on the queue."""
        self._members += 1
        self.open.add(task_id)
        self._note(task_id, TaskState.QUEUED)

    def rename(self, name: str) -> None:
        """Set the name that is sent with the next change of state."""
        self._name = name

    def claimed(self, attempt: AttemptTimes) -> None:
        """Record that a worker has claimed an attempt of one of its tasks."""
        if attempt.started_at is None:
            return
        self._note(attempt.task_id, TaskState.RUNNING)
        if self.is_batch:
            self.begin(attempt.started_at, 1)
        else:
            self.begin(attempt.started_at, attempt.number)

    def begin(self, at: float, number: int) -> None:
        """Show it as running since a moment [Unix s]: the attempt ``number`` of its task."""
        if not self._running or number > self._number:
            name = "Running" if number == 1 else "Retrying"
            self.change(StateType.RUNNING, name, at, columns=start(at, number))
        if self._started is None or number > self._number or not self.is_batch:
            self._started = at
        self._started = min(self._started, at)
        self._running, self._number = True, number

    def requeue(self, last: Sequence[AttemptTimes]) -> None:
        """Show that a task waits on the queue again: for a retry, or because its worker handed it back."""
        queued = last[-1]
        self._note(queued.task_id, TaskState.QUEUED)
        if self.is_batch:
            return
        self._running = False
        if queued.number > self._number:
            reason = in_one_line(last[0].reason)
            self.change(StateType.SCHEDULED, "AwaitingRetry", queued.queued_at, reason)
        else:
            self.change(StateType.PENDING, "Pending", self._started or queued.queued_at)

    def settle(self, task_id: int, state: TaskState, at: float, reason: str) -> None:
        """Record the end of one of its tasks; ``at``: Unix time [s]."""
        self.open.discard(task_id)
        self._note(task_id, state)
        self._ended = max(self._ended, at)
        if reason:
            self._reasons[task_id] = reason

    def log(self, task_id: int, entries: Sequence[LogEntry]) -> None:
        """Write the log of one of its tasks, up to a bound."""
        shown = entries[: max(0, LONGEST_LOG - self._logged)]
        self._logged += len(shown)
        if shown:
            self._record.log(shown, f"task {task_id}: " if self.is_batch else "")

    def end(self) -> None:
        """End the task run: its tasks have settled."""
        bad = set(self._states.values()) - {TaskState.DONE}
        if not self.is_batch:
            ((task_id, state),) = self._states.items()
            kind, name = FINAL[state]
            message = self._reasons.get(task_id, "")
            if state is TaskState.DONE and not self._running:
                name = "Cached"  # Prefect's state for a reused result
            elif state is TaskState.DONE:
                message = ""
        else:
            kind, name = FINAL[TaskState.DONE if not bad else _worst(bad)]
            message = f"{len(self._states)} tasks: {self.totals}"
            first = next((each for each, state in self._states.items() if state is not TaskState.DONE), None)
            message += f"; first: {self._reasons.get(first, '')}" if first is not None else ""
            low, high = min(self._states), max(self._states)
            self._name = f"{self.kind} [batch of {len(self._states)}: {self.totals}] (tasks {low} to {high})"
        self.change(kind, name, self._ended, message, times(self._started, self._ended))
        self._states, self._reasons = {}, {}

    def publish_members(self, lists: MemberLists, node_of: Callable[[int], Node]) -> None:
        """Publish the list of a batch's tasks, if it has changed since."""
        if not self.is_batch or not self._unlisted or not self._states:
            return
        self._unlisted = False
        members = [
            Member(task_id, node_of(task_id).label, state, in_one_line(self._reasons.get(task_id, "")))
            for task_id, state in first_members(self._states.items())
        ]
        lists.put(self._listed, members, len(self._states))

    def change(
        self, kind: StateType, name: str, at: float, message: str = "", columns: dict[str, Any] | None = None
    ) -> None:
        """Send a new state to Prefect's server [Unix s]."""
        values = dict(columns or {})
        if self._name is not None:
            values["name"], self._name = self._name, None
        self._sender.put(self._record, Change(kind, name, at, message, values))

    def _note(self, task_id: int, state: TaskState) -> None:
        self._unlisted = self._unlisted or self._states.get(task_id) is not state
        self._states[task_id] = state


def _worst(states: set[TaskState]) -> TaskState:
    """Return the state in which a batch ends; only cancelled tasks make it cancelled."""
    return TaskState.CANCELLED if states == {TaskState.CANCELLED} else TaskState.FAILED
