"""The system's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]  # it has no annotations
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, sync_playwright

Colours = Literal["dark", "light"]
WIDE: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Of all else that axe finds, one node a rule is enough: to describe each node costs more than to look at it.
AXE_RUN = """async rules => (await axe.run({runOnly: rules, resultTypes: ["violations"]})).violations.flatMap(
    one => one.nodes.map(
        node => `${one.id}: ${node.html.slice(0, 160)} (${node.failureSummary.slice(0, 200)})`))"""
# Charts are drawn when they come into view: goes to the first one that is not, until there is none.
ALL_DRAWN = """() => {
    const charts = [...document.querySelectorAll("figure[data-chart]")];
    const next = charts.find(one => one.dataset.drawn !== "1");
    if (next) next.scrollIntoView({block: "center"});
    return !next;
}"""
# In other colours the page draws again whatever is drawn.
TO_BE_DRAWN_AGAIN = """() => document.querySelectorAll("figure[data-chart]").forEach(
    one => { one.dataset.drawn = "again"; })"""


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
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        found: list[str] = self.page.evaluate(AXE_RUN, RULES)
        return found

    def is_within_width(self) -> bool:
        """Whether nothing but marked regions has to be scrolled sideways."""
        return bool(
            self.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        )

    def charts_are_drawn(self) -> None:
        """Scroll through the page until every chart stands."""
        self.page.wait_for_function(ALL_DRAWN)

    def look_on(self, width: ViewportSize, colours: Colours) -> None:
        """Go on at another width and in the other colours, until every chart stands again."""
        self.page.evaluate(TO_BE_DRAWN_AGAIN)
        self.page.set_viewport_size(width)
        self.page.emulate_media(color_scheme=colours)
        self.charts_are_drawn()

    def leave(self) -> None:
        """Leave the page and forget who was there; the window stays, with the files that browsers keep."""
        self.page.goto("about:blank")
        self.context.clear_cookies()

    def close(self) -> None:
        """Close the browser's window."""
        self.context.close()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)
