"""The console over much data on SQLite: processor time of every page and chart, and how large pages are.

``python -m tests.benchmarks.bench_console [--quick] [--json]``. Three databases: 5,000 models over 90 days;
a model with windows of an hour and 30 features, and one with windows of five minutes from slices of a minute,
over the same 90 days; 2,000 incidents, 72,000 messages and 200,000 dead letters.

What is measured is the processor time of the whole process for an answer, the median of several, which on a
quiet machine is how long it takes; how long it took is printed beside it. The weight of a page is that of its
contents, of all files that it names and of all charts that it loads at once, as they are sent to a browser
that understands gzip.
"""

from __future__ import annotations

import gzip
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Protocol

from fastapi.testclient import TestClient
from sqlalchemy import Engine

from monitor.clock import ManualClock
from monitor.commands.run import settle
from monitor.config import Configuration
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from monitor.web.documents import instant
from tests.benchmarks.console_world import (
    HOUR_MS,
    HOURLY,
    MINUTES,
    DeepWorld,
    TroubledWorld,
    fill_backlog,
    fill_references,
)
from tests.benchmarks.running import Figure, arguments, machine, report
from tests.monitor.fleet_world import DAY_MS, END_MS, NOW_MS, Fleet

MODELS, DAYS = 5_000, 90
PAGE_MS, CHART_MS, MOST_KB = 300, 500, 300
ROUNDS = 5
CHART = re.compile(r'data-chart="([^"]+)"')
FILE = re.compile(r'(?:src|href)="(/static/[^"]+)"')


class World(Protocol):
    """What an application is made over."""

    configuration: Configuration
    engine: Engine
    telemetry: Telemetry
    clock: ManualClock


@dataclass(frozen=True)
class Taken:
    """One answer: processor time and time by the clock (medians), what it holds, and bytes on the way."""

    cpu_ms: float
    wall_ms: float
    text: str
    sent: int


class Browser:
    """Asks for pages as a browser does, and remembers what they weighed."""

    def __init__(self, client: TestClient, rounds: int = ROUNDS) -> None:
        self._client, self._rounds = client, rounds
        self._files: dict[str, int] = {}
        self.figures: list[Figure] = []

    def page(self, name: str, path: str, most_ms: int = PAGE_MS) -> None:
        """Measure a page, the charts that it loads, and its weight."""
        taken = self.taken(path)
        self._note(name, taken, most_ms)
        weight = taken.sent + sum(self._file(address) for address in set(FILE.findall(taken.text)))
        for address in dict.fromkeys(map(unescape, CHART.findall(taken.text))):
            chart = self.taken(address)
            self._note(f"  chart {_named(address)}", chart, CHART_MS)
            weight += chart.sent
        kilobytes = weight / 1_000
        self.figures.append(
            Figure(f"  weight of {name} (kB)", f"{kilobytes:,.0f}", f"<= {MOST_KB}", kilobytes <= MOST_KB)
        )

    def answer(self, name: str, path: str, most_ms: int = PAGE_MS) -> None:
        """Measure something that is no page."""
        self._note(name, self.taken(path), most_ms)

    def once(self, path: str) -> tuple[str, int]:
        """Ask once: what the answer holds, and how many bytes were sent."""
        with self._client.stream("GET", path) as answer:
            raw = b"".join(answer.iter_raw())
        is_packed = answer.headers.get("content-encoding") == "gzip"
        body = (gzip.decompress(raw) if is_packed else raw).decode()
        if answer.status_code != 200:
            msg = f"{path}: {answer.status_code} {body[:300]}"
            raise RuntimeError(msg)
        return body, len(raw)

    def taken(self, path: str) -> Taken:
        """Ask several times; the first one does not count."""
        cpu, wall = [], []
        body, sent = self.once(path)
        for _ in range(self._rounds):
            begin, cpu_begin = time.perf_counter(), time.process_time()
            self.once(path)
            cpu.append(1_000 * (time.process_time() - cpu_begin))
            wall.append(1_000 * (time.perf_counter() - begin))
        return Taken(statistics.median(cpu), statistics.median(wall), body, sent)

    def _note(self, name: str, taken: Taken, most_ms: int) -> None:
        figure = f"{taken.cpu_ms:,.0f} (wall {taken.wall_ms:,.0f})"
        self.figures.append(Figure(f"{name} (ms)", figure, f"<= {most_ms}", taken.cpu_ms <= most_ms))

    def _file(self, address: str) -> int:
        if address not in self._files:
            self._files[address] = self.once(address)[1]
        return self._files[address]


def _named(address: str) -> str:
    path, _, query = address.partition("?")
    segment = re.search(r"segment=([^&]+)", query)
    return path.rpartition("/")[2].removesuffix(".json") + (f" of {segment[1]}" if segment else "")


@contextmanager
def browsing(world: World) -> Iterator[Browser]:
    """Serve a world."""
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1", headers={"accept-encoding": "gzip"}) as client:
        settle()  # as `driftline run` does
        yield Browser(client)


def fleet_pages(browser: Browser, hash_: str) -> None:
    """Ask for what is about all models."""
    begin = time.process_time()
    browser.once("/")
    first_ms = 1_000 * (time.process_time() - begin)
    reached = first_ms <= PAGE_MS
    browser.figures.append(
        Figure("fleet, the first request (ms)", f"{first_ms:,.0f}", f"<= {PAGE_MS}", reached)
    )
    for name, path in {
        "fleet": "/",
        "fleet by freshness": "/?sort=freshness",
        "fleet by event rate": "/?sort=rate",
        "fleet, search": "/?q=model-012",
        "fleet, only firing": "/?state=firing",
        "pipeline": "/events/pipeline",
        "accounting": "/events/accounting",
        "references": "/configuration/references",
        "reference of 5,000 versions": f"/configuration/references/{hash_}",
        "configuration": "/configuration",
        "contracts": "/configuration/contracts",
    }.items():
        browser.page(name, path)
    api = "/api/v1"
    for path in (
        f"{api}/models",
        f"{api}/models?limit=500",
        f"{api}/budget",
        f"{api}/references",
        "/metrics",
    ):
        browser.answer(path, path)
    browser.answer("/api/v1/references/{hash}", f"/api/v1/references/{hash_}")


def deep_pages(browser: Browser, days: int) -> None:
    """Ask for what is about one model with much behind it."""
    whole = f"from={instant(END_MS - days * DAY_MS)}&to={instant(END_MS)}"
    for deep in (HOURLY, MINUTES):
        model, feature = f"/models/{deep.name}", deep.numeric[0].name
        browser.page(f"{deep.name}: model, 30 days", model)
        browser.page(f"{deep.name}: model, {days} days", f"{model}?{whole}")
        browser.page(f"{deep.name}: model by day, {days} days", f"{model}?window=1d&{whole}")
        browser.page(f"{deep.name}: compare", f"{model}/compare")
        browser.page(f"{deep.name}: feature", f"{model}/features/{feature}")
        browser.page(f"{deep.name}: feature, {days} days", f"{model}/features/{feature}?{whole}")
        browser.page(f"{deep.name}: segments", f"{model}/segments")
        browser.page(f"{deep.name}: segments, {days} days", f"{model}/segments?{whole}")
        browser.answer(f"{deep.name}: /api/v1 results", f"/api/v1/models/{deep.name}/results")
        browser.answer(f"{deep.name}: /api/v1 performance", f"/api/v1/models/{deep.name}/performance")


def troubled_pages(browser: Browser, wide: str) -> None:
    """Ask for incidents, messages and dead letters."""
    at_ms = NOW_MS - 40 * DAY_MS
    pages: Mapping[str, str] = {
        "inbox": "/incidents",
        "inbox, all, newest": "/incidents?state=all&order=newest",
        "inbox, search": "/incidents?q=column+12",
        "inbox of a model": "/incidents?model=model-00012",
        "incident of many findings": f"/incidents/{wide}",
        "deliveries": "/deliveries",
        "deliveries, dead": "/deliveries?state=dead",
        "deliveries of a receiver": "/deliveries?receiver=chat",
        "deliveries, dead, of a receiver": "/deliveries?receiver=oncall&state=dead",
        "dead letters": "/events",
        "dead letters, rare reason": "/events?reason=a+rare+reason",
        "dead letters, no such reason": "/events?reason=nothing",
        "dead letters of a kind": "/events?kind=future",
        "dead letters, marked": "/events?status=marked",
        "dead letters of a topic": "/events?topic=topic-2",
        "dead letters of no topic": "/events?topic=topic-9",
        "dead letters before an instant": f"/events?to={instant(at_ms)}",
        "dead letters in an hour": f"/events?from={instant(at_ms)}&to={instant(at_ms + HOUR_MS)}",
        "silences": "/silences",
    }
    for name, path in pages.items():
        browser.page(name, path)


def measure(*, quick: bool, as_json: bool) -> None:
    """Fill the databases, ask for the pages and print the table."""
    before = machine()
    days, share = (10, 10) if quick else (DAYS, 1)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:

        def url(name: str) -> str:
            return f"sqlite:///{Path(folder) / name}.db"

        fleet = Fleet(url("fleet"), MODELS // share, DAYS)
        fleet.fill()
        hash_ = fill_references(fleet, 2_000 // share)
        fill_backlog(fleet)
        with browsing(fleet) as browser:
            fleet_pages(browser, hash_)
            figures += browser.figures
        fleet.engine.dispose()
        deep = DeepWorld(url("deep"), days)
        deep.fill()
        with browsing(deep) as browser:
            deep_pages(browser, days)
            figures += browser.figures
        deep.engine.dispose()
        troubled = TroubledWorld(
            url("troubled"), incidents=2_000 // share, findings=300, messages=72_000 // share,
            letters=200_000 // share,
        )  # fmt: skip
        troubled.fill()
        with browsing(troubled) as browser:
            troubled_pages(browser, troubled.wide)
            figures += browser.figures
        troubled.engine.dispose()
    report(f"The console with {MODELS // share:,} models and {days} days", figures, before, as_json=as_json)


def test_console() -> None:
    """Print the table; `make bench` collects this."""
    measure(quick=False, as_json=False)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure(quick=options.quick, as_json=options.json)
