"""From events to results, alerts and their retraction, through the real ingest and the real judge."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.ingest import Ingest
from monitor.judging import tidying
from monitor.judging.judge import Judge
from monitor.judging.tidying import MANY_PARTS
from monitor.silence import Silences
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate, reading
from monitor.store.positions import Place, ensure_counters, resume
from monitor.telemetry import Telemetry

START_MS = 1_767_225_600_000
MINUTE_MS = 60_000


class World:
    """One ingest process, one judge, a broker in memory and a clock that is turned by hand."""

    def __init__(self, url: str, *, budget: str = "1 per week", **defaults: Any) -> None:
        self.clock = ManualClock(START_MS + 30 * 86_400_000)
        self.engine = engines.create(url)
        schema.upgrade(self.engine)
        ensure_counters(self.engine)
        self.configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "memory"},
                "database_url": "sqlite:///unused.db",
                "streams": [{"topic": "pp", "kind": "predictions"}],
                "defaults": {
                    "windows": ["10m", "30m"],
                    "lateness": "1m",
                    "horizon": "60d",
                    "reference": {"first": "1h"},
                    **defaults,
                },
                "alerts": {"routes": [{"match": {}, "to": ["hook"]}], "budget": budget},
                "receivers": {
                    "hook": {"type": "webhook", "url": "https://example.org/x", "secret_env": "HOOK"}
                },
            }
        )
        self.broker = MemoryBroker()
        self.broker.create_topic("pp", 1)
        parts = (self.engine, self.clock, Telemetry())
        self.ingest = Ingest(
            self.configuration, self.engine, MemorySource(self.broker, self.clock), *parts[1:]
        )
        self.ingest.begin()
        self.judge = Judge(self.configuration, *parts)
        self.silences = Silences(self.configuration, *parts)
        self.rng = np.random.default_rng(7)
        self.sent = 0

    def send(
        self,
        first_minute: int,
        minutes: int,
        shift: float = 0.0,
        per_minute: int = 60,
        models: Sequence[str] = ("churn",),
    ) -> None:
        """Produce events of consecutive minutes and take them in."""
        for i, model in itertools.product(range(minutes * per_minute), models):
            event = {
                "event_id": f"e{self.sent}",
                "model": model,
                "version": "1",
                "timestamp": START_MS + first_minute * MINUTE_MS + i * MINUTE_MS // per_minute,
                "features": {"age": round(float(self.rng.normal(40 + 9 * shift, 9)), 3)},
                "prediction": 1,
                "score": round(float(np.clip(self.rng.beta(2, 5) + 0.3 * shift, 0, 1)), 4),
            }
            self.broker.append("pp", 0, json.dumps(event).encode(), timestamp_ms=self.clock.now_ms())
            self.sent += 1
        self.take_in()

    def take_in(self) -> None:
        """Fetch all there is, and commit."""
        for _ in range(200):
            self.ingest.step()
            if self.rows("SELECT sum(next_offset) FROM partition_state") == [(self.sent,)]:
                break
            self.clock.advance(100)
        self.ingest.commit()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with reading(self.engine) as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def close(self) -> None:
        self.ingest.leave()
        self.engine.dispose()


@pytest.fixture
def world(database_url: str) -> Any:
    made = World(database_url)
    yield made
    made.close()


def results(world: World) -> list[tuple[Any, ...]]:
    return world.rows(
        'SELECT "window", start_ms, "column", segment, revision, decision, n, statistic FROM result '
        'ORDER BY "window", start_ms, "column", segment, revision'
    )


def test_a_reference_is_learned_and_every_complete_window_judged_once(world: World) -> None:
    world.send(0, 60)
    assert world.judge.sweep() == []  # event time has not passed the first hour by the allowed lateness
    world.send(60, 42)
    judged = world.judge.sweep()
    starts = [(str(j.due.spec), (j.due.start_ms - START_MS) // MINUTE_MS) for j in judged]
    assert sorted(starts) == [("10m", 60), ("10m", 70), ("10m", 80), ("10m", 90), ("30m", 60)]
    assert world.judge.sweep() == []
    assert world.rows('SELECT "window", "rows" FROM judgement ORDER BY "window", start_ms') == [
        ("10m", 600), ("10m", 600), ("10m", 600), ("10m", 600), ("30m", 1800)
    ]  # fmt: skip
    of_rows = {"event_id", "timestamp", "features", "(new columns)"}  # what watches of quality look at
    assert {row[2] for row in results(world)} == {"age", "prediction", "score"} | of_rows
    assert {row[5] for row in results(world)} == {"ok"}
    (hash_,) = {row[0] for row in world.rows("SELECT hash FROM reference_pointer")}
    assert world.rows("SELECT DISTINCT reference_hash FROM judgement") == [(hash_,)]
    (sources,) = world.rows(f"SELECT sources FROM judgement WHERE start_ms = {START_MS + 90 * MINUTE_MS}")[0]
    assert set(json.loads(sources)) == {"pp"}


def test_adding_slices_up_changes_no_count(world: World) -> None:
    for minute in range(0, 80, 4):  # several commits for each slice
        world.send(minute, 4, per_minute=20)
        world.send(minute, 4, per_minute=20)
    before = world.rows("SELECT count(*), sum(rows) FROM slice_profile")
    assert len(world.judge.sweep()) > 0
    world.judge.tidy()
    after = world.rows("SELECT count(*), sum(rows) FROM slice_profile")
    assert after[0][1] == before[0][1] == world.sent
    assert after[0][0] < before[0][0]
    world.send(60, 1, per_minute=5)  # late: the window is judged again, over the added-up slice
    world.judge.sweep()
    assert world.rows(
        'SELECT "rows" FROM judgement WHERE "window" = \'10m\' '
        f"AND start_ms = {START_MS + 60 * MINUTE_MS} ORDER BY revision"
    ) == [(400,), (405,)]


def test_slices_are_added_up_while_a_model_is_still_learning(tmp_path: Path, database_url: str) -> None:
    hashes = []
    for tidy, url in ((True, database_url), (False, f"sqlite:///{tmp_path}/untidy.db")):
        world = World(url)
        for minute in range(0, 60, 5):
            for _ in range(2):  # two commits for each slice
                world.send(minute, 5, per_minute=20)
            world.clock.advance(40_000)
            assert world.judge.sweep() == []
            if tidy:
                world.judge.tidy()
        rows, counted = world.rows("SELECT count(*), sum(rows) FROM slice_profile")[0]
        assert counted == world.sent
        assert (rows < 70) is tidy  # the newest slices may still get events
        world.send(60, 12, per_minute=40)
        world.judge.sweep()
        hashes.append(world.rows("SELECT hash FROM reference_pointer"))
        world.close()
    assert len(hashes[0]) == 1
    assert hashes[0] == hashes[1]


def test_slices_in_very_many_parts_are_added_up_before_their_window_is_judged(
    tmp_path: Path, database_url: str
) -> None:
    """As it is where many processes read the events of one model."""
    found = []
    for tidy, url in ((True, database_url), (False, f"sqlite:///{tmp_path}/untidy.db")):
        world = World(url)
        world.send(0, 72)
        world.judge.sweep()
        for _ in range(MANY_PARTS):
            world.send(72, 6, per_minute=2)
        world.send(78, 1)  # event time has not passed this slice by what late events may take
        assert world.judge.sweep() == []
        if tidy:
            world.judge.tidy()
            assert most_parts(world) == MANY_PARTS  # another evaluator may take care of the model
            world.judge.tidy(["nobody", "churn"])
        parts = world.rows(
            "SELECT count(*), sum(rows) FROM slice_profile "
            f"WHERE slice_ms >= {START_MS + 72 * MINUTE_MS} GROUP BY slice_ms ORDER BY slice_ms"
        )
        many = (MANY_PARTS, 2 * MANY_PARTS)
        assert parts == [(1, 2 * MANY_PARTS) if tidy and i < 5 else many for i in range(6)] + [(1, 60)]
        world.send(74, 1, per_minute=2)  # late
        world.send(79, 4)
        assert len(world.judge.sweep()) == 1
        found.append(sorted((*row[:7], row[7] or 0.0) for row in results(world)))
        world.close()
    assert [row[:7] for row in found[0]] == [row[:7] for row in found[1]]
    assert [row[7] for row in found[0]] == pytest.approx([row[7] for row in found[1]])


def test_slices_that_cannot_be_added_up_keep_no_others_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "MOST_PARTS", MANY_PARTS)  # one slice at a time
    world.send(0, 72)
    world.judge.sweep()
    for _ in range(MANY_PARTS):
        world.send(72, 3, per_minute=1)
    world.send(78, 1)
    first_ms = START_MS + 72 * MINUTE_MS
    with immediate(world.engine) as connection:  # counted on the bins of a reference that is not in force
        connection.execute(
            text(f"UPDATE slice_profile SET reference_hash = 'other' WHERE slice_ms = {first_ms}")
        )
    counts = []
    for _ in range(3):
        world.judge.tidy(["churn"])
        world.clock.advance(1_000 * int(tidying.EVERY_S))
        rows = world.rows(
            "SELECT count(*) FROM slice_profile "
            f"WHERE slice_ms >= {first_ms} GROUP BY slice_ms ORDER BY slice_ms"
        )
        counts.append([number for (number,) in rows[:3]])
    many = MANY_PARTS
    assert counts == [[many, many, many], [many, 1, many], [many, 1, 1]]


def most_parts(world: World) -> int:
    rows = world.rows("SELECT count(*) FROM slice_profile GROUP BY slice_ms")
    return int(max(number for (number,) in rows))


def test_a_drift_opens_one_incident_with_messages_in_the_same_transaction(world: World) -> None:
    world.send(0, 80)
    world.judge.sweep()
    world.send(80, 31, shift=1.0)
    changes = [change for judged in world.judge.sweep() for change in judged.changes]
    assert changes == ["opened"]
    ((state, summary, severity),) = world.rows("SELECT state, summary, severity FROM alert")
    assert (state, severity) == ("firing", "page")
    assert summary.startswith("churn v1: score drifted")
    assert "also age" in summary
    assert world.rows("SELECT receiver, state FROM outbox") == [("hook", "waiting")]


def test_late_events_can_take_an_alert_back(world: World) -> None:
    world.send(0, 80)
    world.send(80, 10, shift=1.0, per_minute=20)
    world.send(90, 2)
    world.judge.sweep()
    assert world.rows("SELECT state FROM alert") == [("firing",)]
    world.send(80, 10, per_minute=3_000)  # what was held back: now the drifted events are few
    world.judge.sweep()
    assert world.rows("SELECT state FROM alert") == [("retracted",)]
    revisions = {row[4] for row in results(world) if row[1] == START_MS + 80 * MINUTE_MS and row[0] == "10m"}
    assert revisions == {1, 2}


def test_several_judges_at_once_judge_each_window_once(world: World) -> None:
    world.send(0, 130)
    parts = (world.configuration, world.engine, world.clock, Telemetry())
    judged: list[int] = []
    threads = [threading.Thread(target=lambda: judged.append(len(Judge(*parts).sweep()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    windows = world.rows("SELECT count(*) FROM judgement")[0][0]
    assert sum(judged) == windows > 0
    assert world.rows('SELECT count(*) FROM (SELECT DISTINCT "window", start_ms FROM judgement) AS w') == [
        (windows,)
    ]
    assert world.rows("SELECT count(*) FROM reference_pointer") == [(1,)]


def test_results_do_not_depend_on_when_windows_are_judged(tmp_path: Any) -> None:
    """A judge that was away for the whole stream, and one that looked after every minute, say the same."""
    found = []
    for number, every in enumerate((1, 200)):
        world = World(f"sqlite:///{tmp_path}/{number}.db")
        for minute in range(130):
            world.send(minute, 1, shift=1.0 if 90 <= minute < 110 else 0.0, per_minute=20)
            if minute % every == every - 1:
                world.judge.sweep()
        world.judge.sweep()
        found.append((results(world), world.rows("SELECT id, state, summary FROM alert ORDER BY id")))
        world.close()
    assert found[0] == found[1]
    assert len(found[0][1]) == 1


def test_silence_is_an_alert_until_events_come_again(world: World) -> None:
    world.send(0, 90)
    world.judge.sweep()
    assert world.silences.sweep() == []
    world.clock.advance(15_000)
    world.ingest.step()
    world.ingest.commit()  # the partition is at its end
    for _ in range(30):  # event time goes on at wall speed while the reader says that nothing comes
        world.clock.advance(MINUTE_MS)
        world.ingest.step()
        world.ingest.commit()
    changes = world.silences.sweep()
    assert [change.change for change in changes] == ["opened"]
    assert world.silences.sweep() == []
    assert world.rows("SELECT kind, state FROM alert") == [("no_data", "firing")]
    world.send(125, 3)
    assert [change.change for change in world.silences.sweep()] == ["resolved"]


def test_silence_is_noticed_as_soon_as_the_reference_and_the_budget_allow(database_url: str) -> None:
    world = World(database_url, windows=["1d"], reference={"first": "2h"})
    world.send(0, 130, per_minute=10)
    world.judge.sweep()
    found = []
    for _ in range(40):
        world.clock.advance(MINUTE_MS)
        world.ingest.step()
        world.ingest.commit()
        found.append([change.change for change in world.silences.sweep()])
    [at] = [minute for minute, changes in enumerate(found) if changes]
    assert 5 < at < 25  # a window is a day
    ((summary,),) = world.rows("SELECT summary FROM alert")
    assert "gaps of the reference about that time was 1m, one of " in summary
    world.close()


def test_a_replay_of_the_past_is_not_silent(world: World) -> None:
    world.send(0, 90)
    world.judge.sweep()
    world.clock.advance(5_000)
    assert world.silences.sweep() == []


def test_a_stopped_partition_is_an_alert_until_reading_goes_on(world: World) -> None:
    world.send(0, 3)
    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE partition_state SET stopped_reason = 'offsets 5 to 9 are no longer in Kafka'")
        )
    assert [change.change for change in world.silences.sweep()] == ["opened"]
    ((kind, severity, summary),) = world.rows("SELECT kind, severity, summary FROM alert")
    assert (kind, severity) == ("partition_stopped", "page")
    assert "pp/0" in summary
    assert "no longer in Kafka" in summary
    resume(world.engine, Place("pp", 0), next_offset=180, topic_id="", now_ms=world.clock.now_ms())
    assert [change.change for change in world.silences.sweep()] == ["resolved"]
