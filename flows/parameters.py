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

    Prefect builds its forms from the JSON schema, which omits descriptions of plain annotations.
    """
    return Field(description=text, json_schema_extra={"description": text}, **limits)


def bounds(option: str) -> dict[str, int]:
    """Return the limits of a job's option, for ``described``."""
    least, most = BOUNDS[option]
    return {"ge": least, "le": most}


JobName: TypeAlias = Annotated[str | None, described("Only tasks of jobs of this name.")]
TaskType: TypeAlias = Annotated[str | None, described("Only tasks of this type.")]
Since: TypeAlias = Annotated[
    str | None, described("Only newer rows: a UTC time (2026-11-22T08:30) or an age (90min, 12h, 7d).")
]
Blocks: TypeAlias = Annotated[
    str | None,
    described("Name of the EAS blocks with the settings to use (`eas blocks save`); default: the local settings."),
]


def open_app(blocks: str | None = None) -> App:
    """Return the application with the settings of the blocks of this name, or of the machine if none is given.

    Raises SettingsError. Passwords come from the blocks, so no parameter of a flow holds one.
    """
    if not blocks:
        return App.load()
    from blocks import overrides

    return App.load(**overrides(blocks))


RETRIES, RETRY_DELAY = 5, 60.0
"""Number and delay [s] of retries of an idempotent flow, for outages of services of up to 5 minutes.
Permanent errors, such as bad input, are not retried (`fail_on_eas_error`)."""


def fail_on_eas_error(function: Callable[P, R]) -> Callable[P, R]:
    """Turn an EASError of a flow into the state *Failed*, with the reason and the hint but without a traceback.

    If the flow has retries, only an unavailable service causes one; other errors end the flow run immediately.
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
    """Disable further retries of this flow run."""
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
