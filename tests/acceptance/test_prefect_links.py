"""From a link in a Prefect artifact to the page of a failed task, and back: real servers, a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eas.app import App
from eas.settings import Settings
from tests.acceptance import prefect_server
from tests.acceptance.conftest import Home
from tests.processes import MAX_TIMEOUT, clean_environment
from tests.web_server import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(MAX_TIMEOUT)]


@pytest.fixture
def prefect(tmp_path: Path) -> Iterator[str]:
    home = tmp_path / "prefect"
    home.mkdir()
    with prefect_server.serving(home) as url:
        yield url


def test_from_the_summary_of_a_run_to_the_page_of_its_failed_task_and_back(
    browser: Any, prefect: str, tmp_path: Path
) -> None:
    environment = clean_environment() | {"EAS_HOME": str(tmp_path / "eas-data"), "PREFECT_API_URL": prefect}
    home = Home(tmp_path, environment)
    home.eas("db", "init")
    app = App(Settings(home=tmp_path / "eas-data"))
    with serving(app) as client:
        environment["EAS_WEB_URL"] = str(client.base_url).rstrip("/")
        chain = home.chain({"task": "error", "name": "broken"}, {"task": "null"}, name="linked")
        home.eas("run", chain, code=1)
        ((task,),) = home.rows("SELECT id FROM tasks WHERE task_type = 'error'")
        address = f"{environment['EAS_WEB_URL']}/tasks/{task}"
        artifact = next(each["latest_id"] for each in artifacts(prefect) if f"({address})" in str(each["data"]))
        page = browser.new_context().new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{prefect.removesuffix('/api')}/artifacts/artifact/{artifact}")
        link = page.locator(f'a[href="{address}"]').first
        with page.context.expect_page() as opened:  # Prefect opens such links in a tab of their own
            link.click()
        task_page = opened.value
        task_page.get_by_role("heading", level=1).get_by_text(f"Task {task}").wait_for(timeout=60_000)
        assert "DeliberateError" in task_page.locator("main").inner_text()
        task_page.close()
        assert link.is_visible()
        page.context.close()
    app.close()


def artifacts(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = prefect_server.ask_prefect(url, "/artifacts/latest/filter", {"limit": 200})
    return found
