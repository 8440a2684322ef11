"""What every page, chart and file says is the same on PostgreSQL as on SQLite."""

import math
import re
from collections import deque
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert, select

from monitor.contracts.contract import Contract
from monitor.contracts.revisions import note
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate, reading
from monitor.store.tables import metadata
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from tests.kit.waiting import wait_for
from tests.monitor.columns_world import RANGE, columns_world
from tests.monitor.console.incident_pages_world import client_of, kill_messages, made_world, send
from tests.monitor.outcome_world import OutcomeWorld
from tests.monitor.web_world import NOW_MS

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

NOT_PAGES = ("/static/", "/metrics", "/readyz", "/api/", "/live")
NAMES = (  # what stands in an address for one of many
    (r"^/models/[^/]+", "/models/{model}"), (r"/features/[^/]+", "/features/{column}"),
    (r"^/incidents/[0-9a-f]{32}", "/incidents/{id}"), (r"^/events/\d+", "/events/{id}"),
    (r"[0-9a-f]{64}", "{hash}"), (r"(/contracts/).+", r"\1{model}"),
)  # fmt: skip
PAGES = {
    "/", "/incidents", "/deliveries", "/silences", "/events", "/events/accounting", "/events/pipeline",
    "/configuration", "/configuration/contracts", "/configuration/references",
    "/configuration/preview", "/configuration/tokens", "/configuration/audit",
    "/configuration/references/{hash}",
    "/models/{model}", "/models/{model}/compare", "/models/{model}/features/{column}",
    "/models/{model}/segments", "/models/{model}/segments/map.csv",
}  # fmt: skip
COLUMN_CHARTS = ("distribution", "contributions", "effect", "evidence", "shares", "quantiles", "rows")
MODEL_CHARTS = ("performance", "labels", "predictions", "features", "quality", "volume")
STORY_CHARTS = ("statistic", "distribution")
FORMS = ("json", "csv")
BY_LOT = ("/charts/quantiles.", "/charts/latency.", "/compare?")
"""Where quantiles are shown: when sketches are merged, which values stand for the others is drawn by lot."""
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


def files(place, names):
    return {f"{place}/charts/{name}.{form}" for name in names for form in FORMS}


def columns(url):
    """Drift, segments, contracts with revisions, dead letters, odd names."""
    made = columns_world(url)
    made.add([50], dead=[("undecodable", b"\xff"), ("contract", b"{}"), ("future", b'{"a": 1}')])
    for number, most in enumerate((120, 130)):
        note(made.engine, "m", Contract({"x": {"min": 0, "max": most}}), NOW_MS + number)
    return made


def incidents(url):
    """Incidents in several states, messages that died, silences, requests for training."""
    made = made_world(url, models=2)
    with client_of(made) as client:
        send(client, "/silences", model="p*", **{"for": "2h"}, actor="Ann", comment="moving")
        send(client, f"/incidents/{made.judged.id}", do="comment", text="a look", actor="Ann")
        send(client, f"/incidents/{made.judged.id}", do="acknowledge", actor="Ann")
    kill_messages(made, "hook")
    return made


def outcomes(url):
    """A model with labels whose performance falls."""
    models = {"churn": {"task": "binary_classification", "positive_label": 1}}
    made = OutcomeWorld(url, models=models)
    made.send(0, 70, per_minute=4)
    made.beat(75)
    made.sweep()
    made.send(75, 20, wrong=0.7, per_minute=4)
    made.beat(100)
    made.sweep()
    return made


WORLDS = {
    "columns": (columns, [f"/models/m/features/x?from={RANGE['from']}&to={RANGE['to']}", "/models/m"]),
    "incidents": (incidents, ["/incidents?state=all", "/deliveries?state=dead"]),
    "outcomes": (outcomes, ["/models/churn/segments?measure=performance"]),
}
VISITED = {
    "columns": PAGES
    | {"/events/{id}", "/events/{id}/bytes", "/events/replay", "/configuration/contracts/{model}"}
    | files("/models/{model}/features/{column}", COLUMN_CHARTS)
    | files("/models/{model}", ("predictions", "features", "quality", "volume")),
    "incidents": PAGES | {"/incidents/{id}"} | files("/incidents/{id}", STORY_CHARTS),
    "outcomes": PAGES | files("/models/{model}", MODEL_CHARTS),
}


@pytest.fixture(scope="module")
def empty(postgres):
    """A PostgreSQL database as the service sets it up."""
    database = postgres.create_database()
    made = engines.create(postgres.url(database))
    schema.upgrade(made)
    yield made
    made.dispose()
    postgres.drop_database(database)


def copy(source, target):
    """Put all that is in one database into another, in place of what is there."""
    with reading(source) as old, immediate(target) as new:
        for table in reversed(metadata.sorted_tables):
            new.execute(table.delete())
        for table in metadata.sorted_tables:
            rows = [dict(row) for row in old.execute(select(table)).mappings()]
            if rows:
                new.execute(insert(table), rows)


class Reader(HTMLParser):
    """The text of a page, and where it leads."""

    def __init__(self, html):
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, _tag, attributes):
        self.links += [value for name, value in attributes if name in ("href", "src", "data-chart") and value]

    def handle_data(self, data):
        self.words += data.split()


def template(path):
    for pattern, name in NAMES:
        path = re.sub(pattern, name, path)
    return path


def key_of(url):
    """Every page is looked at once, and each question that pages of its kind are asked; files by their kind.

    Pictures take long to draw and show what stands in the other files: one for each kind of page is enough.
    """
    parts = urlsplit(url)
    place, asked = template(parts.path), frozenset(parse_qs(parts.query, keep_blank_values=True))
    if place.endswith(".svg"):
        return place.rpartition("/")[0], None
    if place.endswith((".json", ".csv")):
        return place, None
    return (place if asked else parts.path), asked


def answered(client, url):
    """The answer once it is there: the status of the service is gathered while others read."""

    def ready():
        answer = client.get(url, headers={"accept": "text/html"})
        return None if "The status is being gathered" in answer.text else answer

    return wait_for(ready, what=f"{url} is answered")


def same(one, other):
    """Whether two documents say the same; sums may be added up in another order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return one == other and type(one) is type(other)


def compared(url, one, other):
    """Compare two answers; gives the links of a page."""
    assert other.status_code == one.status_code < 500, (url, one.status_code, other.text)
    kind = one.headers["content-type"]
    assert other.headers["content-type"] == kind, url
    if kind.startswith("text/html"):
        pages = Reader(one.text), Reader(other.text)
        assert said(pages[1], url) == said(pages[0], url), url
        return [urljoin(url, link) for link in pages[0].links if not link.startswith("#")]
    if is_by_lot(url):
        assert NUMBER.sub("#", other.text) == NUMBER.sub("#", one.text), url
    elif kind.startswith("application/json"):
        assert same(one.json(), other.json()), (url, one.text, other.text)
    else:
        assert other.content == one.content, url
    return []


def is_by_lot(url):
    return any(place in f"{url}?" for place in BY_LOT)


def said(page, url):
    """The words of a page, whichever database it names."""
    words = [word for word in page.words if not word.startswith(("sqlite:///", "postgresql+psycopg://"))]
    return [NUMBER.sub("#", word) for word in words] if is_by_lot(url) else words


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if name == "columns" else ()) for name in WORLDS]
)
def test_every_page_and_file_says_the_same_on_both_databases(name, sqlite_url, empty):
    make, places = WORLDS[name]
    world = make(sqlite_url)
    copy(world.engine, empty)
    sqlite, postgresql = (
        TestClient(
            create_app(world.configuration, engine, Telemetry(), world.clock), base_url="http://127.0.0.1"
        )
        for engine in (world.engine, empty)
    )
    waiting = deque(["/", *places])
    seen: set[object] = set()
    visited: set[str] = set()
    while waiting:
        url = waiting.popleft()
        if not url.startswith("/") or url.startswith(NOT_PAGES) or urlsplit(url).path.endswith(".png"):
            continue
        key = key_of(url)
        if key in seen:
            continue
        seen.add(key)
        visited.add(template(urlsplit(url).path))
        waiting += compared(url, answered(sqlite, url), answered(postgresql, url))
    assert VISITED[name] - visited == set()
    world.engine.dispose()
