"""What the worker and its warm child process say to each other, and the records they speak of.

Each message is a JSON object behind its length (4 bytes, big-endian), on a socket of its own: the
task's code may print what it likes. Never pickle: the child runs other people's code. The child
takes ``run``, ``check`` and ``halt``; it says ``ready``, ``log``, ``ran``, ``result`` and ``halted``.
This module is imported by the child, so it imports little.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from eas.model import Check, InputProduct, LogEntry, Metadata, Usage

Message: TypeAlias = dict[str, Any]

LOST_CONNECTION = 113
"""Exit code of a child whose connection the task's code has closed."""

MEGABYTE = 1_000_000
MAX_MESSAGE = 64 * MEGABYTE
TAG = "EAS_WORKER_CHILD"
"""Environment variable by which every descendant of a child can be known again."""

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Work:
    """An attempt as the executor needs it.

    Attributes
    ----------
    implementation:
        ``module:Class`` of a subclass of ``eas.tasks.base.Task``.
    inputs:
        Semantic name to the version to read (absolute path).
    outputs:
        Semantic name to the absolute path to write; its directory exists.
    scratch:
        Directory that is made for the attempt, is its working directory, and is removed after it.
    new_directory:
        Where the task may make files that the chain does not name; None where it may not.
    time_limit:
        Seconds after which the task's code is stopped; None for no limit.
    """

    attempt_id: int
    task_type: str
    implementation: str
    scratch: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=dict)
    inputs: Mapping[str, InputProduct] = field(default_factory=dict)
    outputs: Mapping[str, Path] = field(default_factory=dict)
    seed: int = 0
    new_directory: Path | None = None
    time_limit: float | None = None

    def to_message(self, operation: str) -> Message:
        """Return the message that asks for ``operation``: ``run``, or ``check`` for its QC alone."""
        return {
            "do": operation,
            "id": self.attempt_id,
            "type": self.task_type,
            "code": self.implementation,
            "scratch": str(self.scratch),
            "settings": self.settings,
            "metadata": self.metadata,
            "inputs": {key: (each.file_name, str(each.path), each.metadata) for key, each in self.inputs.items()},
            "outputs": {key: str(path) for key, path in self.outputs.items()},
            "seed": self.seed,
            "new": None if self.new_directory is None else str(self.new_directory),
        }

    @classmethod
    def from_message(cls, message: Message) -> Work:
        """Return the work that a ``run`` or ``check`` message asks for."""
        return cls(
            attempt_id=message["id"],
            task_type=message["type"],
            implementation=message["code"],
            scratch=Path(message["scratch"]),
            settings=message["settings"],
            metadata=message["metadata"],
            inputs={key: InputProduct(name, Path(path), meta) for key, (name, path, meta) in message["inputs"].items()},
            outputs={key: Path(path) for key, path in message["outputs"].items()},
            seed=message["seed"],
            new_directory=None if message["new"] is None else Path(message["new"]),
        )


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that an attempt made under a name of its own; ``passed``: by its own QC."""

    file_name: str
    path: Path
    passed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went.

    Attributes
    ----------
    succeeded:
        Whether the task's own code returned as it should.
    reason:
        One line: why it failed, or which check did; empty exactly where ``passed``.
    started, ended:
        Unix time [s].
    interrupted:
        Whether it was aborted by ``Executor.interrupt`` or ``stop``; then no QC ran.
    new_files:
        What it made besides the outputs that the chain names.
    """

    attempt_id: int
    succeeded: bool
    reason: str
    started: float
    ended: float
    usage: Usage = field(default_factory=Usage)
    metadata: Metadata = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    log: tuple[LogEntry, ...] = ()
    interrupted: bool = False
    new_files: tuple[NewFile, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the code succeeded and every check passed: the attempt is done."""
        return self.succeeded and all(check.passed for check in self.checks)


def encode(message: Message) -> bytes:
    """Return ``message`` as it goes over the socket."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take in ``data`` and return the messages that are complete now.

        Raises ValueError when this cannot be our protocol.
        """
        self._buffer += data
        messages: list[Message] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer, start)
            if size > MAX_MESSAGE:
                raise ValueError(f"a message of {size} bytes")
            end = start + _LENGTH.size + size
            if len(self._buffer) < end:
                break
            messages.append(json.loads(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return messages


def clip(text: str, limit: int) -> str:
    """Return ``text``, or its first and last ``limit // 2`` characters where it is longer."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def one_line(text: str, limit: int = 500) -> str:
    """Return the first line of ``text`` that is not blank, shortened to ``limit`` characters."""
    line = next((each.strip() for each in text.splitlines() if each.strip()), "")
    return line if len(line) <= limit else line[: limit - 3] + "..."
