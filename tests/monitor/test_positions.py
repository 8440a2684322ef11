"""Positions: claims, guarded commits, unknown outcomes, and stops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, select

from monitor.store import committing, positions
from monitor.store import engine as databases
from monitor.store.committing import Commit, PartitionDelta
from monitor.store.engine import reading
from monitor.store.positions import Place
from monitor.store.schema import upgrade
from monitor.store.tables import model_version
from schemas.errors import Fenced

PLACE = Place("flights", 0)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty, migrated database."""
    made = databases.create(database_url, patience_s=5)
    upgrade(made)
    positions.ensure_counters(made)
    yield made
    made.dispose()


def claim(engine: Engine, **changed: Any) -> positions.Claim:
    """Take the partition over."""
    asked: dict[str, Any] = {
        "kind": "predictions", "topic_id": "t", "low": 3, "high": 9, "start_at_end": False, "now_ms": 1
    }  # fmt: skip
    return positions.claim(engine, PLACE, **(asked | changed))


@pytest.mark.parametrize(("start_at_end", "start"), [(False, 3), (True, 9)])
def test_a_partition_that_was_never_read_begins_at_either_end(
    engine: Engine, start_at_end: bool, start: int
) -> None:
    first = claim(engine, start_at_end=start_at_end)
    assert (first.epoch, first.next_offset, first.stopped_reason, first.seen, first.models) == (
        1,
        start,
        None,
        [],
        {},
    )
    second = claim(engine, start_at_end=not start_at_end)
    assert (second.epoch, second.next_offset) == (2, start)
    assert second.token != first.token


@pytest.mark.parametrize("wrong", ["epoch", "token", "offset"])
def test_a_commit_of_somebody_who_does_not_own_the_partition_keeps_nothing(
    engine: Engine, wrong: str
) -> None:
    mine = claim(engine)
    fields = vars(mine) | ({"epoch": 7} if wrong == "epoch" else {"token": "x"} if wrong == "token" else {})
    delta = PartitionDelta(positions.Claim(**fields), 4 if wrong == "offset" else 3, 9, fetched=6)
    delta.outcomes["counted"] = 6
    work = Commit([delta], versions=[
        {"model": "m", "version": "1", "role": "champion", "first_slice_ms": 0, "created_at_ms": 0}
    ])  # fmt: skip
    with pytest.raises(Fenced, match="flights/0 belongs to another reader now"):
        committing.commit(engine, work, now_ms=2)
    with reading(engine) as connection:
        assert positions.accounting(connection)[0]["fetched"] == 0
        assert connection.execute(select(model_version)).all() == []


def test_an_unknown_outcome_is_settled_by_reading_the_position(engine: Engine) -> None:
    mine = claim(engine)
    work = Commit([PartitionDelta(mine, 3, 9, fetched=6)])
    assert not committing.settled(engine, work)
    committing.commit(engine, work, now_ms=2)
    assert committing.settled(engine, work)
    assert not committing.settled(engine, Commit([PartitionDelta(mine, 9, 9)]))
    claim(engine)
    with pytest.raises(Fenced):
        committing.settled(engine, work)


def test_sources_are_written_as_ranges_by_topic_and_partition() -> None:
    def delta(topic: str, partition: int, first: int, end: int) -> PartitionDelta:
        owned = positions.Claim(Place(topic, partition), 1, "t", first, None, False, None, [], {})
        return PartitionDelta(owned, first, end)

    text = committing.source_ranges([delta("b", 1, 5, 9), delta("a", 0, 0, 2), delta("a", 3, 7, 7)])
    assert text == '{"a":{"0":[[0,2]]},"b":{"1":[[5,9]]}}'


def test_stopping_needs_the_partition(engine: Engine) -> None:
    mine = claim(engine)
    claim(engine)
    with pytest.raises(Fenced):
        positions.stop(engine, mine, "gone", low=5, next_offset=3, now_ms=2)
    with reading(engine) as connection:
        assert positions.accounting(connection)[0]["stopped_reason"] is None
