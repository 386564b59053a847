"""Checks the documentation of public names: parameters, and examples that hold."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

IGNORED = {"self", "cls", "others"}
"""Parameters that no documentation describes; ``others`` is described where it is one."""


def public_names(module: ModuleType) -> dict[str, Any]:
    """Return the public functions and classes of a module, and the public methods and properties of these."""
    return dict(_public_names(module))


def _public_names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in module.__all__:
        found = getattr(module, name)
        if not (inspect.isclass(found) or inspect.isfunction(found)):
            continue  # types, constants
        yield name, found
        if inspect.isclass(found):
            for key, member in vars(found).items():
                if not key.startswith("_") and _is_method(member):
                    yield f"{name}.{key}", member


def _is_method(member: object) -> bool:
    return inspect.isroutine(member) or isinstance(member, property | classmethod | staticmethod)


def check(name: str, found: Any, known: Mapping[str, Any]) -> None:
    """Fail where a public name has no examples, one that does not hold, or a parameter without a description.

    ``known``: names that the examples may use.
    """
    text = own_documentation(found)
    assert text, f"{name} is not documented"
    undescribed = [each for each in parameters(found) if not describes(text, each)]
    assert not undescribed, f"{name}: not described: {undescribed}"
    assert "\nExamples\n--------\n" in text, f"{name} has no section Examples"
    examples = doctest.DocTestParser().get_doctest(text[text.index("\nExamples\n") :], dict(known), name, None, 0)
    assert examples.examples, f"{name} has no example"
    said: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=said.append)
    assert failed == 0, "".join(said)


def own_documentation(found: Any) -> str:
    """Return the documentation of a name itself, not one that it inherits."""
    return inspect.cleandoc(getattr(found, "__doc__", None) or "")


def parameters(found: Any) -> list[str]:
    """Return the parameters of a function, method or class; those that a subclass only inherits are left out."""
    if isinstance(found, property):
        return []
    if dataclasses.is_dataclass(found):
        inherited = {each.name for base in found.__mro__[1:] if dataclasses.is_dataclass(base)
                     for each in dataclasses.fields(base)}  # fmt: skip
        return [each.name for each in dataclasses.fields(found) if each.name not in inherited]
    return [each for each in inspect.signature(found).parameters if each not in IGNORED]


def describes(text: str, parameter: str) -> bool:
    """Return whether a list of parameters or attributes has an entry for one, alone or with others."""
    return re.search(rf"^(?:\w+, )*\*{{0,2}}{parameter}(?:, \w+)*:$", text, re.MULTILINE) is not None
