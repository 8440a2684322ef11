"""Rules of a contract by segment, from the events to the finding."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from detectors.groups import Groups
from detectors.ruled import RuleCounts
from detectors.segment_tally import Broken
from monitor.backtest import backtest
from monitor.explain import Explainer
from monitor.judging.contracts import judge_contract
from monitor.judging.ruled_segments import CHANCE, CHANCE_OF_MENTION, segments_beyond, segments_named
from schemas.checks.catalog import rules_of
from schemas.contract import ColumnRules, Contract, Count
from schemas.policy import Limit, Policy
from schemas.verdict import Decision
from tests.monitor.test_judge import MINUTE_MS, START_MS, World

COUNTRIES = ("AT", "BE", "CH", "DE")
AGE = {"age": {"max": 120, "limit": 0.2}}


class Segmented(World):
    """A world whose events have an age and a country."""

    def __init__(self, url: str, **defaults: Any) -> None:
        super().__init__(url, **{"segments": ["country"], "columns": AGE, **defaults})
        self.events: list[dict[str, Any]] = []

    def emit(self, first_minute: int, minutes: int, wrong: Sequence[str] = (), **features: Any) -> None:
        """Produce eight events a minute, two of each country; of some countries three in four are too old."""
        for i in range(minutes * 8):
            country = COUNTRIES[i % 4]
            is_wrong = country in wrong and i // 4 % 4 != 0
            event = {
                "event_id": f"e{self.sent}", "model": "churn", "version": "1",
                "timestamp": START_MS + first_minute * MINUTE_MS + i * MINUTE_MS // 8,
                "features": {"age": 130 if is_wrong else 30 + i % 20, "country": country, **features},
                "prediction": 1,
            }  # fmt: skip
            self.events.append(event)
            self.broker.append("pp", 0, json.dumps(event).encode(), timestamp_ms=self.clock.now_ms())
            self.sent += 1
        self.take_in()

    def verdicts(self, minute: int, check: str = "range") -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT segment, decision, n, statistic, threshold, explanation FROM result "
            f"WHERE detector = 'contract.{check}' AND \"window\" = '10m' "
            f"AND start_ms = {START_MS + minute * MINUTE_MS} ORDER BY revision, segment"
        )

    def incidents(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT severity, state, \"column\", segment FROM alert WHERE kind = 'quality' "
            "ORDER BY window_start_ms"
        )


@pytest.fixture
def made(database_url: str) -> Any:
    worlds: list[Segmented] = []

    def make(**defaults: Any) -> Segmented:
        worlds.append(Segmented(database_url, **defaults))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


# --- through the service ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 60], ids=["before the reference", "on its bins"])
def test_a_segment_that_breaks_a_rule_is_named_though_all_rows_keep_to_it(made: Any, first: int) -> None:
    world = made()
    if first:
        world.emit(0, 60)
    world.emit(first, 12, ["CH"])
    world.judge.sweep()
    every, swiss = world.verdicts(first)
    assert every == ("", "ok", 80, 15.0, 16.0, "")
    assert swiss[:5] == ("country=CH", "drift", 20, 15.0, 14.0)
    minute = f"{first // 60:02d}:00"
    assert swiss[5] == (
        "age where country=CH: 15 of 20 rows (75 %) are above 120, at most 4 allowed; "
        f"first {minute}:45, last {minute[:3]}09:45 UTC; of all rows 18.8 %"
    )
    assert world.incidents() == [("warn", "firing", "age", "country=CH")]
    ((number,),) = world.rows(
        "SELECT id FROM result WHERE detector = 'contract.range' AND segment = 'country=CH' "
        f"AND start_ms = {START_MS + first * MINUTE_MS} AND \"window\" = '10m'"
    )
    ((summary,),) = world.rows("SELECT summary FROM alert WHERE kind = 'quality'")
    assert summary.startswith("churn v1: contract of age where country=CH is broken in the window")
    _, (explained,) = Explainer(world.configuration, world.engine, world.clock).explain(str(number))
    assert explained.is_identical


def test_a_rule_that_is_broken_everywhere_is_one_finding(made: Any) -> None:
    world = made()
    world.emit(0, 60)
    world.emit(60, 12, COUNTRIES)
    world.judge.sweep()
    ((segment, decision, n, broken, _, text),) = world.verdicts(60)
    assert (segment, decision, n, broken) == ("", "drift", 80, 60.0)
    assert "most where" not in text
    assert world.incidents() == [("warn", "firing", "age", "")]


def test_a_finding_on_all_rows_says_where_the_rule_is_broken_most(made: Any) -> None:
    world = made(columns={"age": {"max": 120}})
    world.emit(0, 60)
    world.emit(60, 12, ["DE"])
    world.judge.sweep()
    ((segment, decision, n, broken, _, text),) = world.verdicts(60)
    assert (segment, decision, n, broken) == ("", "drift", 80, 15.0)
    assert text.endswith("UTC; most where country=DE (15 of 20)")


def test_rows_in_quarantine_count_in_their_segment(made: Any) -> None:
    world = made(columns={"age": {"max": 120, "limit": 0.2, "rules": {"range": {"action": "quarantine"}}}})
    world.emit(0, 60)
    world.emit(60, 12, ["CH"])
    world.judge.sweep()
    assert [row[:4] for row in world.verdicts(60)] == [
        ("", "ok", 80, 15.0), ("country=CH", "drift", 20, 15.0),
    ]  # fmt: skip
    assert world.rows("SELECT count(*) FROM dead_letter WHERE kind = 'contract'") == [(18,)]


def test_a_segment_by_the_column_of_the_rule_says_nothing(made: Any) -> None:
    columns = {"age": {"max": 120}, "country": {"max_missing": 0.5, "values": list(COUNTRIES), "limit": 0.5}}
    world = made(columns=columns)
    world.emit(0, 60)
    world.emit(60, 4, country=None)
    world.emit(64, 3, country="XX")
    world.emit(67, 8)
    world.judge.sweep()
    assert [row[:4] for row in world.verdicts(60, "missing")] == [("", "ok", 80, 32.0)]
    assert [row[:4] for row in world.verdicts(60, "allowed")] == [("", "ok", 80, 24.0)]


def test_late_events_may_take_the_finding_back(made: Any) -> None:
    world = made()
    world.emit(0, 60)
    world.emit(60, 12, ["CH"])
    world.judge.sweep()
    assert world.incidents() == [("warn", "firing", "age", "country=CH")]
    for _ in range(3):
        world.emit(60, 10)
    world.judge.sweep()
    assert world.verdicts(60)[-1][:4] == ("", "ok", 320, 15.0)
    assert world.incidents() == [("warn", "retracted", "age", "country=CH")]


def test_backtests_say_the_same(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.decode.batch._arrived", lambda events, rows: None)  # a table knows of none
    world = Segmented(sqlite_url, quality={"examples": 0})
    world.emit(0, 30, ["AT"])
    world.emit(30, 40)
    world.emit(70, 10, ["CH"])
    world.emit(80, 10, COUNTRIES)
    world.emit(90, 40, ["BE"])
    rows = len(world.events)
    world.emit(130, 3)
    world.judge.sweep()
    told = world.rows("SELECT alert_id, sequence, receiver FROM outbox ORDER BY 1, 2, 3")
    service = world.rows(
        "SELECT segment, count(*) FROM result WHERE detector = 'contract.range' AND decision = 'drift' "
        "AND \"window\" = '10m' GROUP BY segment ORDER BY segment"
    )
    world.close()
    frame = pd.DataFrame(
        [
            {**event["features"], **{k: v for k, v in event.items() if k not in ("features", "event_id")}}
            for event in world.events[:rows]
        ]
    )
    found = backtest(frame, world.configuration)
    assert service == [("", 1), ("country=AT", 3), ("country=BE", 4), ("country=CH", 1)]
    assert sorted((d.alert_id, d.sequence, d.receiver) for d in found.deliveries) == told
    findings = [finding for alert in found.as_dict()["alerts"] for finding in alert["findings"]]
    of_rule = {finding["segment"] for finding in findings if finding["detector"] == "contract.range"}
    assert of_rule == {segment for segment, _ in service}


# --- what is beyond a limit ---------------------------------------------------------------------------------

ROWS = st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1)), min_size=1, max_size=8)


def counted(segments: Sequence[tuple[int, float]], limit: Limit) -> tuple[RuleCounts, Any, Contract, Count]:
    """Counts of a rule in segments, given their rows and the shares of these that break it."""
    contract = Contract((ColumnRules("age", high=120.0, policy=Policy(limit)),))
    key = next(key for key, _ in rules_of(contract) if key.check == "range")
    rows = np.array([n for n, _ in segments])
    broken = np.array([int(share * n) for n, share in segments])
    every = Count(int(rows.sum()), int(broken.sum()), 5, 9)
    counts = RuleCounts(every.rows, groups=Groups(["", *(f"s={i}" for i in range(len(rows)))]))
    counts.violations.counts[key] = every
    counts.by_segment.hold([key], np.array([every.rows, *rows]))
    if every.broken:
        times = np.full(len(rows) + 1, 7)
        counts.by_segment.broken[key] = Broken(np.array([every.broken, *broken]), times, times)
    return counts, key, contract, every


@given(ROWS, st.floats(0, 1))
def test_segments_are_beyond_a_share_that_chance_does_not_explain(
    segments: list[tuple[int, float]], share: float
) -> None:
    counts, key, contract, every = counted(segments, Limit(share))
    wanted = {}
    for i, (n, part) in enumerate(segments):
        broken = int(part * n)
        if n and broken / n > share and stats.binom.sf(broken - 1, n, share) <= CHANCE:
            wanted[f"s={i}"] = (n, broken)
    found = segments_beyond(counts, key, contract, Limit(share))
    assert {one.segment: one.counted[:2] for one in found} == wanted
    for one in found:
        n, broken = one.counted[:2]
        last = int(one.threshold)
        assert last < broken
        assert last <= share * n or stats.binom.sf(last - 1, n, share) > CHANCE
        assert last + 1 > share * n
        assert stats.binom.sf(last, n, share) <= CHANCE
    verdicts = judge_contract(contract, counts)
    of_rule = [v for v in verdicts if v.detector == "contract.range"]
    if every.rows and every.broken / every.rows > share:
        assert [(v.segment, v.decision) for v in of_rule] == [("", Decision.DRIFT)]
    elif of_rule:
        assert {v.segment for v in of_rule[1:]} == set(wanted)
        assert all(v.decision is Decision.DRIFT and v.statistic > v.threshold for v in of_rule[1:])


@given(ROWS)
def test_a_limit_in_rows_is_kept_by_the_parts_of_what_keeps_it(segments: list[tuple[int, float]]) -> None:
    counts, key, contract, every = counted(segments, Limit(rows=10_000))
    assert segments_beyond(counts, key, contract, Limit(rows=every.broken)) == []
    (verdict,) = [v for v in judge_contract(contract, counts) if v.detector == "contract.range"]
    assert verdict.decision is Decision.OK


@given(ROWS)
def test_at_most_three_segments_are_named_those_with_most_rows_first(
    segments: list[tuple[int, float]],
) -> None:
    counts, key, contract, every = counted(segments, Limit())
    found = segments_named(counts, key, contract, every)
    wanted = sorted(
        (-int(part * n), i)
        for i, (n, part) in enumerate(segments)
        if every.broken and n and int(part * n) / n > every.broken / every.rows
        and stats.binom.sf(int(part * n) - 1, n, every.broken / every.rows) <= CHANCE_OF_MENTION
    )  # fmt: skip
    assert [one.segment for one in found] == [f"s={i}" for _, i in wanted[:3]]


def test_segments_that_keep_to_a_limit_are_hardly_ever_findings() -> None:
    """A million segments of fifty rows, each row wrong with exactly the share that is allowed."""
    rng = np.random.default_rng(11)
    false = sum(
        len(segments_beyond(*_drawn(rng.binomial(50, 0.01, 1_000)), Limit(0.01))) for _ in range(1_000)
    )
    assert false <= 5


def _drawn(broken: np.ndarray) -> tuple[RuleCounts, Any, Contract]:
    return counted([(50, (k + 0.5) / 50) for k in broken.tolist()], Limit(0.01))[:3]
