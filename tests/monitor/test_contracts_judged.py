"""Hard rules end to end: events in, counts in slices, verdicts, incidents, late events, explanations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alerting.finding import Kind
from monitor.config import Configuration
from monitor.explain import Explainer
from monitor.ingest import Ingest
from monitor.judging.judge import Judge
from monitor.judging.judgements import Due
from monitor.source.memory import MemorySource
from monitor.store import alerts, ledgers
from monitor.store.engine import reading
from monitor.telemetry import Telemetry
from schemas.window import WindowSpec
from tests.monitor.test_judge import MINUTE_MS, START_MS, World

COLUMNS = {
    "age": {"min": 0, "max": 120, "severity": "page"},
    "carrier": {"values": ["UA", "AA"], "pattern": "[A-Z]{2}", "nullable": False, "limit": 0.05},
    "tail": {"max_missing": 0.5, "severity": "info"},
}


class Contracted(World):
    """A world whose events are right but for what is said."""

    def emit(self, first_minute: int, minutes: int, *, every: int = 1, **bad: Any) -> None:
        """Produce ten events a minute; every n-th has the values of `bad`, where `drop` leaves one out."""
        for i in range(minutes * 10):
            wrong = bad if i % every == 0 else {}
            features = {
                "age": round(float(self.rng.normal(40, 5)), 2), "carrier": "UA", "tail": "N1",
                **{name: value for name, value in wrong.items() if name not in ("drop", "score")},
            }  # fmt: skip
            features.pop(wrong.get("drop", ""), None)
            event = {
                "event_id": f"e{self.sent}", "model": "churn", "version": "1",
                "timestamp": START_MS + first_minute * MINUTE_MS + i * MINUTE_MS // 10,
                "features": features, "prediction": 1, "score": wrong.get("score", 0.5),
            }  # fmt: skip
            self.broker.append("pp", 0, json.dumps(event).encode(), timestamp_ms=self.clock.now_ms())
            self.sent += 1
        self.take_in()

    def verdicts(self, minute: int, window: str = "10m") -> dict[tuple[str, str], tuple[Any, ...]]:
        """Latest decision, rows and count of each rule and column."""
        found = self.rows(
            'SELECT detector, "column", decision, n, statistic, threshold FROM result '
            f"WHERE detector LIKE 'contract.%' AND start_ms = {START_MS + minute * MINUTE_MS} "
            f"AND \"window\" = '{window}' ORDER BY revision"
        )
        return {(d.removeprefix("contract."), c): tuple(rest) for d, c, *rest in found}

    def broken(self, minute: int) -> set[tuple[str, str]]:
        return {rule for rule, verdict in self.verdicts(minute).items() if verdict[0] == "drift"}

    def incidents(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT severity, state, \"column\" FROM alert WHERE kind = 'quality' ORDER BY window_start_ms"
        )

    def configure(self, columns: dict[str, Any], **defaults: Any) -> None:
        """Start the service again with another contract."""
        self.ingest.leave()
        document = self.configuration.model_dump(by_alias=True, exclude_unset=True)
        document["defaults"] |= {"columns": columns, **defaults}
        self.configuration = Configuration.model_validate(document)
        parts = (self.engine, self.clock, Telemetry())
        source = MemorySource(self.broker, self.clock)
        self.ingest = Ingest(self.configuration, self.engine, source, *parts[1:])
        self.ingest.begin()
        self.judge = Judge(self.configuration, *parts)


@pytest.fixture
def world(database_url: str) -> Any:
    made = Contracted(database_url, columns=COLUMNS)
    made.emit(0, 60)
    yield made
    made.close()


def test_a_contract_that_is_kept_gives_verdicts_and_no_incident(world: Contracted) -> None:
    world.emit(60, 12)
    world.judge.sweep()
    every = world.verdicts(60)
    assert set(every) == {
        ("type", "age"), ("range", "age"), ("required", "age"),
        ("type", "carrier"), ("allowed", "carrier"), ("pattern", "carrier"), ("missing", "carrier"),
        ("required", "carrier"), ("missing", "tail"), ("required", "tail"), ("probability", "score"),
    }  # fmt: skip
    assert every["range", "age"] == ("ok", 100, 0.0, 0.0)
    assert every["allowed", "carrier"] == ("ok", 100, 0.0, 5.0)
    assert every["missing", "tail"] == ("ok", 100, 0.0, 50.0)
    assert {verdict[0] for verdict in every.values()} == {"ok"}
    assert world.incidents() == []
    assert world.rows(
        "SELECT count(*) FROM result WHERE detector LIKE 'contract.%' AND budget IS NOT NULL"
    ) == [(0,)]


def test_a_broken_rule_says_what_how_much_and_when_and_opens_an_incident_of_its_severity(
    world: Contracted,
) -> None:
    world.emit(60, 12, every=20, age=121)
    world.judge.sweep()
    assert world.broken(60) == {("range", "age")}
    (text,) = world.rows(
        "SELECT explanation FROM result WHERE detector = 'contract.range' AND \"window\" = '10m' "
        f"AND start_ms = {START_MS + 60 * MINUTE_MS}"
    )[0]
    assert text == (
        "age: 5 of 100 rows (5 %) are outside 0 to 120, at most 0 allowed; first 01:00:00, last 01:08:00 UTC"
    )
    assert world.incidents() == [("page", "firing", "age")]
    ((summary,),) = world.rows("SELECT summary FROM alert WHERE kind = 'quality'")
    assert summary.startswith("churn v1: contract of age is broken in the window 01:00–01:10 UTC")
    assert "5 of 100 rows" in summary
    assert world.verdicts(60, "30m") == {}  # not over yet


def test_up_to_the_limit_is_allowed(world: Contracted) -> None:
    world.emit(60, 10, every=20, carrier="us")
    world.judge.sweep()
    world.emit(70, 12, every=16, carrier="us")
    world.judge.sweep()
    assert world.broken(60) == set()
    assert world.broken(70) == {("allowed", "carrier"), ("pattern", "carrier")}
    assert world.verdicts(70)["allowed", "carrier"] == ("drift", 100, 7.0, 5.0)
    assert world.incidents() == [("warn", "firing", "carrier")]


def test_missing_values_have_a_limit_of_their_own_and_a_column_may_not_vanish(world: Contracted) -> None:
    world.emit(60, 10, every=2, drop="tail")
    world.emit(70, 12, drop="tail")
    world.judge.sweep()
    assert world.broken(60) == set()
    assert world.broken(70) == {("missing", "tail"), ("required", "tail")}
    # What was learned of the reference says so too, and is a warning.
    assert world.incidents() == [("warn", "firing", "tail")]
    assert world.verdicts(70)["required", "tail"] == ("drift", 100, 100.0, 99.0)


def test_scores_have_to_be_probabilities_without_any_contract(world: Contracted) -> None:
    world.emit(60, 12, every=50, score=1.5)
    world.judge.sweep()
    assert world.broken(60) == {("probability", "score")}
    assert world.incidents() == [("warn", "firing", "score")]


def test_clean_windows_end_the_incident(world: Contracted) -> None:
    world.emit(60, 10, every=20, age=-1)
    world.emit(70, 32)
    world.judge.sweep()
    assert world.incidents() == [("page", "resolved", "age")]


def test_late_events_are_counted_and_may_take_the_finding_back(world: Contracted) -> None:
    world.emit(60, 12, every=16, carrier="XX")
    world.judge.sweep()
    assert world.verdicts(60)["allowed", "carrier"] == ("drift", 100, 7.0, 5.0)
    for _ in range(2):
        world.emit(60, 10)
    world.judge.sweep()
    assert world.verdicts(60)["allowed", "carrier"] == ("ok", 300, 7.0, 15.0)
    assert world.incidents() == [("warn", "retracted", "carrier")]


def test_late_violations_count_and_open_nothing(world: Contracted) -> None:
    world.emit(60, 12)
    world.judge.sweep()
    world.emit(60, 10, every=20, age=130)
    world.judge.sweep()
    assert world.verdicts(60)["range", "age"] == ("drift", 200, 5.0, 0.0)
    assert world.incidents() == []


def test_a_broken_rule_makes_no_drift_of_a_revision(world: Contracted) -> None:
    world.emit(60, 12, every=50, age=130)
    world.judge.sweep()
    world.emit(60, 10)
    world.judge.sweep()
    rows = world.rows(
        "SELECT decision FROM result WHERE detector = 'edetector' AND revision = 2 AND \"column\" = 'age' "
        f"AND start_ms = {START_MS + 60 * MINUTE_MS}"
    )
    assert rows == [("ok",)]
    due = Due(("churn", "1"), WindowSpec.parse("10m"), START_MS + 60 * MINUTE_MS, 0, 0, 1)
    with reading(world.engine) as connection:
        assert ledgers.alarmed(connection, due.key, "10m", due.start_ms, 1) == set()
    assert world.broken(60) == {("range", "age")}


def test_every_result_is_explained_and_comes_out_the_same(world: Contracted) -> None:
    world.emit(60, 12, every=20, age=121, carrier=None, score=-0.1)
    world.judge.sweep()
    world.judge.tidy()
    explainer = Explainer(world.configuration, world.engine, world.clock)
    ids = [row[0] for row in world.rows("SELECT id FROM result WHERE detector LIKE 'contract.%'")]
    assert len(ids) == 9 * 11  # of six windows of 10m before the reference, one after it, and two of 30m
    for id_ in ids:
        _, (explained,) = explainer.explain(str(id_))
        assert explained.differences == {}
        assert "rows" in explained.formula
    ((alert,),) = world.rows("SELECT id FROM alert WHERE kind = 'quality'")
    incident, shown = explainer.explain(alert)
    assert incident.kind is Kind.QUALITY
    assert {one.stored["column"] for one in shown} == {"age", "score"}
    assert all(one.is_identical for one in shown)


def test_counts_of_an_older_contract_are_not_mixed_with_those_of_the_new_one(world: Contracted) -> None:
    world.emit(60, 4, every=4, age=130)
    world.configure({**COLUMNS, "age": {"min": 0, "max": 150}})
    world.emit(64, 8, every=4, age=140)
    world.judge.sweep()
    assert world.verdicts(60)["range", "age"] == ("ok", 60, 0.0, 0.0)
    assert world.verdicts(60)["allowed", "carrier"] == ("ok", 100, 0.0, 5.0)


def test_an_incident_ends_when_the_rule_is_given_up(world: Contracted) -> None:
    world.emit(60, 12, every=20, age=500)
    world.judge.sweep()
    assert world.incidents() == [("page", "firing", "age")]
    world.configure({"age": {"kind": "numeric", "limit": 1.0}})
    world.emit(72, 32, every=20, age=500)
    world.judge.sweep()
    assert world.incidents() == [("page", "resolved", "age")]


def test_the_incident_is_kept_as_it_was(world: Contracted) -> None:
    world.emit(60, 12, every=20, age=121)
    world.judge.sweep()
    ((id_,),) = world.rows("SELECT id FROM alert WHERE kind = 'quality'")
    with reading(world.engine) as connection:
        (finding,) = alerts.load(connection, id_).findings
    assert (finding.column, finding.detector, str(finding.severity)) == ("age", "contract.range", "page")
    assert (finding.statistic, finding.threshold, finding.psi) == (5.0, 0.0, None)


def test_examples_say_which_events_broke_a_rule_everywhere(world: Contracted) -> None:
    world.configure({**COLUMNS, "carrier": {**COLUMNS["carrier"], "personal": True}}, quality={"examples": 2})
    world.emit(60, 12, every=20, age=121, carrier="us")
    world.judge.sweep()
    ids = dict(
        world.rows(
            "SELECT detector, id FROM result WHERE \"window\" = '10m' "
            f"AND start_ms = {START_MS + 60 * MINUTE_MS} AND \"column\" IN ('age', 'carrier')"
        )
    )
    explainer = Explainer(world.configuration, world.engine, world.clock)
    _, (explained,) = explainer.explain(str(ids["contract.range"]))
    assert explained.is_identical
    examples = explained.as_dict()["examples"]
    assert len(examples) == 2
    assert {json.dumps(one["values"]) for one in examples} == {'{"age": "121"}'}
    assert [one["event_time"] for one in examples] == sorted(one["event_time"] for one in examples)
    for one in examples:
        assert one["event_id"] == f"e{one['offset']}"
        assert (int(one["event_id"][1:]) - 600) % 20 == 0
        assert (one["topic"], one["partition"]) == ("pp", 0)
    _, (hidden,) = explainer.explain(str(ids["contract.allowed"]))
    assert [one["values"] for one in hidden.as_dict()["examples"]] == [{"carrier": None}] * 2
    ((id_,),) = world.rows("SELECT id FROM alert WHERE kind = 'quality'")
    with reading(world.engine) as connection:
        findings = {f.detector: f for f in alerts.load(connection, id_).findings}
    assert [one.event_id for one in findings["contract.range"].examples] == [
        one["event_id"] for one in examples
    ]
    assert "us" not in json.dumps(hidden.as_dict()["examples"])
