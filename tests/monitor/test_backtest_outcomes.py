"""Backtests judge what came of predictions as the service does: the same figures, alerts and messages."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from alerting.codec import document, from_bytes
from alerting.finding import Kind
from monitor.backtest import Backtest, backtest, judges
from monitor.judging.judgements import Due, result_rows
from monitor.store.engine import reading
from monitor.store.tables import alert as alert_table
from tests.monitor.outcome_world import LEARNED, MINUTE_MS, START_MS, WAIT, WINDOW, OutcomeWorld, at

LAST = 240  # minutes of events
CHANGED = 150  # minute from which on predictions are wrong more often
COMPARED = (
    "start_ms", "column", "segment", "detector", "lane", "decision", "n", "m", "statistic", "threshold",
    "threshold_source", "evidence_log", "psi", "psi_debiased", "moved", "explanation", "budget",
    "onset_at_ms",
)  # fmt: skip


class Recorded(OutcomeWorld):
    """A world that notes what it sends."""

    def __init__(self, url: str, **options: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.labels: list[dict[str, Any]] = []
        super().__init__(url, **options)
        append = self.broker.append

        def noted(topic: str, partition: int, value: bytes, **others: Any) -> Any:
            (self.events if topic == "pp" else self.labels).append(json.loads(value))
            return append(topic, partition, value, **others)

        self.broker.append = noted  # type: ignore[assignment, method-assign]

    def table(self) -> pd.DataFrame:
        """Events as a table, without labels."""
        rows = []
        for event in self.events:
            row = {k: v for k, v in event.items() if k not in ("features", "role")} | event["features"]
            row |= {f"score.{name}": p for name, p in row.pop("scores", {}).items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def label_table(self) -> pd.DataFrame:
        """Labels as a table of their own."""
        labels = pd.DataFrame(self.labels)[["event_id", "label", "timestamp"]]
        return labels.rename(columns={"timestamp": "label_timestamp"})

    def live(self, first_minute: int, minutes: int, **options: Any) -> None:
        """Send, and judge as time goes on: what is told first may decide which incident an alert joins."""
        for minute in range(first_minute, first_minute + minutes, WAIT):
            self.send(minute, min(WAIT, first_minute + minutes - minute), **options)
            self.sweep()

    def run(self) -> None:
        """Let time pass until the last window is due, and judge everything."""
        self.beat(LAST + WAIT + 1)
        self.sweep()

    def stored(self) -> list[tuple[Any, ...]]:
        """First results of outcomes, without those of early warning, which alert nobody."""
        columns = ", ".join(f'"{name}"' for name in COMPARED)
        suffix = f"+{WAIT}m"
        return self.rows(
            f"SELECT {columns} FROM result WHERE \"window\" LIKE '%{suffix}' AND revision = 1 "
            "AND detector NOT IN ('ddm', 'adwin') ORDER BY start_ms, segment, \"column\""
        )

    def alerts_of(self, *, events: bool) -> list[dict[str, Any]]:
        """Alerts about the events, or all others, as documents."""
        with reading(self.engine) as connection:
            stored = connection.execute(select(alert_table.c.state_bytes)).scalars().all()
        alerts = [document(from_bytes(data)) for data in stored]
        return sorted(
            (alert for alert in alerts if (alert["kind"] == "drift") is events),
            key=lambda alert: (alert["opened_at"], alert["id"]),
        )

    def told(self) -> list[tuple[Any, ...]]:
        """Messages of these alerts."""
        return self.rows(
            "SELECT alert_id, sequence, receiver FROM outbox WHERE alert_id IN "
            "(SELECT id FROM alert WHERE kind <> 'drift') ORDER BY 1, 2, 3"
        )


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Verdicts on outcomes of a backtest, in the order of `Recorded.stored`."""
    found: list[tuple[Any, ...]] = []
    judge = judges.OutcomeJudge.judge

    def noted(self: judges.OutcomeJudge, window: Any) -> judges.Judged | None:
        one = judge(self, window)
        if one is not None:
            due = Due(("churn", "1"), self._spec, one.start_ms, 0, 0, 0)
            rows = result_rows(0, due, one.verdicts)
            found.extend(sorted((tuple(row[name] for name in COMPARED) for row in rows), key=_place))
        return one

    monkeypatch.setattr(judges.OutcomeJudge, "judge", noted)
    return found


def _place(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[0], row[2], row[1]


def binary(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    score = round(float(rng.beta(2, 3)), 3)
    return {"prediction": int(score > 0.5), "score": score}, int(rng.random() < score)


def flipped(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    made, truth = binary(rng)
    return made, 1 - truth if rng.random() < 0.5 else truth


def regression(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    value = float(rng.normal(50, 9))
    return {"prediction": value + 0.25}, value + float(rng.normal(0, 2))


def biased(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    made, truth = regression(rng)
    return made, truth + 6.5


def classes(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    p = rng.dirichlet([2.0, 1.0, 1.0]).round(3)
    names = ["UA", "AA", "true"]
    truth = names[int(rng.choice(3, p=p / p.sum()))]
    return {"prediction": names[int(p.argmax())], "scores": dict(zip(names, p.tolist(), strict=True))}, truth


def confused(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    made, _ = classes(rng)
    return made, str(rng.choice(["UA", "AA", "DL"]))


_turns = cycle((False, True))


def unfair(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    """Every other row, which is one of the two origins, is always predicted positive."""
    made, truth = binary(rng)
    return {**made, "prediction": 1 if next(_turns) else made["prediction"]}, truth


SLOW = {"delay": (20, 900)}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "classes without scores": ({}, {}, {"wrong": 0.5}),
    "scores": ({}, {"outputs": binary}, {"outputs": flipped}),
    "classes with scores": (
        {"task": "multiclass_classification"},
        {"outputs": classes},
        {"outputs": confused},
    ),
    "numbers": ({}, {"outputs": regression}, {"outputs": biased}),
    "labels that are too late": ({}, SLOW, {**SLOW, "wrong": 0.9}),
    "fewer and slower labels": ({}, {}, {"labelled": 0.3, "delay": (200, 290)}),
    "overlapping windows": ({"windows": ["10m/5m"]}, {}, {"wrong": 0.5}),
    "a detector without evidence": ({"detector": "psi"}, {}, {"wrong": 0.6}),
    "an objective": (
        {"performance": {"metric": "accuracy", "slo": 0.8, "long": "45m", "short": "10m"}},
        {},
        {"wrong": 0.5},
    ),
    "an objective of scores": (
        {"performance": {"metric": "log_loss", "slo": 0.7, "long": "1h", "short": "20m"}},
        {"outputs": binary},
        {"outputs": flipped},
    ),
    "fairness": (
        {"fairness": {"segments": ["origin"], "limit": 0.05, "least_rows": 10}},
        {"outputs": binary},
        {"outputs": unfair},
    ),
}


KINDS = {
    "an objective": {"performance", "slo"},
    "an objective of scores": {"performance", "slo"},
    "fairness": {"fairness"},
}


LONG = {
    "classes without scores", "scores", "classes with scores", "numbers", "labels that are too late",
    "an objective of scores", "overlapping windows", "a detector without evidence",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if name in LONG else ()) for name in CASES]
)
def test_outcomes_are_judged_to_the_bit_as_by_the_service(
    name: str, sqlite_url: str, judged: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.decode.batch._arrived", lambda events, rows: None)  # a table knows of none
    settings, before, after = CASES[name]
    world = Recorded(sqlite_url, **settings)
    world.live(0, CHANGED, per_minute=12, **before)
    world.live(CHANGED, 50, per_minute=12, **after)
    world.live(CHANGED + 50, LAST - CHANGED - 50, per_minute=12, **before)
    world.run()
    expected, incidents, told, reference = (
        world.stored(), world.alerts_of(events=False), world.told(), world.reference(),
    )  # fmt: skip
    drifts = world.alerts_of(events=True)
    world.close()
    found = backtest(world.table(), world.configuration, labels=world.label_table())
    assert len(expected) > 50
    assert {row[0] for row in judged} == {row[0] for row in expected}
    assert judged == expected
    assert {alert["kind"] for alert in incidents} >= KINDS.get(name, {"performance"})
    assert _alerts(found) == incidents
    # Events get what is left of the budget. Of the last window the table has a row, and the service waits.
    assert [_opening(alert) for alert in _alerts(found, events=True)] == [_opening(one) for one in drifts]
    assert reference.judged_from_ms == at(LEARNED)
    ids = {alert["id"] for alert in incidents}
    deliveries = sorted((d.alert_id, d.sequence, d.receiver) for d in found.deliveries if d.alert_id in ids)
    assert deliveries == told
    assert found.skipped == ()


def _alerts(found: Backtest, *, events: bool = False) -> list[dict[str, Any]]:
    return [alert for alert in found.as_dict()["alerts"] if (alert["kind"] == "drift") is events]


def _opening(alert: dict[str, Any]) -> tuple[Any, ...]:
    return alert["id"], alert["opened_at"], alert["column"], alert["evidence_log"], alert["threshold_log"]


def test_corrections_are_as_the_service_knew_them_when_it_judged(
    sqlite_url: str, judged: list[tuple[Any, ...]]
) -> None:
    """Within the wait they count at once; later ones have the service judge again, which opens no alert."""
    world = Recorded(sqlite_url)
    blocks: list[list[dict[str, Any]]] = []
    for block in range(LAST // WINDOW):
        blocks.append(world.predict(block * WINDOW, WINDOW, per_minute=12, delay=(20, 250)))
        world.tell(blocks[-1])
        if block in (12, 20):
            world.correct(blocks[-1], right=False)
            world.correct(blocks[-1][::2], right=True, later_ms=2_000)
        if block in (13, 18):
            world.correct(blocks[-4], right=False, later_ms=30 * MINUTE_MS)
        world.take_in()
        world.sweep()
    world.run()
    expected = world.stored()
    assert world.rows("SELECT max(revision) FROM result WHERE \"window\" LIKE '%+%'") == [(2,)]
    world.close()
    found = backtest(world.table(), world.configuration, labels=world.label_table())
    assert judged == expected
    assert [alert for alert in found.alerts if alert.kind is Kind.PERFORMANCE]


def test_a_training_file_with_labels_is_what_the_service_compares_with(
    sqlite_url: str, tmp_path: Path, judged: list[tuple[Any, ...]]
) -> None:
    rng = np.random.default_rng(5)
    outputs = [binary(rng) for _ in range(3_000)]
    train = pd.DataFrame(
        {
            "timestamp": START_MS - 86_400_000 + np.arange(3_000) * 10_000,
            "age": rng.integers(20, 60, 3_000),
            "origin": np.where(np.arange(3_000) % 2, "EWR", "JFK"),
            "prediction": [made["prediction"] for made, _ in outputs],
            "score": [made["score"] for made, _ in outputs],
            "label": [truth for _, truth in outputs],
        }
    )
    train["label_timestamp"] = train.timestamp + rng.integers(20_000, 400_000, 3_000)
    train.to_parquet(tmp_path / "train.parquet")
    world = Recorded(sqlite_url, reference={"file": str(tmp_path / "train.parquet")})
    world.send(0, CHANGED, per_minute=12, outputs=binary)
    world.send(CHANGED, LAST - CHANGED, per_minute=12, outputs=flipped)
    world.run()
    expected, incidents = world.stored(), world.alerts_of(events=False)
    world.close()
    found = backtest(world.table(), world.configuration, labels=world.label_table())
    assert min(row[0] for row in expected) == START_MS
    assert judged == expected
    assert incidents
    assert _alerts(found) == incidents
