"""The reconciler's client of Prefect's server, over its HTTP API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx

from eas.errors import ServiceError

FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
MAY_CRASH = frozenset({"PENDING", "RUNNING", "CRASHED"})
"""Prefect itself handles runs that are being cancelled or await a retry."""
PAGE = 200


class FlowRuns:
    """Access to flow runs by id. Raises ServiceError if the server is unreachable."""

    def __init__(self, url: str, auth: str = "") -> None:
        """``auth``: user and password of the server, as ``user:password``; empty if it requires none."""
        user, _, password = auth.partition(":")
        basic = httpx.BasicAuth(user, password) if auth else None
        self._client = httpx.AsyncClient(base_url=url.rstrip("/") + "/", timeout=30.0, auth=basic)
        self._reported: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def crash(self, reasons: Mapping[str, str]) -> list[str]:
        """Mark runs as crashed, each with its reason; return those that did not have this state and reason yet.

        Runs that ended otherwise (completed, failed, cancelled) are left alone.
        """
        self._reported = {run: why for run, why in self._reported.items() if run in reasons}
        new = {run: why for run, why in reasons.items() if self._reported.get(run) != why}
        states = await self._states(new)
        changed = []
        for run, why in new.items():
            if _may_crash(states.get(run), why):
                body = {"state": {"type": "CRASHED", "name": "Crashed", "message": why}, "force": True}
                await self._post(f"flow_runs/{run}/set_state", body)
                changed.append(run)
            self._reported[run] = why
        return changed

    async def over_for(self, runs: Iterable[str], seconds: float) -> set[str]:
        """Return those of ``runs`` that ended at least that long ago, or that do not exist on the server."""
        runs = set(runs)
        states = await self._states(runs)
        return {run for run in runs if run not in states or _over(states[run], seconds)}

    async def _states(self, runs: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return type, message and age [s] of the state of each run that the server knows."""
        wanted, found = sorted(runs), {}
        for start in range(0, len(wanted), PAGE):
            body = {"flow_runs": {"id": {"any_": wanted[start : start + PAGE]}}, "limit": PAGE}
            answer = await self._post("flow_runs/filter", body)
            # The server wrote the times, so its clock tells the ages; it renews its date once a second.
            now = parsedate_to_datetime(answer.headers["Date"])
            for each in answer.json():
                state = each.get("state") or {}
                since = state.get("timestamp")
                found[str(each["id"])] = {
                    "type": state.get("type") or "",
                    "message": state.get("message") or "",
                    "age": max((now - datetime.fromisoformat(since)).total_seconds(), 0.0) if since else 0.0,
                }
        return found

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            answer = await self._client.post(path, json=body)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceError(
                f"the Prefect server at {self._client.base_url} cannot be reached: {error}", hint="see `eas status`"
            ) from None
        if "Date" not in answer.headers:
            raise ServiceError(
                f"the Prefect server at {self._client.base_url} answers without its time",
                hint="let the proxy in front of it pass on the header Date",
            )
        return answer


def _may_crash(state: Mapping[str, Any] | None, why: str) -> bool:
    """Whether a run may be marked as crashed, and is not crashed for this reason yet."""
    return state is not None and state["type"] in MAY_CRASH and (state["type"], state["message"]) != ("CRASHED", why)


def _over(state: Mapping[str, Any], seconds: float) -> bool:
    return state["type"] in FINAL and state["age"] >= seconds
