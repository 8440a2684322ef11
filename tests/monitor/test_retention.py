"""What becomes of data as it ages: the same counts on fewer rows, then nothing; what alerts need stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, insert, select, update

from monitor.explain import Explainer
from monitor.incidents.actions import Actions
from monitor.judging.merging import Merged, merge_slices
from monitor.profiling import Pointer
from monitor.references import lifecycle
from monitor.registry import read_columns
from monitor.retention.ages import alerted_ranges
from monitor.retention.removal import Removal
from monitor.retention.rollup import DAY_MS, HOUR_MS
from monitor.retention.sweep import Retention, Swept
from monitor.store import tables
from monitor.store.engine import immediate, reading
from monitor.store.queries.outcomes import OutcomeSpan, outcomes
from monitor.store.queries.slices import Span, is_cut, slices_between, widened
from monitor.telemetry import Telemetry
from schemas.errors import UnusableReference
from tests.monitor.outcome_world import MINUTE_MS, START_MS, OutcomeWorld, at

KEY = ("churn", "1")
KEEP = {
    "slices": "2d", "hours": "4d", "days": "20d", "results": "10d", "incidents": "30d", "deliveries": "5d",
    "dead_letters": "5d",
}  # fmt: skip
MINUTES = 300
WRONG_FROM = 250


def made_world(url: str) -> OutcomeWorld:
    """Five hours of a model that was wrong in the last fifty minutes, judged, with the incident of it."""
    made = OutcomeWorld(url, keep=KEEP, horizon="1d", labels={"wait": "5m", "horizon": "2h"})
    made.send(0, 80, per_minute=4)
    judge(made)  # learns the reference
    made.send(80, WRONG_FROM - 80, per_minute=4)
    judge(made)
    made.send(WRONG_FROM, MINUTES - WRONG_FROM, wrong=0.9, per_minute=4)
    judge(made)
    return made


def judge(world: OutcomeWorld) -> None:
    world.sweep()
    world.judge.tidy()


@pytest.fixture
def world(sqlite_url: str) -> Iterator[OutcomeWorld]:
    made = made_world(sqlite_url)
    yield made
    made.close()


@pytest.fixture
def any_world(database_url: str) -> Iterator[OutcomeWorld]:
    """On both databases."""
    made = made_world(database_url)
    yield made
    made.close()


def retention(world: OutcomeWorld) -> Retention:
    return Retention(world.configuration, world.engine, world.clock, Telemetry())


def after(world: OutcomeWorld, days: float) -> Swept:
    """Let days pass, and sweep."""
    world.clock.advance(int(days * DAY_MS))
    world.idle(2)
    judge(world)
    return retention(world).sweep()


def counted(world: OutcomeWorld, from_ms: int = START_MS, to_ms: int = START_MS + DAY_MS) -> Merged:
    with reading(world.engine) as connection:
        stored = slices_between(connection, KEY, from_ms, to_ms)
        hash_ = connection.execute(select(tables.reference_pointer.c.hash)).scalar_one()
        pointer = Pointer(0, hash_, lifecycle.load(connection, hash_).binning)
        return merge_slices(stored, read_columns(connection)[KEY], pointer, samples=False)


def measured(world: OutcomeWorld) -> np.ndarray:
    with reading(world.engine) as connection:
        return outcomes(connection, OutcomeSpan("churn", ("1",), START_MS, START_MS + DAY_MS))["1"]


def spans(world: OutcomeWorld, table: str) -> dict[int, int]:
    return {int(a): int(b) for a, b in world.rows(f"SELECT span_ms, count(*) FROM {table} GROUP BY span_ms")}


def number_of(world: OutcomeWorld, table: Any) -> int:
    with reading(world.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def alerted(world: OutcomeWorld) -> list[tuple[int, int]]:
    with reading(world.engine) as connection:
        return alerted_ranges(connection, KEY)


def test_counts_and_outcomes_are_the_same_in_slices_and_hours(any_world: OutcomeWorld) -> None:
    world = any_world
    before, outcomes_before = counted(world), measured(world)
    assert alerted(world) != []
    fresh = after(world, 1)
    assert fresh.total == 0
    swept = after(world, 2)
    assert swept.total == swept.added_up > 0
    now = counted(world)
    assert np.array_equal(now.profile.counts, before.profile.counts)
    assert np.array_equal(now.profile.group_rows, before.profile.group_rows)
    assert (now.rows, now.sources) == (before.rows, before.sources)
    for name, summary in before.profile.summaries.items():
        again = now.profile.summaries[name]
        assert (again.ok, again.invalid) == (summary.ok, summary.invalid)
        assert (again.lowest, again.highest) == (summary.lowest, summary.highest)
        assert again.sum == pytest.approx(summary.sum)
        assert again.distinct.estimate() == summary.distinct.estimate()
    assert np.array_equal(measured(world), outcomes_before)
    assert retention(world).sweep().total == 0  # nothing is left to do
    hours = spans(world, "slice_profile"), spans(world, "outcome_slice")
    assert all(set(found) == {0, HOUR_MS} for found in hours)  # what the alert rests on stays
    after(world, 2.5)
    assert (spans(world, "slice_profile"), spans(world, "outcome_slice")) == hours  # and so does its day


def test_a_day_without_an_alert_becomes_one_row(world: OutcomeWorld) -> None:
    with immediate(world.engine) as connection:
        for table in (tables.alert, tables.incident, tables.incident_alert):
            connection.execute(table.delete())
    before, outcomes_before = counted(world), measured(world)
    after(world, 5.5)
    assert spans(world, "slice_profile") == {DAY_MS: 2}  # those from before the reference, those on its bins
    assert spans(world, "outcome_slice") == {DAY_MS: 1}
    assert np.array_equal(counted(world).profile.counts, before.profile.counts)
    assert np.array_equal(measured(world), outcomes_before)
    assert number_of(world, tables.outcome_commit) == 1


def test_an_alert_comes_out_the_same_when_its_hours_are_rolled_up_around_it(world: OutcomeWorld) -> None:
    after(world, 6)
    explainer = Explainer(world.configuration, world.engine, world.clock)
    ids = [row[0] for row in world.rows("SELECT id FROM alert")]
    assert ids
    for id_ in ids:
        _, found = explainer.explain(id_)
        assert found
        assert all(one.is_identical for one in found)


def test_a_result_of_a_window_that_was_rolled_up_says_why_it_cannot_be_had_again(world: OutcomeWorld) -> None:
    after(world, 3)
    first, last = at(60), at(70)
    assert not any(a < last and b > first for a, b in alerted(world))
    ((id_,), *_) = world.rows(
        f"SELECT id FROM result WHERE \"window\" = '10m' AND start_ms = {first} AND \"column\" = 'age'"
    )
    _, (found,) = Explainer(world.configuration, world.engine, world.clock).explain(str(id_))
    assert not found.is_identical
    assert any("slices" in reason for reason in found.why_different)


def test_ranges_are_widened_to_whole_hours_where_nothing_finer_is_left(world: OutcomeWorld) -> None:
    asked = Span("churn", at(65), at(95), "1")
    with reading(world.engine) as connection:
        assert widened(connection, asked) == asked
        assert not is_cut(connection, asked)
    rows = counted(world, at(60), at(120)).rows
    after(world, 3)
    with reading(world.engine) as connection:
        wider = widened(connection, asked)
        assert (wider.from_ms, wider.to_ms) == (at(60), at(120))
        assert is_cut(connection, asked)
        assert widened(connection, wider) == wider
    assert counted(world, wider.from_ms, wider.to_ms).rows == rows
    settings = world.configuration.for_model("churn")
    with reading(world.engine) as connection, pytest.raises(UnusableReference, match="added up to hours"):
        lifecycle.learn_stretch(connection, KEY, settings, lifecycle.Span(at(0), at(30)), {})


def test_windows_that_are_still_to_be_judged_keep_their_slices(world: OutcomeWorld) -> None:
    with immediate(world.engine) as connection:
        of_hour = (tables.window_state.c.start_ms >= at(60)) & (tables.window_state.c.start_ms < at(120))
        connection.execute(update(tables.window_state).where(of_hour).values(touched=99))
    world.clock.advance(3 * DAY_MS)
    retention(world).sweep()
    kept = world.rows(
        f"SELECT DISTINCT span_ms FROM slice_profile WHERE slice_ms >= {at(60)} AND slice_ms < {at(120)}"
    )
    assert kept == [(0,)]
    assert HOUR_MS in spans(world, "slice_profile")


def test_results_go_but_those_of_alerts_stay_and_can_be_explained(world: OutcomeWorld) -> None:
    swept = after(world, 12)
    assert swept.results > 0
    ranges = alerted(world)
    for table in ("result", "judgement", "window_state", "outcome_window", "performance_value"):
        starts = [int(row[0]) for row in world.rows(f"SELECT start_ms FROM {table}")]
        assert all(any(a <= start < b for a, b in ranges) for start in starts), table
    assert number_of(world, tables.result) > 0
    assert set(world.rows("SELECT start_ms FROM ledger_head")) <= set(
        world.rows("SELECT start_ms FROM ledger")
    )
    (id_,) = world.rows("SELECT id FROM alert WHERE kind = 'performance'")[0]
    _, found = Explainer(world.configuration, world.engine, world.clock).explain(id_)
    assert found
    assert all(one.is_identical for one in found)


def test_at_last_everything_is_gone_but_what_an_open_alert_rests_on(any_world: OutcomeWorld) -> None:
    world = any_world
    after(world, 40)
    ranges = alerted(world)
    for table in ("slice_profile", "outcome_slice"):
        left = world.rows(f"SELECT slice_ms FROM {table}")
        assert left
        assert all(any(a <= int(row[0]) < b for a, b in ranges) for row in left)
    actions = Actions(world.configuration, world.engine, world.clock, Telemetry())
    ids = [
        row[0] for row in world.rows("SELECT id FROM incident WHERE state NOT IN ('resolved', 'retracted')")
    ]
    for id_ in ids:
        actions.resolve(id_, "Ann")
    swept = after(world, 31)
    assert swept.incidents > 0
    retention(world).sweep()
    names = (
        "alert", "alert_event", "incident", "incident_alert", "incident_column", "incident_event", "outbox",
        "slice_profile", "outcome_slice", "outcome_commit", "result", "judgement",
    )  # fmt: skip
    counts = {name: number_of(world, tables.metadata.tables[name]) for name in names}
    assert {name: n for name, n in counts.items() if n} == {}


def letter(offset: int, **changed: Any) -> dict[str, Any]:
    return {
        "topic": "pp", "partition": 0, "offset": offset, "kind": "undecodable", "reason": "x", "value": b"x",
        "value_bytes": 1, "headers": "[]", "stored_at_ms": 0, **changed,
    }  # fmt: skip


def test_messages_go_when_nothing_waits_for_them(world: OutcomeWorld) -> None:
    now_ms = world.clock.now_ms()
    row = {
        "sequence": 0, "receiver": "hook", "payload": "{}", "attempts": 1, "not_before_ms": 0,
        "lease_until_ms": 0, "created_at_ms": 0,
    }  # fmt: skip
    (open_id,) = world.rows("SELECT id FROM incident WHERE state NOT IN ('resolved', 'retracted')")[0]
    with immediate(world.engine) as connection:
        connection.execute(tables.outbox.delete())
        connection.execute(
            insert(tables.outbox),
            [
                {**row, "id": "old", "alert_id": "gone", "state": "delivered", "finished_at_ms": 1},
                {**row, "id": "dead", "alert_id": "gone", "state": "dead", "finished_at_ms": 1},
                {**row, "id": "fresh", "alert_id": "gone", "state": "dead", "finished_at_ms": now_ms},
                {**row, "id": "waits", "alert_id": "gone", "state": "waiting", "finished_at_ms": None},
                {**row, "id": "open", "alert_id": open_id, "state": "delivered", "finished_at_ms": 1},
            ],
        )
        connection.execute(insert(tables.dead_letter), [letter(1), letter(2, stored_at_ms=now_ms)])
        connection.execute(insert(tables.dead_letter), [letter(3, status="marked")])
    swept = retention(world).sweep()
    assert (swept.deliveries, swept.dead_letters) == (2, 1)
    assert sorted(world.rows("SELECT id FROM outbox")) == [("fresh",), ("open",), ("waits",)]
    assert sorted(world.rows('SELECT "offset" FROM dead_letter')) == [(2,), (3,)]


def test_dead_letters_that_are_to_be_sent_on_wait_for_it(world: OutcomeWorld) -> None:
    with immediate(world.engine) as connection:
        connection.execute(
            insert(tables.dead_letter), [letter(1, relayed_at_ms=None), letter(2, relayed_at_ms=5)]
        )
    removal = Removal(world.engine, threading.Event())
    assert removal.dead_letters(10, are_relayed=True) == 1
    assert world.rows('SELECT "offset" FROM dead_letter') == [(1,)]


def test_several_may_sweep_at_once(any_world: OutcomeWorld) -> None:
    world = any_world
    before = counted(world)
    world.clock.advance(5 * DAY_MS)
    failed: list[BaseException] = []

    def sweep() -> None:
        try:
            retention(world).sweep()
        except BaseException as error:  # told below
            failed.append(error)

    threads = [threading.Thread(target=sweep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert np.array_equal(counted(world).profile.counts, before.profile.counts)
    assert counted(world).rows == before.rows


def test_late_events_join_the_hour_that_they_belong_to(world: OutcomeWorld) -> None:
    after(world, 3)
    rows = counted(world).rows
    with immediate(world.engine) as connection:
        hour = connection.execute(
            select(tables.slice_profile).where(tables.slice_profile.c.span_ms == HOUR_MS).limit(1)
        ).one()
        again = {k: v for k, v in hour._mapping.items() if k != "id"}
        late = {**again, "slice_ms": hour.slice_ms + 5 * MINUTE_MS, "span_ms": 0}
        connection.execute(insert(tables.slice_profile), [late])
    swept = retention(world).sweep()
    assert swept.added_up == 1
    assert counted(world).rows == rows + hour.rows


def test_a_replay_of_old_data_is_as_fresh_as_it_is_to_itself(world: OutcomeWorld) -> None:
    assert world.clock.now_ms() - START_MS > 29 * DAY_MS
    assert retention(world).sweep().total == 0
