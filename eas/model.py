"""Frozen records that travel between the floors of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

from eas.states import AttemptState

Scalar: TypeAlias = int | float | str | bool | None
"""What a metadata value may be."""

Metadata: TypeAlias = Mapping[str, Scalar]
"""Names to values, as inherited by a task or produced by an attempt."""

CHAIN = "execution_chain"
FOR_LOOP = "execution_for_loop"
CONDITIONAL = "execution_conditional"
DO_WHILE = "execution_do_while_loop"
CONTROL_TASKS = frozenset({CHAIN, FOR_LOOP, CONDITIONAL, DO_WHILE})
"""Task types that expand into children and cost no worker."""


class LoopMetadata(Mapping[str, Scalar]):
    """Inherited metadata of one iteration; the iterations of a loop share the names.

    A job of 10^6 iterations holds one for each: a dictionary of eight entries would take twice the memory.

    Parameters
    ----------
    places:
        Name to its place in ``values``.
    """

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: tuple[Scalar, ...]) -> None:
        self._places = places
        self._values = values

    def __getitem__(self, name: str) -> Scalar:
        return self._values[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class BriefSpec:
    """What an orchestrator keeps of a task that it need not configure or expand any more; see ``TaskSpec``."""

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
    """A task as its parent's expansion describes it, ready to be written to SQL.

    Attributes
    ----------
    address:
        Ordinals from the root, joined by dots (``0.3.1``; the root chain is the empty string).
        Unique within a job and the same whenever the job is expanded, so random numbers hang on it.
    path:
        JSON path of the descriptor it comes from. The chains that a for-loop or a do-while loop
        makes carry the loop's own path.
    task_type:
        Name in the registry, or None while its expression waits for requested metadata.
    name:
        Label that siblings ask for.
    metadata:
        Inherited metadata, loop values among it.
    settings:
        Every other key of the descriptor, evaluated; without ``task_list``, ``else_task_list``
        and ``repeat_criterion``, which wait for their own turn.
    inputs, outputs:
        Semantic name to file name, evaluated.
    requires:
        Names of the earlier siblings whose output metadata it needs.
    pending:
        Whether some expression waits for requested metadata: configure it again when that is here.
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
        """Return the parts that are needed for as long as the job runs; SQL holds the others."""
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
    """A scheduling attempt that a worker holds, as SQL describes it.

    Attributes
    ----------
    settings:
        The descriptor's other keys, evaluated.
    metadata:
        What the task inherits from its ancestors.
    seed:
        The task's own, from the job's seed and the task's address.
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
    """One version of a file product as SQL knows it.

    ``store_path`` is relative to the file store's root; ``size`` in bytes; ``sha256`` in hex.
    """

    product_id: int
    file_name: str
    store_path: str
    size: int
    sha256: str
    metadata: Metadata = field(default_factory=dict)


class QueuedAttempt(NamedTuple):
    """A queued attempt, as a message about it needs it.

    Lower ``priority`` is claimed first; not before ``available_at`` [Unix time, s].
    """

    attempt_id: int
    task_type: str
    priority: int
    available_at: float


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that QC looked at.

    Attributes
    ----------
    name:
        What was looked at.
    passed:
        Whether it is as it must be; one check that is not fails the attempt.
    detail:
        What was seen, with units.

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
    """A file that an attempt made, as it goes into SQL.

    ``semantic`` is the output's name, empty for a file that the chain does not name. ``passed`` says
    whether it passed QC by itself; None: if its attempt did.
    """

    semantic: str
    file_name: str
    store_path: str
    size: int
    sha256: str
    passed: bool | None = None


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that an attempt made and the chain does not name; ``passed``: by its own QC."""

    file_name: str
    path: Path
    passed: bool


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How an attempt ended: made by the executor, completed by the worker, and written to SQL.

    Attributes
    ----------
    reason:
        One line for users: why it failed, or which check did; empty exactly if the attempt is done.
    started, ended:
        Unix time [s].
    checks:
        What QC looked at; empty when there was nothing to look at.
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
    new_files: tuple[NewFile, ...] = ()
    versions: tuple[NewVersion, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the code succeeded, every check passed and all files could be stored."""
        return not self.reason

    @property
    def state(self) -> AttemptState:
        """The state in SQL: *done* or *failed*."""
        return AttemptState.DONE if self.passed else AttemptState.FAILED

    def by_clock(self, offset: float) -> AttemptResult:
        """Return the result with ``offset`` [s] added to all its times: from one clock to another."""
        if not offset:
            return self
        log = tuple(replace(entry, logged_at=entry.logged_at + offset) for entry in self.log)
        return replace(self, started=self.started + offset, ended=self.ended + offset, log=log)
