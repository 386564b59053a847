"""Ages of flow runs are measured by the clock of Prefect's server, which every answer carries."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from eas.errors import ServiceError
from flows.flow_runs import server_time
from infra.deploy.flow_runs import FlowRuns

DATE = "Fri, 27 Nov 2026 18:00:00 GMT"


def client(headers: dict[str, str]) -> Any:
    return cast("Any", SimpleNamespace(request=lambda *_: httpx.Response(200, headers=headers)))


def test_it_is_the_date_of_an_answer() -> None:
    assert server_time(client({"Date": DATE})) == datetime(2026, 11, 27, 18, tzinfo=UTC)


def test_an_answer_without_it_is_an_error_with_a_hint() -> None:
    with pytest.raises(ServiceError, match="without its time") as raised:
        server_time(client({}))
    assert "proxy" in raised.value.hint


def test_the_reconciler_names_an_answer_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> None:
        async with FlowRuns("http://prefect-server/api") as runs:
            transport = httpx.MockTransport(lambda _: httpx.Response(200, json=[]))
            monkeypatch.setattr(
                runs, "_client", httpx.AsyncClient(base_url="http://prefect-server", transport=transport)
            )
            await runs.over_for(["1"], 10.0)

    with pytest.raises(ServiceError, match="without its time"):
        asyncio.run(ask())
