"""Prefect settings, and health check of the server."""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from eas.errors import ServiceError

SERVER_START_TIMEOUT = 30.0
"""Maximum time to wait for a starting server [s]."""
POLL_INTERVAL = 0.5


def configured_server() -> str:
    """Return the API URL of Prefect's settings; empty if none is configured.

    Prefect takes seconds to import, so it is imported only if one of its sources of settings may configure a URL.
    """
    if "prefect" not in sys.modules and not _may_be_configured():
        return ""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() or ""


def _may_be_configured() -> bool:
    """Return whether a source of Prefect's settings may set the URL: environment, profile, or a file in this folder."""
    if any(os.environ.get(name) for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")):
        return True
    if Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser().joinpath("profiles.toml").exists():
        return True
    words = {".env": "prefect_", "prefect.toml": "api", "pyproject.toml": "tool.prefect"}
    return any(word in _text(Path(name)) for name, word in words.items())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        return ""


def require_server(say: Callable[[str], None], timeout: float = SERVER_START_TIMEOUT) -> str:
    """Wait until the configured Prefect server answers, and return its URL; empty if none is configured.

    Raises ServiceError if it does not answer within ``timeout`` [s].
    """
    url = configured_server()
    if not url or _is_healthy(url):
        return url
    from prefect.client.orchestration import get_client

    deadline = time.monotonic() + timeout
    waiting = False
    while True:
        with get_client(sync_client=True) as client:
            problem = client.api_healthcheck()
        if problem is None:
            return url
        if time.monotonic() >= deadline:
            break
        if not waiting:
            say(f"waiting for the Prefect server {url}")
            waiting = True
        time.sleep(POLL_INTERVAL)
    reason = (str(problem).splitlines() or [""])[0] or type(problem).__name__
    raise ServiceError(
        f"the Prefect server {url} does not answer: {reason}",
        hint="start it (`prefect server start`), correct PREFECT_API_URL (`prefect config view` shows it), or unset it "
        "to use a local server; nothing was submitted or changed",
    )


def _is_healthy(url: str) -> bool:
    """Whether the server's health check succeeds; avoids Prefect's client, which takes seconds to import.

    Returns False for TLS, because only Prefect's client handles its certificate settings.
    """
    if not url.startswith("http://"):
        return False
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310 - Prefect's own setting
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False
