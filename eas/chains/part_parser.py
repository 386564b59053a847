"""Parses the parts of a descriptor: strings, expressions, file products, lists of names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eas.chains.expressions import parsed_or_refused
from eas.chains.json_reader import json_type_name
from eas.chains.limits import NotAllowedError
from eas.chains.paths import check_relative_path, child_path, joined_path
from eas.chains.problems import ProblemList
from eas.chains.syntax import Parsed, is_expression
from eas.chains.text_limits import name_problem, names_fault
from eas.chains.tree import EMPTY, NO_NAMES, NONE, Constant, DictPart, Expression, ListPart, Part
from eas.errors import ExpressionError, StorePathError


@dataclass(frozen=True, slots=True)
class PartContext:
    """Context of a part: the JSON path of its descriptor, and the tasks whose metadata its expressions may read.

    ``has_dynamic_names``: whether one of these names is an expression, which may give any name.
    ``metadata_lookups``: JSON path, name and key of each lookup of the form ``requested_metadata['name']['key']``.
    """

    path: str
    names: list[str] = field(default_factory=list)
    key: str = "requires_metadata_from"
    name_set: frozenset[str] = field(init=False)
    has_dynamic_names: bool = field(init=False)
    metadata_lookups: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name_set", frozenset(self.names))
        object.__setattr__(self, "has_dynamic_names", any(map(is_expression, self.names)))


class PartParser:
    """Creates parts, and collects problems and warnings."""

    def __init__(self) -> None:
        self.problems = ProblemList()
        self.warnings = ProblemList()

    def part(self, value: Any, where: str, own: PartContext) -> Part:
        """Return ``value``, at key path ``where`` of its descriptor, as a part."""
        return self._dynamic(value, where, own) or Constant(value)

    def _dynamic(self, value: Any, where: str, own: PartContext) -> Part | None:
        """Return the part of a value that contains expressions, or None, so that constants need no object."""
        if isinstance(value, str):
            return self._expression(value, where, own) if is_expression(value) else None
        if not value:
            return None
        if isinstance(value, list):
            indexed = ((i, self._element(each, where, i, own)) for i, each in enumerate(value))
            elements = tuple((i, part) for i, part in indexed if part is not None)
            return ListPart(value, elements) if elements else None
        if isinstance(value, dict):
            keys, parts = {}, {}
            for key, each in value.items():
                if is_expression(key) and (found := self._expression(key, f"{where}<{key}>", own, where)):
                    keys[key] = found
                if (part := self._element(each, where, key, own)) is not None:
                    parts[key] = part
            return DictPart(value, parts, keys) if keys or parts else None
        return None

    def _element(self, value: Any, where: str, key: str | int, own: PartContext) -> Part | None:
        if not isinstance(value, str | list | dict) or not value:
            return None  # most are numbers, and need no path
        return self._dynamic(value, child_path(where, key), own)

    def _expression(self, text: str, where: str, own: PartContext, shown: str | None = None) -> Expression | None:
        """Check an expression, and that its task requests the metadata that it reads."""
        path = joined_path(own.path, where if shown is None else shown)
        parsed = parsed_or_refused(text)
        if isinstance(parsed, NotAllowedError):
            # Computing the hint searches for similar names, which takes far longer than parsing.
            hint = "" if self.problems.full else parsed.hint
            self.problems.add(path, ExpressionError(text, parsed.what).what, hint)
            return None
        if parsed.uses_requested and not own.names:
            message = f"reads requested_metadata, but the task has no {own.key}"
            self.problems.add(path, message, f'give "{own.key}": [a task\'s name]')
        elif not own.has_dynamic_names:
            for unknown in sorted(parsed.requested_names - own.name_set):
                message = f"reads the metadata of {unknown!r}, which is not in {own.key}"
                self.problems.add(path, message, f"add {unknown!r} to {own.key}")
        own.metadata_lookups.extend((path, *pair) for pair in sorted(parsed.requested_keys))
        return Expression(text, where, parsed, _few_keys(parsed))

    def label(self, holder: dict[str, Any], key: str, own: PartContext) -> Part:
        """Return a string of a descriptor (its name, say), without blanks around it; NONE where there is none."""
        if key not in holder:
            return NONE
        value = holder[key]
        path = child_path(own.path, key)
        if not isinstance(value, str):
            self.problems.add(path, f"must be a string, and is {json_type_name(value)}", "put it in double quotes")
            return NONE
        if is_expression(value):
            return self.part(value, key, own)
        text = value.strip()
        fault = name_problem(text, key) if text else ("is empty", f"give a {key}, or leave the key out")
        if fault:
            self.problems.add(path, *fault)
        elif key == "working_directory":
            self._file_name(text, path)
        return Constant(text)

    def products(self, holder: dict[str, Any], what: str, own: PartContext) -> Part:
        """Return a descriptor's ``inputs`` or ``outputs``, without blanks around names."""
        given = holder.get(what, {})
        here = child_path(own.path, what)
        if not isinstance(given, dict):
            hint = f'write "{what}": {{"lightcurve": "a file name"}}'
            self.problems.add(here, f"must be an object of names and file names, and is {json_type_name(given)}", hint)
            return EMPTY
        names: dict[str, Any] = {}
        for key, file_name in given.items():
            semantic = key if is_expression(key) else key.strip()
            place = child_path(here, key)
            if semantic in names:
                self.problems.add(here, f"has two keys that are {semantic!r} without blanks", "keep one of them")
            elif fault := _semantic_fault(semantic):
                self.problems.add(place, *fault)
            names[semantic] = self._product(file_name, place)
        return self.part(names, what, own) if names else EMPTY

    def _product(self, file_name: Any, path: str) -> Any:
        if not isinstance(file_name, str):
            message = f"a file name must be a string, and is {json_type_name(file_name)}"
            self.problems.add(path, message, "put it in double quotes")
        elif not is_expression(file_name):
            file_name = file_name.strip()
            self._file_name(file_name, path)
        return file_name

    def _file_name(self, value: str, path: str) -> None:
        try:
            check_relative_path(value)
        except StorePathError as error:
            self.problems.add(path, error.what, error.hint)

    def names(self, holder: dict[str, Any], key: str, path: str) -> list[str]:
        """Return a list of tasks' names, without blanks around them; names that are expressions among them."""
        given = holder.get(key, [])
        here = child_path(path, key)
        if not isinstance(given, list):
            message = f"must be a list of names, and is {json_type_name(given)}"
            self.problems.add(here, message, "put the names between [ and ]")
            return []
        found = []
        for index, name in enumerate(given):
            if not isinstance(name, str) or not name.strip():
                message = (
                    "is empty" if isinstance(name, str) else f"must be a task's name, and is {json_type_name(name)}"
                )
                self.problems.add(f"{here}[{index}]", message, "give the `name` of another task")
                continue
            found.append(name if is_expression(name) else name.strip())
            if fault := None if is_expression(name) else name_problem(found[-1]):
                self.problems.add(f"{here}[{index}]", *fault)
        if fault := names_fault(found):
            self.problems.add(here, *fault)
        return found

    def requires(self, own: PartContext) -> Part:
        """Return the names whose metadata a task asks for."""
        return self.part(own.names, own.key, own) if own.names else NO_NAMES


def _semantic_fault(semantic: str) -> tuple[str, str] | None:
    if is_expression(semantic):
        return None
    return name_problem(semantic, "semantic") if semantic else ("an empty name", "give the semantic name of the file")


def _few_keys(parsed: Parsed) -> tuple[str, ...] | None:
    # More keys gain no time (planning demo_jobs: 0 to 4 % longer), and their combinations would take memory.
    keys = parsed.metadata_keys
    if keys is None or len(keys) > 2 or parsed.uses_random or parsed.uses_requested:
        return None
    return keys
