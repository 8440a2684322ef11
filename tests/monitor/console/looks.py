"""What every page of the console is tried for, whatever it shows."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser

from tests.kit.browser import PHONE, WIDE, Visitor

_windows: dict[Browser, Visitor] = {}
"""Of each browser, the window in which pages are looked at, one after the other."""


def check_page(browser, address, path):
    """Try both themes for barriers, a phone's width, no script; nothing is from elsewhere or logged."""
    window = _windows.pop(browser, None) or Visitor(browser, "")
    window.troubles.clear()
    window.asked.clear()
    window.page.set_viewport_size(WIDE)
    window.page.emulate_media(color_scheme="dark")
    window.visit(address + path)
    window.charts_are_drawn()
    assert window.barriers() == []
    assert window.is_within_width()
    window.look_on(PHONE, "light")
    assert window.barriers() == []
    assert window.is_within_width()
    window.leave()
    assert_quiet(window, address)
    _windows[browser] = window  # a page that has failed takes its window with it
    check_without_script(address, path)


def check_without_script(address, path):
    """Read the page as one does who runs no script: it has its heading, ways to go on, and every picture."""
    with httpx.Client(base_url=address, headers={"accept": "text/html"}) as client:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        page = Outline.of(answer.text)
        assert page.heading
        assert page.ways >= 4
        assert [url for url in page.loaded if not is_ours(url)] == []
        assert page.pictures == page.charts
        for url in page.loaded:
            told = client.get(url)
            assert told.status_code == 200, (url, told.text)
            assert told.content, url


def is_ours(url):
    """Whether an address on a page is one of the same service."""
    parts = urlsplit(url)
    return not parts.scheme and not parts.netloc and parts.path.startswith("/")


@dataclass
class Outline(HTMLParser):
    """What a page holds before any script has run.

    Attributes
    ----------
    heading : str
        Text of its first heading.
    ways : int
        Links of its navigation.
    loaded : list of str
        What a browser fetches for it: styles, scripts, pictures.
    charts, pictures : int
        Its charts, and pictures in their places.
    """

    heading: str = ""
    ways: int = 0
    loaded: list[str] = field(default_factory=list)
    charts: int = 0
    pictures: int = 0

    def __post_init__(self):
        super().__init__()
        self._inside = []

    @classmethod
    def of(cls, html):
        """Read a page."""
        made = cls()
        made.feed(html)
        made.close()
        return made

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        if tag in ("h1", "nav"):
            self._inside.append(tag)
        self.ways += tag == "a" and "nav" in self._inside
        self.charts += tag == "figure" and "data-chart" in told
        self.pictures += tag == "img"
        if tag in ("img", "script") and told.get("src"):
            self.loaded.append(told["src"])
        if tag == "link":
            self.loaded.append(told["href"])

    def handle_endtag(self, tag):
        if tag in self._inside:
            self._inside.remove(tag)

    def handle_data(self, data):
        if "h1" in self._inside:
            self.heading += data.strip()


def finish(visitor, address):
    """Close the window; the browser must have had nothing to complain of, and asked nobody else."""
    visitor.close()
    assert_quiet(visitor, address)


def assert_quiet(visitor, address):
    """The browser has had nothing to complain of, and asked nobody else."""
    assert visitor.troubles == []
    assert [url for url in visitor.asked if not url.startswith(address)] == []
