"""Test configurations of single tasks, compatible with the prototype: a JSON object like a task descriptor.

``task``, ``inputs``, ``outputs`` and settings, which may be expressions. File names are relative to
the configuration's folder. The metadata of an input are in a sidecar beside it: a JSON object in
``FILE.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eas.chains import json_reader
from eas.chains.expansion import Expander
from eas.chains.grammar import parse_chain
from eas.errors import ChainError, RequestError
from eas.model import Metadata
from eas.registry import Registry

FIRST = "task_list[0]"


@dataclass(frozen=True)
class Configuration:
    """One task to try: its type, settings, and files by semantic name."""

    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs: Mapping[str, Path] = field(default_factory=dict)


def read_configuration(path: Path, registry: Registry, seed: int) -> Configuration:
    """Read and evaluate a test configuration.

    Raises RequestError if it cannot be read, and ChainError with all its problems.
    """
    descriptor = _object(path, "a test configuration")
    if "task_list" in descriptor:
        raise RequestError(f"{path} is a task chain, not the configuration of one task", hint=f"eas run {path}")
    # Older configurations have the settings in an object of their own.
    nested = descriptor.pop("settings", None)
    descriptor |= nested if isinstance(nested, dict) else {}
    files = {side: _files(path, side, descriptor.get(side)) for side in ("inputs", "outputs")}
    for side, found in files.items():
        if found:
            # The files are local paths, but a chain requires names of file products: use placeholders.
            descriptor[side] = {name: f"{side}-{number}" for number, name in enumerate(found)}
    try:
        chain = parse_chain(json.dumps({"task_list": [descriptor]}), str(path), registry)
        expander = Expander(chain, registry, str(seed))
        (spec,) = expander.children(expander.root("try", "try"))
    except ChainError as error:
        raise ChainError(str(path), [replace(each, path=_without_list(each.path)) for each in error.problems]) from None
    if spec.task_type is None or spec.pending:
        raise RequestError(
            f"{path} requires metadata of other tasks, which do not exist here", hint="write their values into it"
        )
    return Configuration(spec.task_type, spec.settings, files["inputs"], files["outputs"])


def sidecar_metadata(file: Path) -> Metadata:
    """Return the metadata in the sidecar of a file, ``FILE.json``; none where there is no sidecar.

    Raises RequestError if it is not a JSON object of numbers, strings, booleans and nulls.
    """
    sidecar = file.with_name(f"{file.name}.json")
    if not sidecar.is_file():
        return {}
    content = _object(sidecar, "a file of metadata")
    for key, value in content.items():
        if not isinstance(value, str | int | float | bool | None):
            raise RequestError(f"{sidecar}: {key} is not a number, string or boolean", hint="use only scalar values")
    return content


def _object(path: Path, what: str) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}", hint=f"give the name of {what} (JSON)") from None
    text, problems = json_reader.decode(content)
    if not problems:
        found, problems = json_reader.read(text)
        if not problems and isinstance(found, dict):
            return dict(found)
    if problems:
        raise ChainError(str(path), problems)
    raise RequestError(f"{path} is not a JSON object", hint=f"give {what}: an object with names and values")


def _files(path: Path, side: str, given: Any) -> dict[str, Path]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(each, str) and each for each in given.values()):
        raise RequestError(
            f"{path}: {side} is no object of file names", hint=f'write "{side}": {{"lightcurve": "lc.gz"}}'
        )
    return {name: path.absolute().parent / file for name, file in given.items()}


def _without_list(path: str) -> str:
    return path.removeprefix(FIRST).removeprefix(".")
