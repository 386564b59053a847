"""Immutable records shared by the layers of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

from eas.states import AttemptState

Scalar: TypeAlias = int | float | str | bool | None
"""Type of a metadata value."""

Metadata: TypeAlias = Mapping[str, Scalar]
"""Names to values, as inherited by a task or produced by an attempt."""

CHAIN = "execution_chain"
FOR_LOOP = "execution_for_loop"
CONDITIONAL = "execution_conditional"
DO_WHILE = "execution_do_while_loop"
CONTROL_TASKS = frozenset({CHAIN, FOR_LOOP, CONDITIONAL, DO_WHILE})
"""Task types that expand into children and need no worker."""


class LoopMetadata(Mapping[str, Scalar]):
    """Inherited metadata of one iteration; the iterations of a loop share the names.

    A job of 10^6 iterations holds one object for each; a dictionary of eight entries would need twice the memory.

    Parameters
    ----------
    indices:
        Name to its place in ``values``.
    """

    __slots__ = ("_indices", "_values")

    def __init__(self, indices: Mapping[str, int], values: tuple[Scalar, ...]) -> None:
        self._indices = indices
        self._values = values

    def __getitem__(self, name: str) -> Scalar:
        return self._values[self._indices[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class BriefSpec:
    """The fields of ``TaskSpec`` that an orchestrator keeps after it has configured and expanded a task."""

    task_type: str | None
    name: str | None
    metadata: Metadata
    ordinal: int
    pending: ClassVar[bool] = False

    @property
    def is_control(self) -> bool:
        """Whether it expands into children instead of running on a worker."""
        return self.task_type in CONTROL_TASKS


class TaskSpec(NamedTuple):
    """Description of a task, made by the expansion of its parent, to be written to the task database.

    Attributes
    ----------
    address:
        Ordinals from the root, joined by dots (``0.3.1``; the root chain is the empty string).
        Unique within a job and reproducible, so the task's random numbers are derived from it.
    path:
        JSON path of the descriptor it comes from. The chains that a for-loop or a do-while loop
        makes carry the loop's own path.
    task_type:
        Name in the registry, or None while its expression waits for requested metadata.
    name:
        Name by which siblings refer to it.
    metadata:
        Inherited metadata, loop values among it.
    settings:
        All other keys of the descriptor, evaluated, except ``task_list``, ``else_task_list`` and
        ``repeat_criterion``, which are evaluated at expansion.
    inputs, outputs:
        Semantic name to file name, evaluated.
    requires:
        Names of the earlier siblings whose output metadata it needs.
    pending:
        Whether some expression needs requested metadata that are not available yet; then it is configured later.
    """

    address: str
    path: str
    task_type: str | None
    name: str | None
    job_name: str
    working_directory: str
    metadata: Metadata
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    requires: tuple[str, ...] = ()
    pending: bool = False

    @property
    def ordinal(self) -> int:
        """Position among its siblings, from 0."""
        return int(self.address.rpartition(".")[2] or 0)

    @property
    def is_control(self) -> bool:
        """Whether it expands into children instead of running on a worker."""
        return self.task_type in CONTROL_TASKS

    def brief(self) -> BriefSpec:
        """Return the fields that are needed as long as the job runs; the task database holds the others."""
        return BriefSpec(self.task_type, self.name, self.metadata, self.ordinal)


@dataclass(frozen=True, slots=True)
class InputProduct:
    """A version of a file product, handed to a task that reads it.

    Attributes
    ----------
    file_name:
        Name in its working directory.
    path:
        Where to read it now; no process writes there.
    metadata:
        Output metadata of the attempt that made it (for a light curve: the light curve's).

    Examples
    --------
    >>> product = InputProduct("input.lc", folder / "input.lc", {"orbital_period": 3.0})
    >>> product.path.name, product.metadata["orbital_period"]
    ('input.lc', 3.0)
    """

    file_name: str
    path: Path
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClaimedAttempt:
    """A scheduling attempt that a worker has claimed, read from the task database.

    Attributes
    ----------
    settings:
        The descriptor's other keys, evaluated.
    metadata:
        Metadata that the task inherits from its ancestors.
    seed:
        Seed of the task, derived from the job's seed and the task's address.
    inputs:
        Semantic name to the stored version.
    outputs:
        Semantic name to the file name in the working directory.
    """

    attempt_id: int
    task_type: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=dict)
    seed: int = 0
    working_directory: str = ""
    inputs: Mapping[str, StoredVersion] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a file product, read from the task database.

    ``store_path`` is relative to the file store's root; ``size`` in bytes; ``sha256`` in hex.
    """

    product_id: int
    file_name: str
    store_path: str
    size: int
    sha256: str
    metadata: Metadata = field(default_factory=dict)


class QueuedAttempt(NamedTuple):
    """The fields of a queued attempt that a queue's message needs.

    Lower ``priority`` is claimed first; not before ``available_at`` [Unix time, s].
    """

    attempt_id: int
    task_type: str
    priority: int
    available_at: float


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one QC check.

    Attributes
    ----------
    name:
        What was looked at.
    passed:
        Whether the check passed; one failed check fails the attempt.
    detail:
        Details, such as the value found, with units.

    Examples
    --------
    >>> Check("depth is physical", passed=True, detail="0.01")
    Check(name='depth is physical', passed=True, detail='0.01')
    """

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One log message of an attempt. ``logged_at``: Unix time [s]; ``level`` as in ``logging``."""

    logged_at: float
    level: int
    logger: str
    message: str
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt used: wall-clock and CPU time [s], peak resident memory [MB]."""

    wall: float = 0.0
    cpu: float = 0.0
    cpu_children: float = 0.0
    peak_memory: float = 0.0


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A file made by an attempt, to be written to the task database.

    ``semantic`` is the output's name, empty for a dynamic output. ``passed`` is whether its own QC passed;
    None if the attempt's QC decides.
    """

    semantic: str
    file_name: str
    store_path: str
    size: int
    sha256: str
    passed: bool | None = None


@dataclass(frozen=True, slots=True)
class DynamicOutput:
    """A dynamic output of an attempt; ``passed`` is the result of its own QC."""

    file_name: str
    path: Path
    passed: bool


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """Result of an attempt: created by the executor, completed by the worker, written to the task database.

    Attributes
    ----------
    reason:
        One line for users: why it failed, or which check failed; empty if and only if the attempt is done.
    started, ended:
        Unix time [s].
    checks:
        QC checks; empty if there was nothing to check.
    interrupted:
        Whether the executor aborted it before its end; then no QC ran, and nothing is recorded.
    new_files:
        Files that the chain does not name; the worker stores them as ``versions``.
    versions:
        All files that the worker has stored.
    """

    attempt_id: int
    reason: str
    started: float
    ended: float
    usage: Usage = field(default_factory=Usage)
    metadata: Metadata = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    log: tuple[LogEntry, ...] = ()
    interrupted: bool = False
    new_files: tuple[DynamicOutput, ...] = ()
    versions: tuple[NewVersion, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the code succeeded, every check passed and all files could be stored."""
        return not self.reason

    @property
    def state(self) -> AttemptState:
        """State of the attempt: *done* or *failed*."""
        return AttemptState.DONE if self.passed else AttemptState.FAILED

    def by_clock(self, offset: float) -> AttemptResult:
        """Return the result with ``offset`` [s] added to all its times, to convert them to another clock."""
        if not offset:
            return self
        log = tuple(replace(entry, logged_at=entry.logged_at + offset) for entry in self.log)
        return replace(self, started=self.started + offset, ended=self.ended + offset, log=log)
