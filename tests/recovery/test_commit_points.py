"""A commit that fails at any of its points loses nothing and counts nothing twice."""

import pytest
from sqlalchemy import Engine

from schemas.errors import Unavailable
from tests.recovery.world import POINTS, Died, World


def test_without_faults_everything_is_counted_once(engine: Engine) -> None:
    world = World(engine, seed=1)
    member = world.start()
    for _ in range(6):
        world.produce(50)
        world.step(member)
        world.commit(member)
    world.settle()
    world.check()
    assert set(member.faults.met) == set(POINTS)
    assert world.members == [member]


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_in_a_commit_is_continued_by_the_next(engine: Engine, point: str) -> None:
    world = World(engine, seed=2)
    for turn in range(3):
        member = world.start()
        world.produce(60)
        world.step(member)
        world.step(member)
        if turn < 2:
            member.faults.plan(point, Died(point))
            assert not world.commit(member)
    world.settle()
    world.check()


@pytest.mark.parametrize("point", POINTS)
def test_a_database_that_is_away_in_a_commit_is_waited_for(engine: Engine, point: str) -> None:
    world = World(engine, seed=3)
    member = world.start()
    for _ in range(3):
        world.produce(60)
        world.step(member)
        world.step(member)
        member.faults.plan(point, Unavailable("away"), times=2 if point != "after commit" else 1)
        waited = world.clock.monotonic()
        assert world.commit(member)
        assert world.clock.monotonic() - waited >= 1
        assert not member.faults.planned()
    assert world.members == [member]
    world.settle()
    world.check()
