"""Checks of the configured Prefect server, for ``eas doctor``."""

from __future__ import annotations

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from pydantic import ValidationError

from eas.findings import Finding, Level
from eas.settings import safe_url

REQUEST_SECONDS = 3.0
POOL_HINT = "prefect work-pool create eas-local --type process, then prefect --no-prompt deploy --all"


def check_prefect() -> list[Finding]:
    """Check that the configured server answers, and its work pools; all without retries."""
    try:
        url = PREFECT_API_URL.value()
    except ValueError as error:  # of a setting, or of the file of profiles
        names = type(error).__name__
        if isinstance(error, ValidationError):
            names = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
        hint = "correct the variables PREFECT_... of the environment, or the active profile (`prefect config view`)"
        return [Finding("prefect", Level.PROBLEM, f"its settings cannot be used: {names}", hint)]
    if not url:
        hint = "`eas run` starts a local one (`eas server`); for deployments and schedules, set PREFECT_API_URL"
        return [Finding("prefect", Level.NOTE, "no server is configured", hint)]
    timeout = {PREFECT_API_REQUEST_TIMEOUT: REQUEST_SECONDS, PREFECT_CLIENT_MAX_RETRIES: 0}
    try:
        with temporary_settings(timeout), get_client(sync_client=True) as client:
            version = client.api_version()
            found = [Finding("prefect", Level.OK, f"the server {safe_url(url)} answers, version {version}")]
            return found + _pools(client)
    except (HTTPError, PrefectHTTPStatusError, RuntimeError) as error:
        # Without the text: it may hold the URL with its password.
        what = (
            f"status {error.response.status_code}"
            if isinstance(error, PrefectHTTPStatusError)
            else type(error).__name__
        )
        message = f"the server {safe_url(url)} does not answer correctly: {what}"
        hint = "start it (`prefect server start`), or correct PREFECT_API_URL (`prefect config view`)"
        return [Finding("prefect", Level.PROBLEM, message, hint)]


def _pools(client: SyncPrefectClient) -> list[Finding]:
    pools = client.read_work_pools()
    if not pools:
        message = "there is no work pool, so deployments cannot run"
        return [Finding("work pools", Level.NOTE, message, f"`eas run` needs none; for deployments: {POOL_HINT}")]
    return [_pool(each) for each in pools]


def _pool(pool: WorkPool) -> Finding:
    name = f"work pool {pool.name}"
    if pool.is_paused:
        return Finding("work pools", Level.PROBLEM, f"{name} is paused", f"prefect work-pool resume {pool.name!r}")
    status = str(getattr(pool.status, "value", pool.status) or "")
    if status == "NOT_READY":
        hint = f"prefect worker start --pool {pool.name!r}"
        return Finding("work pools", Level.PROBLEM, f"no Prefect worker polls {name}", hint)
    return Finding("work pools", Level.OK, f"{name} is ready")
