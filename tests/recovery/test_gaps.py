"""What Kafka no longer has is recorded, stops its partition alone, and goes on once a person says so."""

import pytest
from sqlalchemy import Engine, select

from monitor.store import positions
from monitor.store.engine import reading
from monitor.store.positions import Place
from monitor.store.tables import gap
from schemas.errors import Fenced, Unavailable, UsageError
from tests.recovery.world import MINUTE_MS, START_MS, Member, World

FIRST = Place("flights", 0)


def gaps(engine: Engine) -> list[tuple[int, int | None, bool]]:
    """From, to and whether it was accepted."""
    with reading(engine) as connection:
        rows = connection.execute(select(gap).order_by(gap.c.id)).all()
    assert all((row.topic, row.partition) == ("flights", 0) for row in rows)
    return [(row.from_offset, row.to_offset, row.accepted_at_ms is not None) for row in rows]


def rounds(world: World, member: Member, number: int = 4) -> None:
    """Fetch and commit a few times."""
    for _ in range(number):
        assert world.step(member)
        assert world.commit(member)


def read_half(engine: Engine, seed: int) -> tuple[World, Member]:
    """A member that has read and committed everything there is."""
    world = World(engine, seed, partitions=2)
    member = world.start()
    for place in world.produced:
        world.produce(30, place)
    rounds(world, member)
    return world, member


def test_retention_ahead_of_the_position_of_a_running_reader(engine: Engine) -> None:
    world, member = read_half(engine, 21)
    world.produce(20, FIRST)
    world.broker.trim(FIRST, 40)
    world.produce(20, Place("flights", 1))
    rounds(world, member)
    states = world.states()
    assert states[FIRST].stopped_reason.startswith("position 30 of flights/0 is not in Kafka: ")
    assert states[FIRST].next_offset == 30
    assert states[Place("flights", 1)].next_offset == 50  # not held up
    assert states[Place("flights", 1)].stopped_reason is None
    assert gaps(engine) == [(30, 40, False)]


def test_retention_ahead_of_the_position_while_nobody_read(engine: Engine) -> None:
    world, member = read_half(engine, 22)
    world.die(member)
    world.produce(20, FIRST)
    world.broker.trim(FIRST, 40)
    for _ in range(2):  # a second claim records nothing again
        member = world.start()
        rounds(world, member)
        world.leave(member)
    state = world.states()[FIRST]
    assert state.stopped_reason == "offsets 30 to 39 of flights/0 are no longer in Kafka"
    assert state.next_offset == 30
    assert gaps(engine) == [(30, 40, False)]


def test_reading_goes_on_after_the_gap_once_it_is_accepted(engine: Engine) -> None:
    world, member = read_half(engine, 23)
    world.die(member)
    world.produce(20, FIRST)
    world.broker.trim(FIRST, 40)
    member = world.start()
    rounds(world, member)
    with pytest.raises(UsageError, match="flights/1 is not stopped"):
        positions.resume(engine, Place("flights", 1), next_offset=0, topic_id="x", now_ms=1)
    positions.resume(
        engine, FIRST, next_offset=40, topic_id=world.broker.topic_id("flights"), now_ms=world.clock.now_ms()
    )
    world.leave(member)
    member = world.start()
    rounds(world, member)
    state = world.states()[FIRST]
    assert (state.stopped_reason, state.next_offset, state.fetched) == (None, 50, 40)
    assert state.fetched == sum(getattr(state, name) for name in positions.OUTCOMES)
    assert gaps(engine) == [(30, 40, True)]


def test_a_running_reader_goes_on_by_itself_once_the_gap_is_accepted(engine: Engine) -> None:
    world, member = read_half(engine, 26)
    world.produce(20, FIRST)
    world.broker.trim(FIRST, 40)
    rounds(world, member)
    assert world.states()[FIRST].stopped_reason is not None
    topic_id = world.broker.topic_id("flights")
    positions.resume(engine, FIRST, next_offset=40, topic_id=topic_id, now_ms=world.clock.now_ms())
    for _ in range(4):
        world.clock.advance(6_000)
        rounds(world, member)
    state = world.states()[FIRST]
    assert (state.stopped_reason, state.next_offset, state.fetched) == (None, 50, 40)


def test_a_topic_that_was_created_again_with_fewer_messages(engine: Engine) -> None:
    world, member = read_half(engine, 24)
    world.broker.recreate_topic("flights", 2)
    for _ in range(5):
        world._append(FIRST, b"new")
    rounds(world, member)
    assert world.states()[FIRST].stopped_reason is not None
    assert world.states()[FIRST].next_offset == 30
    assert gaps_of(engine) == {0: 1, 1: 1}


def test_a_topic_that_was_created_again_with_more_messages_while_nobody_read(engine: Engine) -> None:
    world, member = read_half(engine, 25)
    world.leave(member)
    world.broker.recreate_topic("flights", 2)
    for _ in range(50):
        world._append(FIRST, b"new")
    member = world.start()
    rounds(world, member)
    for state in world.states().values():
        assert state.stopped_reason == "topic flights was deleted and created anew"
        assert (state.next_offset, state.fetched) == (30, 30)
    positions.resume(engine, FIRST, next_offset=0, topic_id=world.broker.topic_id("flights"), now_ms=1)
    world.leave(member)
    member = world.start()
    rounds(world, member)
    state = world.states()[FIRST]
    assert (state.stopped_reason, state.next_offset, state.fetched) == (None, 50, 80)
    assert gaps_of(engine) == {0: 1, 1: 1}


def gaps_of(engine: Engine) -> dict[int, int]:
    """Number of gaps of each partition."""
    with reading(engine) as connection:
        found = [row.partition for row in connection.execute(select(gap))]
    return {partition: found.count(partition) for partition in sorted(found)}


@pytest.mark.parametrize("error", [Unavailable("away"), Fenced("somebody else's")])
def test_a_gap_that_cannot_be_recorded_at_once_is_recorded_later(
    engine: Engine, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, member = read_half(engine, 26)
    world.broker.trim(FIRST, 30)
    world.produce(20, FIRST)
    world.broker.trim(FIRST, 40)

    def fail(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(positions, "stop", fail)
    rounds(world, member)
    assert world.members == [member]
    assert world.states()[FIRST].stopped_reason is not None
    assert gaps(engine) == [(30, 40, False)]


def test_added_partitions_are_read_from_their_first_message(engine: Engine) -> None:
    world, member = read_half(engine, 27)
    world.broker.add_partitions("flights", 2)
    world.produced |= {Place("flights", 2): [], Place("flights", 3): []}
    world.produce(60)
    rounds(world, member)
    world.settle()
    world.check()
    assert len(world.states()) == 4


def test_a_stopped_partition_stays_stopped_through_rewinds_and_promotions(engine: Engine) -> None:
    world, member = read_half(engine, 28)
    world.produce(5, FIRST)
    world.broker.trim(FIRST, 33)
    rounds(world, member)
    world.promote("flight-delay", "1", START_MS)
    world.produce(30, Place("flights", 1))
    world.step(member)
    world.promote("flight-delay", "1", START_MS + MINUTE_MS)
    rounds(world, member)
    world.broker.expel(member.source, "driftline")
    rounds(world, member)
    states = world.states()
    assert states[FIRST].next_offset == 30
    assert states[Place("flights", 1)].next_offset == 60
    assert gaps(engine) == [(30, 33, False)]


def test_an_identity_that_becomes_known_is_kept(engine: Engine) -> None:
    """An old broker gives topics no identity; once it does, a topic created again is noticed."""
    asked = {"kind": "predictions", "low": 0, "high": 9, "start_at_end": False, "now_ms": 1}
    for topic_id, reason in (
        ("", None),
        ("a", None),
        ("", None),
        ("a", None),
        ("b", "deleted and created anew"),
    ):
        claim = positions.claim(engine, FIRST, topic_id=topic_id, **asked)  # type: ignore[arg-type]
        assert (claim.stopped_reason or "").endswith(reason or "")
        assert (claim.stopped_reason is None) == (reason is None)
