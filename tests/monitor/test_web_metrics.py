"""Gauges of the database: right, bounded in number and in work, absent rather than stale."""

import threading

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from monitor.telemetry import Committed
from monitor.web import gauges as gauges_module
from monitor.web import metrics as metrics_module
from monitor.web.app import create_app
from monitor.web.context import Context
from monitor.web.gauges import EFFECTS, QUALITY, Gauges
from monitor.web.metrics import StateCollector
from schemas.errors import Unavailable
from tests.monitor.web_world import START_MS, World


@pytest.fixture
def world(database_url):
    made = World(database_url)
    yield made
    made.engine.dispose()


@pytest.fixture
def gauges(world):
    return Gauges(Context(world.configuration, world.engine, world.telemetry, world.clock))


@pytest.fixture
def collector(gauges, world):
    made = StateCollector(gauges, world.clock)
    yield made
    made.close()


def scraped(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        return {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}


def values(family):
    order = ("topic", "outcome", "model", "version", "column")
    return {
        tuple(sample.labels[name] for name in order if name in sample.labels): sample.value
        for sample in family.samples
    }


def judged(world, model="m", minutes=(10,), **options):
    world.add(range(10), model=model)
    world.learn(range(10), model=model)
    world.add(range(10, 10 + 10 * len(minutes)), model=model, **options)
    for minute in minutes:
        world.judge(minute, model=model)


def test_a_scrape_tells_what_the_database_knows(world):
    judged(world, shift=2.0)
    world.alert()
    world.telemetry.emit(Committed(0.01, {("pp", "counted"): 5}))
    found = scraped(world)
    assert values(found["driftline_watermark_timestamp_seconds"]) == {("m",): START_MS / 1_000 + 18 * 60}
    assert values(found["driftline_alerts_open"]) == {(): 1}
    assert values(found["driftline_unpaired_messages"]) == {("pp",): 0}
    assert values(found["driftline_state_up"]) == {(): 1}
    assert values(found["driftline_series_dropped"]) == {(): 0}
    assert values(found["driftline_events"]) == {("pp", "counted"): 5}
    psi = values(found["driftline_drift_psi"])
    assert set(psi) == {("m", "1", "x"), ("m", "1", "score"), ("m", "1", "c")}
    assert psi["m", "1", "x"] > 1 > psi["m", "1", "score"]
    assert values(found["driftline_missing_ratio"])["m", "1", "x"] == pytest.approx(0.04)
    assert values(found["driftline_invalid_ratio"])["m", "1", "x"] == pytest.approx(0.02)
    assert values(found["driftline_unseen_ratio"]) == {("m", "1", "c"): 0}


def test_every_family_is_there_without_any_data(world):
    found = scraped(world)
    for name in [*(f"drift_{effect}" for effect in EFFECTS), *(f"{kind}_ratio" for kind in QUALITY)]:
        assert found[f"driftline_{name}"].samples == []
        assert found[f"driftline_{name}"].documentation.endswith(".")


def test_the_latest_window_and_revision_count(world, gauges):
    judged(world, minutes=(10, 20))
    first = gauges.read().effects["psi"]["m", "1", "x"]
    world.add(range(20, 30), shift=3.0)
    world.judge(20, revision=2)
    second = gauges.read()
    assert second.effects["psi"]["m", "1", "x"] > first + 0.5
    assert second.quality["missing"]["m", "1", "x"] == pytest.approx(0.04)


def test_versions_that_are_not_used_any_more_are_left_out(world, gauges):
    world.add(range(10))
    for version in ("1", "2"):
        world.learn(range(10), version=version)
    world.add(range(10, 20))
    world.judge(10)
    late = 10 + 10 * (gauges_module.RETIRED_AFTER + 1)
    world.add(range(late, late + 10), version="2")
    world.judge(late, version="2")
    assert {version for _, version, _ in gauges.read().effects["psi"]} == {"2"}


def test_label_sets_are_capped_and_the_rest_is_counted(world, gauges, monkeypatch):
    for model in ("a", "b"):
        judged(world, model=model)
    monkeypatch.setattr(gauges_module, "MOST_SERIES", 1)
    snapshot = gauges.read()
    assert list(snapshot.watermarks) == ["a"]
    assert len(snapshot.effects["psi"]) == 1
    assert snapshot.dropped == 1 + 5
    assert sum(map(len, snapshot.quality.values())) <= len(QUALITY)
    monkeypatch.setattr(gauges_module, "MOST_VERSIONS", 1)
    assert gauges.read().dropped == 1 + 2 + 1


def test_the_quality_of_a_window_is_worked_out_once(world, gauges, monkeypatch):
    for model in ("a", "b", "c"):
        judged(world, model=model)
    monkeypatch.setattr(gauges_module, "NEW_WINDOWS", 2)
    read = []
    real = gauges._shares_of

    def shares_of(connection, latest):
        read.append(latest.model)
        return real(connection, latest)

    monkeypatch.setattr(gauges, "_shares_of", shares_of)
    assert len({model for model, _, _ in gauges.read().quality["missing"]}) == 2
    assert len({model for model, _, _ in gauges.read().quality["missing"]}) == 3
    gauges.read()
    assert read == ["a", "b", "c"]


def test_the_database_is_read_at_most_every_five_seconds(world, collector, gauges, monkeypatch):
    reads = []
    real = gauges.read

    def read():
        reads.append(1)
        return real()

    monkeypatch.setattr(gauges, "read", read)
    for _ in range(3):
        list(collector.collect())
    assert len(reads) == 1
    world.clock.advance(5_000)
    list(collector.collect())
    assert len(reads) == 2


def test_a_slow_database_does_not_hold_a_scrape_up(world, collector, gauges, monkeypatch):
    world.alert()

    def up_and_open():
        found = {family.name: values(family) for family in collector.collect()}
        return found["driftline_state_up"][()], found["driftline_alerts_open"]

    assert up_and_open() == (1, {(): 1})
    release = threading.Event()
    monkeypatch.setattr(metrics_module, "PATIENCE_S", 0.05)
    monkeypatch.setattr(gauges, "read", lambda: release.wait(10) and None)
    world.clock.advance(5_000)
    assert up_and_open() == (1, {(): 1})
    world.clock.advance(60_000)
    assert up_and_open() == (0, {})
    release.set()


@pytest.mark.parametrize(
    "error", [Unavailable("database sqlite:///x.db: away"), RuntimeError("a mistake of ours")]
)
def test_figures_vanish_when_the_database_cannot_be_read(error, world, collector, gauges, monkeypatch):
    world.alert()
    list(collector.collect())

    def fail():
        raise error

    real = gauges.read
    monkeypatch.setattr(gauges, "read", fail)
    world.clock.advance(5_000)
    found = {family.name: values(family) for family in collector.collect()}
    assert found["driftline_state_up"] == {(): 0}
    assert found["driftline_alerts_open"] == {}
    monkeypatch.setattr(gauges, "read", real)
    world.clock.advance(5_000)
    assert {family.name: values(family) for family in collector.collect()}["driftline_state_up"] == {(): 1}


def test_metrics_are_offered_as_openmetrics_too(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert answer.text.count("# EOF") == 1
