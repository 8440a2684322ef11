"""Repeated events, order and lags go into the slices of their events' times, exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select

from detectors.arrivals import Arrivals, lag_labels
from detectors.profile import Profile
from monitor.store import engine as databases
from monitor.store import positions
from monitor.store.engine import reading
from monitor.store.schema import upgrade
from monitor.store.tables import slice_profile
from tests.monitor.test_ingest import NOW_MS, Bench

MINUTE_MS = 60_000
Key = tuple[str, str, int]


@pytest.fixture
def bench(database_url: str) -> Iterator[Bench]:
    engine = databases.create(database_url, patience_s=5)
    upgrade(engine)
    positions.ensure_counters(engine)
    made = Bench(engine)
    made.ingest.begin()
    yield made
    made.ingest.abandon()
    engine.dispose()


def stored(engine: Engine) -> dict[Key, Arrivals]:
    """How events arrived, by model, version and minute before now."""
    found: dict[Key, Arrivals] = {}
    with reading(engine) as connection:
        for row in connection.execute(select(slice_profile)):
            key = (row.model, row.version, (NOW_MS - row.slice_ms) // MINUTE_MS)
            found.setdefault(key, Arrivals()).merge(Profile.from_bytes(row.bytes).arrivals)
    return found


def numbers(engine: Engine) -> dict[Key, tuple[int, int, int]]:
    return {key: (each.told, each.repeated, each.behind) for key, each in stored(engine).items()}


def test_repeated_events_are_counted_in_the_slice_of_their_time(bench: Bench) -> None:
    bench.send(event_id="a")
    bench.send(event_id="b", timestamp=NOW_MS - 5 * MINUTE_MS)
    bench.send(event_id="a")
    bench.send(event_id="a")
    bench.send(event_id="b", timestamp=NOW_MS - 5 * MINUTE_MS)
    bench.send(event_id="a", version="2")  # another version's event
    bench.take()
    assert numbers(bench.engine) == {
        ("m", "unversioned", 0): (1, 2, 0),
        ("m", "unversioned", 5): (1, 1, 0),
        ("m", "2", 0): (1, 0, 0),
    }
    bench.send(event_id="b", timestamp=NOW_MS - 5 * MINUTE_MS)  # nothing but a repetition in this commit
    row = bench.take()
    assert numbers(bench.engine)["m", "unversioned", 5] == (1, 2, 0)
    assert row["duplicates"] == sum(each.repeated for each in stored(bench.engine).values()) == 4


def test_events_after_newer_ones_are_out_of_order_beyond_the_lateness(bench: Bench) -> None:
    lateness = bench.configuration.for_model("m").lateness_ms
    bench.send()
    bench.send(timestamp=NOW_MS - lateness)
    bench.send(timestamp=NOW_MS - lateness - 1)
    bench.send(timestamp=NOW_MS - 2 * lateness, model="another")  # nothing newer of that model
    bench.take()
    bench.send(timestamp=NOW_MS - lateness - 1)  # what came before is stored with the offsets
    bench.take()
    behind = {key[:1] + key[2:]: each.behind for key, each in stored(bench.engine).items() if each.behind}
    assert behind == {("m", lateness // MINUTE_MS + 1): 2}


def test_lags_are_those_of_the_records(bench: Bench) -> None:
    bench.send(stamp_ms=NOW_MS + 2_500)
    bench.send(stamp_ms=NOW_MS - 45_000)
    bench.take()
    [found] = stored(bench.engine).values()
    labels = lag_labels()
    assert {labels[at] for at in np.flatnonzero(found.lags)} == {"1 s to 3 s late", "30 s to 1 min early"}


def log_of(rng: np.random.Generator, events: int) -> list[dict[str, Any]]:
    """Events in some disorder, every fifth one a repetition."""
    made: list[dict[str, Any]] = []
    for number in range(events):
        if made and number % 5 == 0:
            made.append(made[int(rng.integers(len(made)))])
        else:
            made.append({"event_id": f"x{number}", "timestamp": NOW_MS - int(rng.integers(40)) * MINUTE_MS})
    return made


@pytest.mark.parametrize("sizes", [(60,), (1,) * 60, (7, 30, 3, 20)])
def test_batches_and_commits_change_nothing(bench: Bench, sizes: tuple[int, ...]) -> None:
    events = log_of(np.random.default_rng(3), 60)
    at = 0
    for size in sizes:
        for event in events[at : at + size]:
            bench.send(**event)
        at += size
        bench.take()
    seen: set[str] = set()
    expected: dict[int, list[int]] = {}
    newest, lateness = 0, bench.configuration.for_model("m").lateness_ms
    for event in events:
        found = expected.setdefault((NOW_MS - event["timestamp"]) // MINUTE_MS, [0, 0, 0])
        is_behind = event["timestamp"] < newest - lateness
        newest = max(newest, event["timestamp"])
        if event["event_id"] in seen:
            found[1] += 1
        else:
            found[0] += 1
            found[2] += is_behind
        seen.add(event["event_id"])
    assert {key[2]: list(found) for key, found in numbers(bench.engine).items()} == expected


def test_what_was_not_committed_is_counted_once_all_the_same(bench: Bench) -> None:
    bench.send(event_id="a")
    bench.send(event_id="a")
    bench.ingest.step()  # and dies
    bench.ingest.abandon()
    bench.ingest = bench.build()
    bench.ingest.begin()
    bench.send(event_id="a")
    bench.take()
    assert numbers(bench.engine) == {("m", "unversioned", 0): (1, 2, 0)}
