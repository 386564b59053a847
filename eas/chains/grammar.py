"""Reads chain files: returns a checked chain, or raises ChainError with all its problems."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from eas.chains import json_reader
from eas.chains.parser import Parser
from eas.chains.tree import Descriptor, Nodes
from eas.errors import ChainError, Problem, RequestError
from eas.registry import Registry, load

MAX_SIZE = 50_000_000
"""Largest chain file [bytes]."""


@dataclass(frozen=True)
class Chain:
    """A task chain whose structure has been checked.

    Attributes
    ----------
    source:
        Name of the file, for messages.
    text:
        The file's text, as stored with the job.
    nodes:
        The tasks' descriptors by their JSON paths; the whole chain is at the empty path.
    submission_problems:
        Problems that only prevent a new submission: jobs submitted by earlier releases may have them.
    warnings:
        Warnings; the chain can run nevertheless.
    """

    source: str
    text: str = field(repr=False)
    nodes: Nodes = field(repr=False)
    warnings: tuple[Problem, ...] = ()
    submission_problems: tuple[Problem, ...] = ()

    @property
    def root(self) -> Descriptor:
        """The whole chain; its job name and working directory may be expressions."""
        return self.nodes[""]


def load_chain(path: Path, registry: Registry | None = None) -> Chain:
    """Read and check the chain file at ``path``.

    Raises RequestError if it cannot be read, and ChainError with all its problems.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RequestError(f"there is no file {path}", hint="give the name of a task chain (JSON)") from None
    except IsADirectoryError:
        raise RequestError(f"{path} is a directory", hint="give the name of a task chain (JSON) in it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{path} cannot be read: {reason}", hint="check its name and your permissions") from error
    if len(content) > MAX_SIZE:
        raise RequestError(f"{path} is larger than {MAX_SIZE} bytes", hint="use loops instead of long lists")
    text, problems = json_reader.decode(content)
    if problems:
        raise ChainError(str(path), problems)
    return parse_chain(text, str(path), registry)


def parse_chain(text: str, source: str, registry: Registry | None = None) -> Chain:
    """Check the chain in ``text``; ``source`` is its name in messages.

    ``registry`` defaults to all installed task types.

    Raises ChainError with all problems (at most 50).
    """
    document, problems = json_reader.read(text)
    if problems:
        raise ChainError(source, problems)
    parser = Parser(registry or load())
    parser.document(document)
    if parser.problems:
        raise ChainError(source, parser.problems.reported())
    return Chain(source, text, parser.nodes, tuple(parser.warnings.reported()), tuple(parser.refused.reported()))
