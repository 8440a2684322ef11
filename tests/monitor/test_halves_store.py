"""Halves in the database: two processes that want the same at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, select

from monitor.store import engine as databases
from monitor.store import halves, positions
from monitor.store.engine import immediate, reading
from monitor.store.halves import HalfWork, StoredHalf
from monitor.store.schema import upgrade
from monitor.store.tables import half_message, partition_state
from schemas.errors import Fenced

NOW_MS = 1_767_225_600_000


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty, migrated database."""
    made = databases.create(database_url, patience_s=10)
    upgrade(made)
    positions.ensure_counters(made)
    yield made
    made.dispose()


def row(id_: str, side: str, offset: int, partition: int = 0, value: bytes = b"value") -> dict[str, Any]:
    """A half that came."""
    return {
        "pair": id_, "side": side, "status": "waiting", "format": "kserve", "name": id_, "topic": "t",
        "partition": partition, "offset": offset, "key": None, "value": value, "value_bytes": len(value),
        "headers": '[["h", null]]', "timestamp_ms": NOW_MS, "stored_at_ms": NOW_MS, "is_remembered": False,
    }  # fmt: skip


def stored(engine: Engine, **bounds: int) -> list[tuple[StoredHalf, StoredHalf]]:
    """Complete pairs whose response is in partition 0."""
    with reading(engine) as connection:
        limits = {"most": 10, "most_bytes": 1_000} | bounds
        return halves.complete_pairs(connection, [("t", 0)], **limits)


def keep(engine: Engine, work: HalfWork) -> dict[tuple[str, int], int]:
    """Do some work in a transaction of its own."""
    with immediate(engine) as connection:
        halves.keep(connection, work, NOW_MS)
    return work.repeated


def at_once(engine: Engine, first: HalfWork, second: Callable[[], Any]) -> list[Any]:
    """Begin the second while the transaction of the first is open; returns what the second came to."""
    found: list[Any] = []

    def do() -> None:
        try:
            found.append(second())
        except Fenced as error:
            found.append(error)

    other = threading.Thread(target=do)
    with immediate(engine) as connection:
        halves.keep(connection, first, NOW_MS)
        other.start()
        other.join(0.3)
        assert not found  # it waits
    other.join(240)
    return found


def test_a_pair_goes_to_whoever_comes_first(engine: Engine) -> None:
    keep(engine, HalfWork(new=[row("a", "request", 1), row("a", "response", 2)]))
    pair = stored(engine)[0]
    (came_to,) = at_once(engine, HalfWork(paired=[*pair]), lambda: keep(engine, HalfWork(paired=[*pair])))
    assert isinstance(came_to, Fenced)
    assert stored(engine) == []


def test_a_half_is_either_paired_or_given_up(engine: Engine) -> None:
    keep(engine, HalfWork(new=[row("a", "request", 1), row("a", "response", 2)]))
    request, response = stored(engine)[0]
    first = HalfWork(removed=[request])
    (came_to,) = at_once(engine, first, lambda: keep(engine, HalfWork(paired=[request, response])))
    assert isinstance(came_to, Fenced)
    with reading(engine) as connection:
        sides = connection.execute(select(half_message.c.side, half_message.c.status)).all()
        assert halves.was_kept(connection, first) is True
        assert halves.was_kept(connection, HalfWork(paired=[response])) is False
        assert halves.was_kept(connection, HalfWork()) is None
    assert [tuple(one) for one in sides] == [("response", "waiting")]


def test_the_same_half_that_comes_to_two_is_stored_once(engine: Engine) -> None:
    mine = HalfWork(new=[row(id_, "request", 1) for id_ in "abc"])
    others = HalfWork(new=[row(id_, "request", at, partition=1) for at, id_ in enumerate("dcba")])
    assert at_once(engine, mine, lambda: keep(engine, others)) == [{("t", 1): 3}]
    assert mine.repeated == {}


def test_repetitions_that_come_together_are_counted(engine: Engine) -> None:
    twice = [row("a", "request", 1), row("a", "request", 2), row("a", "request", 1, partition=3)]
    assert keep(engine, HalfWork(new=twice)) == {("t", 0): 1, ("t", 3): 1}


def test_large_halves_are_stored_a_few_at_a_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "_TOGETHER_BYTES", 1_000)
    monkeypatch.setattr(halves, "_TOGETHER", 3)
    sizes = [10, 2_000, 600, 600, 1, 1, 1, 1]
    new = [row(f"p{at}", "request", at, value=b"x" * size) for at, size in enumerate(sizes)]
    assert [len(part) for part in halves._small(new)] == [1, 1, 1, 3, 2]
    assert keep(engine, HalfWork(new=[*new, new[3] | {"offset": 99}])) == {("t", 0): 1}
    with reading(engine) as connection:
        assert len(connection.execute(select(half_message.c.id)).all()) == 8


def test_no_more_is_read_than_allowed(engine: Engine) -> None:
    new = [row(f"p{at}", side, at, value=b"x" * 300) for at in range(5) for side in ("request", "response")]
    keep(engine, HalfWork(new=new))
    assert len(stored(engine)) == 1
    assert len(stored(engine, most_bytes=1_300)) == 2
    assert len(stored(engine, most_bytes=1)) == 1  # one always
    assert len(stored(engine, most=3, most_bytes=10_000)) == 3
    request, response = stored(engine)[0]
    assert (request.side, response.side, request.value, request.headers) == (
        "request",
        "response",
        b"x" * 300,
        [("h", None)],
    )


def test_how_far_topics_were_read(engine: Engine) -> None:
    with reading(engine) as connection:
        assert halves.read_up_to(connection, ["t"]) == (None, None)
    for partition, (at_end, seen, stamp) in enumerate([(5, 70, 1), (5, 60, 2), (None, 9, 40), (None, 9, 50)]):
        positions.claim(
            engine, positions.Place("t", partition), kind="predictions", topic_id="", low=0, high=0,
            start_at_end=False, now_ms=NOW_MS,
        )  # fmt: skip
        c = partition_state.c
        with immediate(engine) as connection:
            connection.execute(
                partition_state.update()
                .where(c.partition == partition)
                .values(at_end_since_ms=at_end, seen_at_ms=seen, stamp_ms=stamp)
            )
    with reading(engine) as connection:
        assert halves.read_up_to(connection, ["t"]) == (60, 40)
        assert halves.read_up_to(connection, ["u"]) == (None, None)
