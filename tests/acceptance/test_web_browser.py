"""A real browser walks through the web application: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import hostile
from tests.browser import MonitoredPage, click
from tests.integration.harness import System
from tests.observed import observed, task_id  # noqa: F401
from tests.processes import ROOT
from tests.web_server import serving

pytestmark = pytest.mark.slow
AXE = ROOT / "tests" / "vendor" / "axe-core" / "axe.min.js"
PAGES = ("/jobs", "/jobs/1", "/jobs/2", "/jobs/1/errors", "/jobs/1/timeline", "/jobs/1/chain", "/tasks", "/tasks?job=1",
         "/tasks/12", "/tasks/3", "/tasks/4", "/files", "/files/1", "/logs", "/logs?level=error", "/workers", "/queues",
         "/timings", "/pass-fail", "/pass-fail?job=1", "/nope")  # fmt: skip


@pytest.fixture(scope="module")
def address(observed: System) -> Iterator[str]:  # noqa: F811
    with serving(observed.app) as client:
        client.get("/jobs/1")
        yield str(client.base_url).rstrip("/")


@pytest.fixture
def watched(browser, address) -> Iterator[MonitoredPage]:
    made = MonitoredPage(browser, address)
    yield made
    made.close()


def test_from_the_jobs_to_a_light_curve_and_its_download(watched, observed, tmp_path):  # noqa: F811
    page = watched.go("/")
    click(page, "1 observed")
    assert page.locator("h1").inner_text() == "Job 1: observed"
    click(page, "Failed tasks")
    assert "state=failed" in page.url
    broken = task_id(observed, "broken")
    rows = page.locator("tbody tr")
    rows.filter(has_text='error "broken"').get_by_role("link", name=str(broken), exact=True).click()
    page.wait_for_load_state("load")
    assert page.url.endswith(f"/tasks/{broken}")
    assert "DeliberateError" in page.locator("main").inner_text()
    click(page, "wd/curve_0.lc")
    maker = task_id(observed, "synthesis")
    click(page, str(maker))
    assert page.url.endswith(f"/tasks/{maker}")
    click(page, "wd/curve_0.lc")
    for picture in page.locator("img.plot").all():
        picture.scroll_into_view_if_needed()
    page.evaluate("Promise.all([...document.querySelectorAll('img.plot')].map(each => each.decode()))")
    widths = page.evaluate("[...document.querySelectorAll('img.plot')].map(each => each.naturalWidth)")
    assert len(widths) == 2
    assert min(widths) > 500
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    target = tmp_path / "curve.lc"
    download.value.save_as(target)
    version = observed.app.store.root / observed.rows(_versions())[0].store_path
    assert target.read_bytes() == Path(version).read_bytes()


def _versions() -> Any:
    from eas.taskdb import tables

    return tables.product_versions.select().order_by(tables.product_versions.c.id)


def test_the_tree_opens_level_by_level(watched, observed):  # noqa: F811
    page = watched.go("/jobs/1")
    page.get_by_text('execution_for_loop "sweep"').click()
    page.get_by_text("execution_chain [size=0.2]").click()
    page.get_by_role("link", name=f"task {task_id(observed, 'product', 1)}", exact=True).click()
    page.wait_for_load_state("load")
    assert "multiply" in page.locator("main").inner_text()


def test_a_page_looks_again_while_something_moves(watched, observed):  # noqa: F811
    from eas.taskdb import tables

    page = watched.go("/tasks?job=waits")
    assert page.locator("main").get_attribute("data-refresh") == "5"
    assert "withdrawn in the meantime" not in page.locator("main").inner_text()
    with observed.app.database.write() as connection:
        table = tables.tasks
        connection.execute(table.update().where(table.c.job_id == 2).values(reason="withdrawn in the meantime"))
    page.get_by_text("withdrawn in the meantime").wait_for()
    page = watched.go("/tasks?job=1")
    assert page.locator("main").get_attribute("data-refresh") is None


def test_the_keyboard_is_enough(watched):
    page = watched.go("/jobs")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "1 observed":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/1")


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_readable_at_400_pixels(browser, address, path):
    watched = MonitoredPage(browser, address, viewport={"width": 400, "height": 800}, color_scheme="dark")
    page = watched.go(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    watched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_pages_are_accessible(browser, address, path, scheme):
    watched = MonitoredPage(browser, address, color_scheme=scheme)
    page = watched.go(path)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    results = page.evaluate("axe.run()")
    assert len(results["passes"]) > 10
    found = results["violations"]
    serious = [(each["id"], [node["html"] for node in each["nodes"][:3]]) for each in found
               if each["impact"] in ("serious", "critical")]  # fmt: skip
    assert serious == []
    watched.close()


def test_texts_of_users_do_not_run(browser, tmp_path):
    from eas.app import App
    from eas.settings import Settings

    hostile.make(tmp_path).close()
    app = App(Settings(home=tmp_path))
    with serving(app) as client:
        watched = MonitoredPage(browser, str(client.base_url).rstrip("/"))
        watched.page.on("dialog", lambda dialog: watched.problems.append(f"dialog {dialog.message}"))
        for path in (
            "/jobs",
            "/jobs/1",
            "/tasks",
            "/tasks/2",
            "/tasks/3",
            "/tasks/4",
            "/logs",
            "/jobs/1/chain",
            "/files",
        ):
            watched.go(path)
            assert watched.page.locator("main script, main img").count() == 0
        watched.close()
    app.close()
