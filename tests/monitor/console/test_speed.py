"""What keeps pages fast, whatever the machine: indexes, few statements, packed files, a warm start."""

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace

import pytest
from fastapi import routing
from fastapi.testclient import TestClient
from sqlalchemy import event

from monitor.status import gather
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from monitor.store.queries import deliveries, lineage, pipeline, references
from monitor.store.queries.dead_letter_counts import count_reasons, reasons_among
from monitor.store.queries.dead_letters import Wanted, dead_letters
from monitor.web.app import create_app
from monitor.web.console import live, warming
from monitor.web.console.assets import address
from monitor.web.console.live import Changes
from monitor.web.console.shell import environment
from tests.monitor.fleet_world import NOW_MS, Fleet
from tests.monitor.web_world import World


@pytest.fixture
def fleet(tmp_path):
    made = Fleet(f"sqlite:///{tmp_path / 'fleet.db'}", 40, 3)
    made.fill()
    yield made
    made.engine.dispose()


@pytest.fixture
def served(tmp_path):
    world = World(f"sqlite:///{tmp_path / 'd.db'}")
    world.add(range(10))
    world.learn(range(10))
    world.add(range(10, 20), dead=[("undecodable", b"{"), ("future", b"{}"), ("undecodable", b"[")])
    world.judge(10)
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        client.world = world
        yield client
    world.engine.dispose()


@pytest.mark.parametrize(
    ("ask", "way"),
    [
        (lambda one: pipeline.backlog(one, 9), "SCAN window_state USING INDEX window_state_dirty"),
        (pipeline.changed_windows, "SCAN window_state USING INDEX window_state_dirty"),
        (lambda one: lineage.unused(one, 9), "reference_pointer_hash (hash=?)"),
        (lambda one: references.references(one, None, 9), "reference_newest"),
        (lambda one: references.uses(one, ["h"]), "reference_pointer_hash (hash=?)"),
        (lambda one: deliveries.deliveries(one, None, "hook", None, 9), "outbox_receiver_newest (receiver="),
        (lambda one: deliveries.deliveries(one, "dead", None, None, 9), "outbox_state_newest (state=?)"),
        (lambda one: dead_letters(one, Wanted(topic="t"), None, 9, 9), "dead_letter_topic (topic=?)"),
        (lambda one: dead_letters(one, Wanted(kind="future"), None, 9, 9), "dead_letter_kind (kind=?)"),
        (lambda one: count_reasons(one, Wanted(topic="t"), 9), "dead_letter_topic (topic=?)"),
    ],
    ids=[
        "backlog", "windows that changed", "references nobody uses", "newest references", "who uses them",
        "messages to a receiver", "messages in a state", "letters of a topic", "letters of a kind", "reasons",
    ],
)  # fmt: skip
def test_an_index_leads_to_what_a_page_lists(tmp_path, ask, way):
    engine = engines.create(f"sqlite:///{tmp_path / 'd.db'}")
    schema.upgrade(engine)
    plans: list[str] = []

    def explain(connection, _cursor, statement, parameters, *_):
        if not statement.startswith("EXPLAIN"):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            plans.extend(str(row[-1]) for row in rows)

    with reading(engine) as connection:
        event.listen(engine, "before_cursor_execute", explain)
        ask(connection)
    engine.dispose()
    assert any(way in plan for plan in plans), plans


def test_the_status_takes_as_many_statements_for_one_model_as_for_many(fleet, tmp_path):
    other = Fleet(f"sqlite:///{tmp_path / 'one.db'}", 1, 3)
    other.fill()
    assert _statements_of(other) == _statements_of(fleet)
    other.engine.dispose()


def _statements_of(world):
    found = []
    event.listen(world.engine, "before_cursor_execute", lambda *one: found.append(one[2]))
    gather(world.engine, world.configuration, NOW_MS, "not asked")
    return len(found)


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_reasons_of_listed_letters_are_counted_as_stored_ones(served, limit):
    with reading(served.world.engine) as connection:
        listed = dead_letters(connection, Wanted(), None, 100, 1)
        expected = count_reasons(connection, Wanted(), limit)
    assert reasons_among(((one.kind, one.reason) for one in listed), limit) == expected
    assert expected.letters == 3


def test_a_rare_reason_is_looked_for_once(served):
    counted = []
    event.listen(served.world.engine, "before_cursor_execute", lambda *one: counted.append(one[2]))
    assert served.get("/events?reason=why").status_code == 200
    assert sum("dead_letter.reason" in statement for statement in counted) == 1
    counted.clear()
    assert served.get("/events?reason=why&limit=1").status_code == 200
    assert sum("dead_letter.reason" in statement for statement in counted) == 2


@pytest.mark.parametrize(
    "path", [address("htmx.min.js"), address("style.css"), "/models/m/charts/volume.json", "/api/v1/models"]
)
def test_data_and_files_come_packed_to_who_understands_it(served, path):
    plain = _asked(served, path, "identity")
    packed = _asked(served, path, "gzip, deflate, br")
    assert "content-encoding" not in plain[0]
    if len(plain[1]) >= 1_024:
        assert packed[0]["content-encoding"] == "gzip"
        assert len(packed[1]) == int(packed[0]["content-length"]) < len(plain[1])
        assert gzip.decompress(packed[1]) == plain[1]
    assert packed[0]["vary"] == plain[0]["vary"] == "Accept-Encoding"


def test_pages_with_the_token_of_a_form_are_not_packed(served):
    headers, body = _asked(served, "/", "gzip")
    assert "content-encoding" not in headers
    assert b"<!DOCTYPE html>" in body


def _asked(client, path, accepted):
    with client.stream("GET", path, headers={"accept-encoding": accepted}) as answer:
        assert answer.status_code == 200
        return answer.headers, b"".join(answer.iter_raw())


def test_what_the_first_page_needs_is_there_before_it_is_asked_for(fleet, monkeypatch):
    environment.cache_clear()
    monkeypatch.setattr(warming, "PATIENCE_S", 60)
    app = create_app(fleet.configuration, fleet.engine, fleet.telemetry, fleet.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        made: list[object] = []

        def noting(work):
            def noted(*args, **options):
                made.append(args[1])
                return work(*args, **options)

            return noted

        populate, compile_ = routing._populate_api_route_state, environment().compile
        monkeypatch.setattr(routing, "_populate_api_route_state", noting(populate))
        monkeypatch.setattr(environment(), "compile", noting(compile_))
        assert client.get("/").status_code == 200
        assert made == []


def test_a_database_without_tables_keeps_nobody_from_starting(tmp_path, fleet):
    empty = engines.create(f"sqlite:///{tmp_path / 'empty.db'}")
    app = create_app(fleet.configuration, empty, fleet.telemetry, fleet.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/livez").status_code == 200
    empty.dispose()


@pytest.mark.parametrize(("pages", "apart_s"), [(1, 2.0), (100, 26.0)])
def test_the_more_pages_are_open_the_less_often_each_loads_itself(monkeypatch, pages, apart_s):
    clock = [0.0]

    class Busy(Changes):
        def __init__(self):
            self.listeners, self.number = pages - 1, 0

        async def state(self):
            self.number += 1
            return (self.number,)

    async def sleep(span_s):
        clock[0] += span_s

    monkeypatch.setattr(live, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    at: list[float] = []

    async def listen():
        async for words in live._told(Busy(), ()):
            if words.startswith("event: changed"):
                at.append(clock[0])
            if len(at) == 4:
                break

    # In a thread of its own: where a browser runs, this one has a loop already.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(listen())).result()
    assert [after - before for before, after in pairwise(at)] == [apart_s] * 3
