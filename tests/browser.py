"""A page of Debian's Chromium, driven by Playwright."""

from __future__ import annotations

from typing import Any


class MonitoredPage:
    """A page of the browser that collects complaints of the console and requests to other hosts."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address = address
        self.problems: list[str] = []
        self.page = browser.new_context(accept_downloads=True, **options).new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: Any) -> None:
        # A page that is not there is asked for on purpose.
        if message.type in ("error", "warning") and "404" not in message.text:
            self.problems.append(message.text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "data:")):
            self.problems.append(f"asked {url}")

    def go(self, path: str) -> Any:
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("load")
        return self.page

    def close(self) -> None:
        self.page.context.close()
        assert self.problems == []


def click(page: Any, name: str, within: str = "main") -> None:
    page.locator(within).get_by_role("link", name=name, exact=True).first.click()
    page.wait_for_load_state("load")
