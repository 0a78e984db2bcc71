"""A real browser for tests of the site: `launched`, and `Watch`, which sees what a page asks for or complains about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
WAIT_MS = 60_000  # a shared core can stall


@contextmanager
def launched() -> Iterator[Browser]:
    """Headless Chromium; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


class Watch:
    """A page of the site, with everything that it asked for or complained about."""

    def __init__(self, browser: Browser, site: Path, path: str = "index.html", **context: Any) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **context})
        self.context.set_default_timeout(WAIT_MS)
        self.tab: Tab = self.context.new_page()
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.tab.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.tab.goto(f"file://{site / path}")
        if context.get("java_script_enabled", True):
            self.ready()

    def ready(self) -> None:
        self.tab.wait_for_function("document.documentElement.dataset.tables === 'ready'", timeout=WAIT_MS)

    def draw_all(self) -> None:
        """Come by every chart that is shown, so that each is drawn."""
        for figure in self.tab.locator("figure:visible").all():
            figure.scroll_into_view_if_needed()
            self.tab.wait_for_function("figure => figure.dataset.drawn", arg=figure.element_handle(), timeout=WAIT_MS)

    def close(self) -> None:
        """Nothing was asked of anybody, and nobody complained."""
        self.context.close()
        assert self.requests and all(url.startswith(("file:", "blob:", "data:")) for url in self.requests)
        assert not self.complaints, self.complaints
