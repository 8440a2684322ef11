"""Partitions that move between processes at any moment are counted once."""

import pytest
from sqlalchemy import Engine

from monitor.ingest import Ingest
from monitor.registry import Registry
from monitor.source.memory import MemorySource
from monitor.store.committing import Commit
from monitor.store.positions import Place
from monitor.telemetry import Telemetry
from schemas.errors import Unavailable
from tests.recovery.world import MINUTE_MS, Died, World


def owned(world: World) -> list[int]:
    """Number of partitions of each member."""
    return [len(world.broker.owned_by(member.source, "driftline")) for member in world.members]


def test_three_members_share_the_partitions_and_take_over_from_each_other(engine: Engine) -> None:
    world = World(engine, seed=4, partitions=6)
    first = world.start()
    world.produce(80)
    world.step(first)
    second, third = world.start(), world.start()
    for _ in range(3):
        for member in (first, second, third):
            world.produce(20)
            assert world.step(member)
    assert owned(world) == [2, 2, 2]
    world.leave(second)
    world.produce(40)
    for _ in range(2):
        for member in (first, third):
            assert world.step(member)
    assert owned(world) == [3, 3]
    world.settle()
    world.check()


def test_a_member_that_stalled_is_fenced_and_what_it_held_is_counted_by_the_other(engine: Engine) -> None:
    world = World(engine, seed=5)
    stalled, other = world.start(), world.start()
    for _ in range(3):
        world.produce(60)
        for member in (stalled, other):
            world.step(member)
    world.broker.expel(stalled.source, "driftline")
    for _ in range(2):
        world.produce(30)
        world.step(other)
    assert owned(world) == [0, 3]
    world.commit(other)
    before = {place: state.next_offset for place, state in world.states().items()}
    assert world.commit(stalled)  # does not know yet, and must not write anything
    assert {place: state.next_offset for place, state in world.states().items()} == before
    world.settle()
    world.check()


def test_what_was_fetched_of_lost_partitions_is_not_committed(engine: Engine) -> None:
    world = World(engine, seed=6)
    member = world.start()
    world.produce(120)
    world.step(member)
    world.broker.expel(member.source, "driftline")
    world.step(member)
    assert all(state.next_offset == 0 for state in world.states().values())
    world.settle()
    world.check()


def test_partitions_lost_while_a_commit_waits_for_the_database(engine: Engine) -> None:
    world = World(engine, seed=7)
    member, other = world.start(), world.start()
    for _ in range(3):
        world.produce(60)
        for each in (member, other):
            world.step(each)

    def expelled() -> None:
        world.broker.expel(member.source, "driftline")
        world.step(other)
        world.commit(other)

    member.faults.plan("before commit", Unavailable("away"))
    world.clock.on_sleep(expelled)
    world.commit(member)
    world.settle()
    world.check()


def test_partitions_that_come_while_a_commit_waits_for_the_database(engine: Engine) -> None:
    world = World(engine, seed=8)
    member, other = world.start(), world.start()
    for _ in range(3):
        world.produce(60)
        for each in (member, other):
            world.step(each)
    member.faults.plan("seen", Unavailable("away"), times=2)
    world.clock.on_sleep(lambda: world.leave(other))
    assert world.commit(member)
    world.settle()
    assert owned(world) == [3]
    world.check()


def test_a_revoked_partition_whose_commit_fails_is_read_again_by_its_next_owner(engine: Engine) -> None:
    world = World(engine, seed=9)
    member = world.start()
    world.produce(120)
    world.step(member)
    member.faults.plan("slices", Unavailable("away"), times=1_000)
    other = world.start()
    world.step(member)  # tries for a minute, then gives the partitions up
    world.step(other)
    assert owned(world)[1] > 0
    world.settle()
    world.check()


def test_stopping_right_after_a_commit_that_was_refused_commits_nothing_half(engine: Engine) -> None:
    world = World(engine, seed=10)
    member = world.start()
    world.produce(200)
    world.settle()
    assert world.promote("flight-delay", "1", 0)
    world.settle()
    world.produce(100)
    world.step(member)
    assert world.promote("flight-delay", "1", 0)
    world.commit(member)  # counted on the bins of the first reference: must be counted again
    world.leave(member)
    world.settle()
    world.check()


@pytest.mark.parametrize("point", ["begun", "before commit", "after commit"])
def test_a_process_that_dies_while_partitions_are_taken_from_it(engine: Engine, point: str) -> None:
    world = World(engine, seed=11)
    member = world.start()
    world.produce(120)
    world.step(member)
    member.faults.plan(point, Died(point))
    world.start()
    assert not world.step(member)
    world.settle()
    world.check()


def test_the_database_goes_away_right_after_a_commit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(engine, seed=12)
    member = world.start()
    world.produce(120)
    world.step(member)
    calls = []

    def away(*_: object) -> None:
        calls.append(1)
        monkeypatch.undo()
        msg = "away"
        raise Unavailable(msg)

    monkeypatch.setattr("monitor.registry.read_columns", away)
    assert world.commit(member)
    assert calls == [1]
    world.settle()
    assert world.members == [member]
    world.check()


def test_a_broker_that_does_not_answer_while_partitions_are_assigned_is_waited_for(engine: Engine) -> None:
    world = World(engine, seed=13)
    world.produce(50)
    member = world.start()
    world.broker.away = True

    def back() -> None:
        world.broker.away = False

    world.clock.on_sleep(back)
    assert world.step(member)
    world.settle()
    world.check()


def test_a_promotion_while_the_database_comes_and_goes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking which references were promoted can fail too."""
    world = World(engine, seed=14)
    member = world.start()
    world.produce(200)
    world.settle()
    world.produce(60)
    world.step(member)
    assert world.promote("flight-delay", "1", 0)
    real = Registry.adopt_references
    answers = iter([Unavailable("away"), None])

    def adopt(self: Registry, work: Commit) -> bool:
        answer = next(answers)
        if answer is not None:
            raise answer
        return real(self, work)

    monkeypatch.setattr(Registry, "adopt_references", adopt)
    assert world.commit(member)
    assert next(answers, "asked twice") == "asked twice"
    monkeypatch.undo()
    world.settle()
    world.check()


def test_two_topics_are_kept_apart(engine: Engine) -> None:
    world = World(engine, seed=15, partitions=2, topics=("flights", "fares"))
    members = [world.start(), world.start()]
    for _ in range(5):
        world.produce(50)
        for member in members:
            world.step(member)
    world.settle()
    world.check()
    assert {place.topic for place in world.states()} == {"flights", "fares"}


def test_a_failure_while_leaving_is_told_and_loses_nothing(engine: Engine) -> None:
    world = World(engine, seed=16)
    member = world.start()
    world.produce(120)
    world.step(member)
    member.faults.plan("models", Died("models"))
    with pytest.raises(Died):
        world.leave(member)
    member.ingest.abandon()
    world.settle()
    world.check()


def test_single_messages(engine: Engine) -> None:
    world = World(engine, seed=17, partitions=1)
    member = world.start()
    for _ in range(40):
        world.produce(1)
        world.step(member)
    world.settle()
    world.check()
    assert world.states()[Place("flights", 0)].fetched == 40


def test_a_clock_that_only_one_member_reads_does_not_matter(engine: Engine) -> None:
    """Members agree through the database alone: each one may have met other models and columns."""
    world = World(engine, seed=18, partitions=4)
    first, second = world.start(), world.start()
    for _ in range(4):
        world.produce(80)
        world.step(first)
        world.clock.advance(MINUTE_MS)
        world.step(second)
    world.settle()
    world.check()
    fresh = Ingest(
        world.configuration,
        engine,
        MemorySource(world.broker, world.clock, "other"),
        world.clock,
        Telemetry(),
    )
    fresh.begin()
    for _ in range(4):
        fresh.step()
    fresh.leave()
    world.check()  # a group of its own finds everything read: positions are the database's
