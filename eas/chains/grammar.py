"""Reading a chain file: text in; a checked chain, or all that is wrong with it, out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eas.chains import jsontext
from eas.chains.structure import check_document
from eas.errors import ChainError, Problem, RequestError
from eas.registry import Registry, load

MAX_PROBLEMS = 50
"""Most problems that are reported at once."""
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
        The file's text, as it is kept with the job.
    document:
        The same as a dictionary; nobody changes it.
    job_name, working_directory:
        As the file gives them, or None.
    """

    source: str
    text: str = field(repr=False)
    document: dict[str, Any] = field(repr=False)
    job_name: str | None = None
    working_directory: str | None = None


def load_chain(path: Path, registry: Registry | None = None) -> Chain:
    """Read and check the chain file at ``path``.

    Raises RequestError if it cannot be read, and ChainError with all that is wrong in it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RequestError(f"there is no file {path}", cure="give the name of a task chain (JSON)") from None
    except IsADirectoryError:
        raise RequestError(f"{path} is a directory", cure="give the name of a task chain (JSON) in it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{path} cannot be read: {reason}", cure="check its name and your permissions") from error
    if len(content) > MAX_SIZE:
        raise RequestError(f"{path} is larger than {MAX_SIZE} bytes", cure="use loops instead of long lists")
    text, problems = jsontext.decode(content)
    if problems:
        raise ChainError(str(path), problems)
    return parse_chain(text, str(path), registry)


def parse_chain(text: str, source: str, registry: Registry | None = None) -> Chain:
    """Check the chain in ``text``; ``source`` is its name in messages.

    ``registry`` is the one of everything installed here unless it is given.

    Raises ChainError with all that is wrong in it (at most 50 problems).
    """
    document, problems = jsontext.read(text)
    if not problems:
        problems = check_document(document, registry or load())
    if problems:
        raise ChainError(source, shortened(problems))
    return Chain(source, text, document, document.get("job_name"), document.get("working_directory"))


def shortened(problems: list[Problem]) -> list[Problem]:
    """Return the first problems, and how many there are besides."""
    if len(problems) <= MAX_PROBLEMS:
        return problems
    more = Problem("", f"and {len(problems) - MAX_PROBLEMS} further problems", "mend these first")
    return [*problems[:MAX_PROBLEMS], more]
