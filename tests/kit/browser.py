"""The system's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no annotations
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium without a window, and stop it."""
    path = shutil.which("chromium")
    if path is None:
        msg = "there is no chromium on this machine (make servers installs it)"
        raise RuntimeError(msg)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """A person with a browser, who notes everything that goes wrong on the pages.

    Parameters
    ----------
    browser : Browser
    address : str
        Of the service.
    **options
        Of the browser's context: ``viewport``, ``color_scheme``, ``java_script_enabled``.
    """

    def __init__(self, browser: Browser, address: str, **options: object) -> None:
        self.context = browser.new_context(base_url=address, **{"viewport": WIDE, **options})  # type: ignore[arg-type]  # options of many types
        self.page: Page = self.context.new_page()
        self.troubles: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def visit(self, path: str) -> Page:
        """Open a page and wait until it stands."""
        self.page.goto(path, wait_until="load")
        return self.page

    def barriers(self) -> list[str]:
        """Look for what keeps people from using the page (WCAG 2.2, levels A and AA)."""
        found = Axe().run(self.page, options={"runOnly": RULES})
        return [
            f"{one['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
            for one in found.response["violations"]
            for node in one["nodes"]
        ]

    def is_within_width(self) -> bool:
        """Whether nothing but marked regions has to be scrolled sideways."""
        return bool(
            self.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        )

    def charts_are_drawn(self) -> None:
        """Scroll through the page until every chart stands."""
        for figure in self.page.locator("figure[data-chart]").all():
            figure.scroll_into_view_if_needed()
            self.page.wait_for_function("figure => figure.dataset.drawn === '1'", arg=figure.element_handle())

    def close(self) -> None:
        """Close the browser's window."""
        self.context.close()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)
