"""Evidence is collected once for each base window, in order, and is the same after any interruption."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from monitor.explain import Explainer
from monitor.judging.judge import Judge
from monitor.store.engine import immediate, reading
from monitor.store.queries import budget
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from tests.monitor.test_judge import MINUTE_MS, START_MS, World

HOUR_MS = 3_600_000


@pytest.fixture
def world(database_url: str) -> Any:
    made = World(database_url)
    yield made
    made.close()


def ledger(world: World) -> list[tuple[Any, ...]]:
    rows = world.rows("SELECT start_ms, spent, alarms, models, state FROM ledger ORDER BY start_ms")
    return [((start - START_MS) // MINUTE_MS, *rest) for start, *rest in rows]


def said(world: World) -> list[tuple[Any, ...]]:
    return world.rows(
        'SELECT "window", start_ms, "column", revision, decision, evidence_log, budget, onset_at_ms '
        "FROM result WHERE detector NOT LIKE 'quality.%' "
        'ORDER BY "window", start_ms, "column", segment, revision'
    )


def drifting(world: World, every: int, judge: Any) -> None:
    """Two hours and a half with a drift of twenty minutes; `judge` looks after every few minutes."""
    for minute in range(0, 150, every):
        world.send(minute, every, shift=0.5 if 90 <= minute < 110 else 0.0, per_minute=40)
        judge()


def test_every_base_window_is_in_the_ledger_once_and_costs_its_budget(world: World) -> None:
    world.send(0, 80)
    world.send(80, 31, shift=1.0)
    world.judge.sweep()
    rows = ledger(world)
    assert [row[0] for row in rows] == [60, 70, 80, 90]
    assert [row[2] for row in rows] == [0, 0, 2, 0]  # age and score, once
    # Predictions and features only: 0.2 of 0.4 and 0.2 of 0.4 of the budget, and all lanes add up to 1.
    each = world.configuration.alerts.budget.expected_in(10 * MINUTE_MS)
    assert [row[1] for row in rows[:2]] == pytest.approx([each, each])
    assert rows[3][1] < each  # streams that have alarmed spend nothing until they are back
    with reading(world.engine) as connection:
        newest = budget.newest_end_ms(connection)
        (spent,) = budget.spent(connection, START_MS, START_MS + 100 * MINUTE_MS)
        assert budget.spent(connection, START_MS + 100 * MINUTE_MS, START_MS + HOUR_MS * 9) == []
    assert newest == START_MS + 100 * MINUTE_MS
    assert (spent.model, spent.windows, spent.alarms) == ("churn", 4, 2)
    assert spent.spent == pytest.approx(sum(row[1] for row in rows))
    decisions = {(row[2], (row[1] - START_MS) // MINUTE_MS): row[4] for row in said(world) if row[0] == "10m"}
    assert (decisions["age", 70], decisions["age", 80], decisions["age", 90]) == ("ok", "drift", "ongoing")


def test_a_stream_that_comes_back_is_settled_and_may_alarm_again(world: World) -> None:
    world.send(0, 70, per_minute=200)
    world.send(70, 10, shift=1.0, per_minute=200)
    world.send(80, 62, per_minute=200)
    world.judge.sweep()
    of_age = [row[4] for row in said(world) if row[0] == "10m" and row[2] == "age"]
    assert of_age[:2] == ["ok", "drift"]
    assert of_age[-1] == "ok"
    assert world.rows("SELECT state FROM alert") == [("resolved",)]
    world.send(142, 20, shift=1.0, per_minute=200)
    world.judge.sweep()
    assert "drift" in [row[4] for row in said(world) if row[0] == "10m" and row[2] == "age"][-2:]
    assert world.rows("SELECT state FROM alert ORDER BY opened_at_ms") == [("resolved",), ("firing",)]


def test_the_beginning_of_a_drift_is_told(world: World) -> None:
    drifting(world, 10, world.judge.sweep)
    (found,) = {row[7] for row in said(world) if row[4] == "drift" and row[2] == "age"}
    assert found == START_MS + 90 * MINUTE_MS


def test_restarts_and_rivals_change_nothing(tmp_path: Path) -> None:
    """One judge throughout, a new one each time, and four at once say the same, bit for bit."""

    def alone(world: World) -> Any:
        return world.judge.sweep

    def fresh(world: World) -> Any:
        return lambda: Judge(world.configuration, world.engine, world.clock, Telemetry()).sweep()

    def rivals(world: World) -> Any:
        def race() -> None:
            threads = [threading.Thread(target=fresh(world)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            world.judge.sweep()

        return race

    found = []
    for number, (kind, every) in enumerate(((alone, 10), (fresh, 5), (rivals, 150))):
        world = World(f"sqlite:///{tmp_path}/{number}.db")
        drifting(world, every, kind(world)) if every < 90 else sent_at_once(world, kind(world))
        found.append((said(world), ledger(world), world.rows("SELECT id, state, summary FROM alert")))
        world.close()
    assert found[0] == found[1] == found[2]


def sent_at_once(world: World, judge: Any) -> None:
    for minute in range(0, 150, 10):
        world.send(minute, 10, shift=0.5 if 90 <= minute < 110 else 0.0, per_minute=40)
    judge()


def test_a_revision_never_raises_an_alarm(world: World) -> None:
    world.send(0, 92)
    world.judge.sweep()
    before = ledger(world)
    world.send(80, 10, shift=1.0, per_minute=3_000)
    world.judge.sweep()
    assert world.rows("SELECT max(revision) FROM judgement") == [(2,)]
    assert {row[4] for row in said(world)} == {"ok"}
    assert ledger(world) == before
    assert world.rows("SELECT count(*) FROM alert") == [(0,)]


def test_alarms_stay_where_the_state_before_is_not_kept_any_more(world: World) -> None:
    world.send(0, 80)
    world.send(80, 12, shift=1.0)
    world.judge.sweep()
    assert world.rows("SELECT state FROM alert") == [("firing",)]
    with immediate(world.engine) as connection:
        connection.execute(text("UPDATE ledger SET state = NULL"))
    world.send(80, 10, per_minute=3_000)
    world.judge.sweep()
    again = [row for row in said(world) if row[3] == 2 and row[0] == "10m" and row[4] == "drift"]
    assert {row[2] for row in again} == {"age", "score"}
    assert world.rows("SELECT state FROM alert") == [("firing",)]


def test_only_the_latest_states_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.store.ledgers.KEPT_STATES", 3)
    monkeypatch.setattr("monitor.store.ledgers.PINNED_EVERY", 10**9)
    world.send(0, 132)
    world.judge.sweep()
    assert [row[4] is not None for row in ledger(world)] == [False] * 4 + [True] * 3


@pytest.mark.full
def test_states_before_alarms_are_kept_and_the_others_computed_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.store.ledgers.KEPT_STATES", 1)
    monkeypatch.setattr("monitor.store.ledgers.PINNED_EVERY", 10**9)
    world.send(0, 80)
    world.send(80, 10, shift=1.0)
    world.send(90, 42)
    world.judge.sweep()
    kept = {row[0]: row[4] is not None for row in ledger(world)}
    assert kept == {60: False, 70: True, 80: False, 90: False, 100: False, 110: False, 120: True}
    explainer = Explainer(world.configuration, world.engine, world.clock)
    for (id_,) in world.rows("SELECT id FROM result"):
        assert explainer.explain(str(id_))[1][0].differences == {}


def test_the_budget_is_told_by_the_api_and_the_metrics(world: World) -> None:
    app = create_app(world.configuration, world.engine, Telemetry(), world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/api/v1/budget").json()["to"] is None
        world.send(0, 80)
        world.send(80, 31, shift=1.0)
        world.judge.sweep()
        told = client.get("/api/v1/budget").json()
        rows = ledger(world)
        assert (told["budget"], told["allowed"], told["alarms"]) == ("1 per week", 1.0, 2)
        assert told["spent"] == pytest.approx(sum(row[1] for row in rows))
        assert told["left"] == pytest.approx(1 - told["spent"])
        assert [(m["model"], m["windows"], m["alarms"]) for m in told["models"]] == [("churn", 4, 2)]
        of_hour = client.get(
            "/api/v1/budget", params={"from": "2026-01-01T01:00:00Z", "to": "2026-01-01T01:20:00Z"}
        )
        assert of_hour.json()["allowed"] == pytest.approx(1 / (7 * 24 * 3))
        assert of_hour.json()["models"][0]["windows"] == 2
        assert client.get("/api/v1/budget", params={"from": "yesterday"}).status_code == 422
        of_age = {"column": "age", "window": "10m", "detector": "edetector"}
        items = client.get("/api/v1/models/churn/results", params=of_age).json()["items"]
        assert [item["decision"] for item in items] == ["ongoing", "drift", "ok", "ok"]
        assert items[1]["onset_at"] == "2026-01-01T01:20:00.000Z"
        text_ = client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text_)}
    assert families["driftline_alert_budget_spent"].samples[0].value == pytest.approx(told["spent"])
    evidence = {
        s.labels["column"]: (s.labels["lane"], s.value)
        for s in families["driftline_evidence_log"].samples
        if s.labels["lane"] != "quality"
    }
    assert set(evidence) <= {"age", "prediction", "score"}
    assert evidence["prediction"][0] == "predictions"
    assert evidence["prediction"][1] < 0
