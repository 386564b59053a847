"""What parameters of flows have in common, and how flows end that cannot do what was asked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeAlias, TypeVar, cast

from prefect.client.schemas.objects import State
from prefect.states import Failed
from pydantic import Field

from eas.app import App
from eas.errors import EASError

P = ParamSpec("P")
R = TypeVar("R")


def described(text: str, **limits: Any) -> Any:
    """Return a pydantic field whose description Prefect shows.

    It builds its form from the schema and drops the description of an annotation otherwise.
    """
    return Field(description=text, json_schema_extra={"description": text}, **limits)


JobName: TypeAlias = Annotated[str | None, described("Only tasks of jobs of this name.")]
TaskType: TypeAlias = Annotated[str | None, described("Only tasks of this type.")]
Since: TypeAlias = Annotated[
    str | None, described("Only what is newer: a UTC time (2026-11-22T08:30) or an age (90min, 12h, 7d).")
]
Blocks: TypeAlias = Annotated[
    str | None,
    described("Name of the EAS blocks that say where everything is (`eas blocks save`); else the settings apply."),
]


def open_app(blocks: str | None = None) -> App:
    """Return EAS as the blocks of this name describe it, or the settings where none is given.

    Raises SettingsError. Passwords come from the blocks, so no parameter of a flow holds one.
    """
    if not blocks:
        return App.load()
    from blocks import overrides

    return App.load(**overrides(blocks))


def told(function: Callable[P, R]) -> Callable[P, R]:
    """Let a flow that EAS refuses end as failed with the reason and the cure, without a traceback of our own."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except EASError as error:
            return cast(R, refused(error))

    return wrapper


def refused(error: EASError) -> State[Any]:
    """Return the state of a flow run that EAS refused."""
    return Failed(message=str(error))
