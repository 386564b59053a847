"""Declarations of the output metadata of task types.

A declaration is a tuple of `MetadataKey`, named in the registry's entry of the task type. Chains are checked
against it before anything runs; the page of task types, the JSON Schema and the pictures of plans are made from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from eas.model import Scalar

Kind: TypeAlias = Literal["number", "whole number", "text", "true or false"]
TYPES: Final[Mapping[Kind, tuple[type, ...]]] = {
    "number": (int, float),
    "whole number": (int,),
    "text": (str,),
    "true or false": (bool,),
}


@dataclass(frozen=True, slots=True)
class MetadataKey:
    """One name among the metadata that a task type returns, or that it reads of its inputs.

    Its value may always be None: not known, or nothing was found.

    Attributes
    ----------
    name:
        The key.
    unit:
        For documentation and headings, such as ``days``; empty for a pure number.
    meaning:
        What it is, for documentation.
    kind:
        What its values are.
    choices:
        Allowed values of a text; empty if any text is allowed.

    Examples
    --------
    >>> depth = MetadataKey("depth", "relative flux", "of the transit")
    >>> depth.fault(0.01), depth.fault("deep")
    ('', "depth is 'deep', and is declared as a number")
    """

    name: str
    unit: str = ""
    meaning: str = ""
    kind: Kind = "number"
    choices: tuple[str, ...] = ()

    def fault(self, value: Scalar) -> str:
        """Return how a value differs from the declaration; empty where it does not.

        Parameters
        ----------
        value:
            What a task returned; None always fits.

        Examples
        --------
        >>> MetadataKey("outcome", kind="text", choices=("PASS", "FAIL")).fault("PASS")
        ''
        """
        if value is None:
            return ""
        fits = isinstance(value, TYPES[self.kind]) and isinstance(value, bool) == (self.kind == "true or false")
        if not fits:
            return f"{self.name} is {value!r}, and is declared as a {self.kind}"
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}, and is declared as one of {', '.join(self.choices)}"
        return ""


def differences(
    declared: Sequence[MetadataKey], metadata: Mapping[str, Scalar], passed_on: Collection[str]
) -> list[str]:
    """Return how a task's ``metadata`` differ from the ``declared`` ones, a sentence each.

    ``passed_on``: names of its inputs' metadata, which it may also return.
    """
    known = {each.name: each for each in declared}
    unknown = [name for name in metadata if name not in known and name not in passed_on]
    return [
        *(f"{name} is returned, and is not declared" for name in unknown),
        *(f"{name} is declared, and is not returned" for name in known if name not in metadata),
        *(fault for name, value in metadata.items() if name in known and (fault := known[name].fault(value))),
    ]
