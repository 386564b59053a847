"""Parameters that flows share, and how flows report errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, ParamSpec, TypeAlias, TypeVar, cast

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Failed
from pydantic import Field

from eas.app import App
from eas.errors import EASError, ServiceError
from eas.operations.job_options import BOUNDS

P = ParamSpec("P")
R = TypeVar("R")


def described(text: str, **limits: Any) -> Any:
    """Return a pydantic field whose description Prefect shows.

    It builds its form from the schema and drops the description of an annotation otherwise.
    """
    return Field(description=text, json_schema_extra={"description": text}, **limits)


def bounds(option: str) -> dict[str, int]:
    """Return the limits of a job's option, for ``described``."""
    least, most = BOUNDS[option]
    return {"ge": least, "le": most}


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


RETRIES, RETRY_DELAY = 5, 60.0
"""How often, and how long after a failure [s], Prefect runs a flow again that may be run twice: services may be away
for 5 minutes. What will not pass, such as bad input, is not retried (`fail_on_eas_error`)."""


def fail_on_eas_error(function: Callable[P, R]) -> Callable[P, R]:
    """Turn an EASError of a flow into the state *Failed*, with the reason and the hint but without a traceback.

    Where the flow has retries, only a service that is away is worth one: other errors end the flow run at once.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except HTTPError:  # of Prefect's API
            raise
        except ServiceError as error:
            return cast(R, failed(error))
        except Exception as error:
            _retry_no_more()
            if not isinstance(error, EASError):
                raise
            return cast(R, failed(error))

    return wrapper


def _retry_no_more() -> None:
    """Let the next failure of this flow run be its last one."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not run.empirical_policy.retries:
        return
    policy = run.empirical_policy.model_copy(update={"retries": 0})
    with suppress(HTTPError), get_client(sync_client=True) as client:  # at worst it is retried
        client.update_flow_run(run.id, empirical_policy=policy)


def failed(error: EASError) -> State[Any]:
    """Return the state *Failed* with an error's reason and hint as its message, and the error as its result."""
    return Failed(message=str(error), data=error)
