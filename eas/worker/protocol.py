"""Messages between a worker and its child process, and the record that a request holds.

Each message is a JSON object behind its length (4 bytes, big-endian), on a socket of its own: the
task's code may print what it likes. Never pickle: the child runs code of third parties. The child
receives ``run``, ``check`` and ``halt``; it sends ``ready``, ``log``, ``ran``, ``result`` and ``halted``
(``message_validation`` validates them). This module is imported by the child, so it imports little.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from eas.model import ClaimedAttempt, InputProduct
from eas.tasks.base import TaskContext

Message: TypeAlias = dict[str, Any]

LOST_CONNECTION = 113
"""Exit code of a child whose connection the task's code has closed."""

MEGABYTE = 1_000_000
MAX_MESSAGE = 64 * MEGABYTE
TAG = "EAS_WORKER_CHILD"
"""Environment variable that marks every descendant of one child."""

FAMILY = "EAS_WORKER_FAMILY"
"""Environment variable that marks every descendant of all children of one worker."""

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed attempt, and where its child process finds the code and the files.

    Attributes
    ----------
    implementation:
        ``module:Class`` of a subclass of ``eas.tasks.base.Task``.
    scratch:
        Directory that is made for the attempt, is its working directory, and is removed after it.
    inputs:
        Semantic name to the version to read (absolute path).
    outputs:
        Semantic name to the absolute path to write; its directory exists.
    new_directory:
        Where the task may make files that the chain does not name; None where it may not.
    time_limit:
        Seconds after which the task's code is stopped; None for no limit.
    """

    attempt: ClaimedAttempt
    implementation: str
    scratch: Path
    inputs: Mapping[str, InputProduct] = field(default_factory=dict)
    outputs: Mapping[str, Path] = field(default_factory=dict)
    new_directory: Path | None = None
    time_limit: float | None = None

    def to_message(self, operation: str) -> Message:
        """Return the message that asks for ``operation``: ``run``, or ``check`` for its QC alone."""
        return {
            "do": operation,
            "id": self.attempt.attempt_id,
            "type": self.attempt.task_type,
            "code": self.implementation,
            "scratch": str(self.scratch),
            "settings": self.attempt.settings,
            "metadata": self.attempt.metadata,
            "inputs": {key: (each.file_name, str(each.path), each.metadata) for key, each in self.inputs.items()},
            "outputs": {key: str(path) for key, path in self.outputs.items()},
            "seed": self.attempt.seed,
            "new": None if self.new_directory is None else str(self.new_directory),
        }


def to_context(message: Message, input_directory: Path, threads: int) -> TaskContext:
    """Return what a task's code sees of a ``run`` or ``check`` message: the child's counterpart of ``to_message``."""
    return TaskContext(
        task_type=message["type"],
        settings=message["settings"],
        metadata=message["metadata"],
        inputs={key: InputProduct(name, Path(path), meta) for key, (name, path, meta) in message["inputs"].items()},
        outputs={key: Path(path) for key, path in message["outputs"].items()},
        scratch=Path(message["scratch"]),
        input_directory=input_directory,
        new_directory=None if message["new"] is None else Path(message["new"]),
        threads=threads,
        seed=message["seed"],
        log=logging.getLogger(f"eas.task.{message['type']}"),
    )


def encode(message: Message) -> bytes:
    """Return ``message`` encoded for the socket."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Decodes messages from a stream of bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Add ``data`` and yield the messages that are complete now.

        Raises ValueError or RecursionError at the first message that violates the protocol.
        """
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(self._buffer, start)
                if size > MAX_MESSAGE:
                    raise ValueError(f"a message of {size} bytes")
                end = start + _LENGTH.size + size
                if len(self._buffer) < end:
                    break
                message = json.loads(self._buffer[start + _LENGTH.size : end])
                start = end
                yield message
        finally:
            del self._buffer[:start]


def clip(text: str, limit: int) -> str:
    """Return ``text``, or its first and last ``limit // 2`` characters where it is longer."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def first_line(text: str, limit: int = 500) -> str:
    """Return the first line of ``text`` that is not blank, shortened to ``limit`` characters."""
    line = next((each.strip() for each in text.splitlines() if each.strip()), "")
    return line if len(line) <= limit else line[: limit - 3] + "..."
