"""Requests and responses on partitions of several processes: each pair is counted once, whatever happens."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from monitor.store import engine as databases
from monitor.store.engine import immediate
from monitor.store.tables import half_message
from schemas.errors import Unavailable
from tests.recovery.pair_world import PairWorld
from tests.recovery.world import POINTS, Died, World


def begun(engine: Engine, seed: int) -> PairWorld:
    """A world with halves of which many are complete, and no process."""
    world = PairWorld(engine, seed)
    world.produce(80)
    world.settle()
    world.check_identity()
    for member in list(world.members):
        world.die(member)
    assert world.complete()
    return world


def test_pairs_are_counted_while_messages_come(engine: Engine) -> None:
    world = PairWorld(engine, seed=1)
    world.start(2)
    for _ in range(12):
        world.produce(10)
        for member in list(world.members):
            assert world.turn(member)
            world.check_identity()
    world.settle_pairs()
    world.check()
    assert len(world.members) == 2


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_with_pairs_is_continued_by_the_next(engine: Engine, point: str) -> None:
    world = begun(engine, seed=2)
    for _ in range(2):
        member = world.start()
        world.produce(10)
        world.step(member)
        world.clock.advance(5_000)
        world.step(member)
        assert member.ingest._batch.pairs._taken or point == "after commit"
        member.faults.plan(point, Died(point))
        assert not world.commit(member)
        world.check_identity()
    world.settle_pairs()
    world.check()


@pytest.mark.parametrize("point", POINTS)
def test_a_database_that_is_away_with_pairs_is_waited_for(engine: Engine, point: str) -> None:
    world = begun(engine, seed=3)
    member = world.start()
    world.step(member)
    world.clock.advance(5_000)
    world.step(member)
    assert member.ingest._batch.pairs._taken
    member.faults.plan(point, Unavailable("away"), times=2 if point != "after commit" else 1)
    assert world.commit(member)
    assert not member.faults.planned()
    assert world.members == [member]
    world.settle_pairs()
    world.check()


def test_a_stalled_process_is_fenced_and_its_pairs_are_counted_by_another(engine: Engine) -> None:
    world = begun(engine, seed=4)
    stalled = world.start()
    world.step(stalled)
    world.clock.advance(5_000)
    world.step(stalled)
    assert stalled.ingest._batch.pairs._taken
    world.broker.expel(stalled.source, "driftline")
    other = world.start()
    for _ in range(3):
        world.turn(other)
    assert stalled.ingest._batch.pairs._taken
    world.commit(stalled)
    world.check_identity()
    world.settle_pairs()
    world.check()


def test_a_half_is_taken_out_once_even_if_two_hold_it(engine: Engine) -> None:
    """The row's own guard: it is changed by whoever comes first."""
    world = begun(engine, seed=5)
    member = world.start()
    world.step(member)
    world.clock.advance(5_000)
    world.step(member)
    held = next(iter(member.ingest._batch.pairs._taken.values())).request
    waits = half_message.c.id == held.id
    with immediate(engine) as connection:
        connection.execute(update(half_message).where(waits).values(status="paired"))
    before = {place: state.counted for place, state in world.states().items()}
    assert world.commit(member)  # refused as a whole: it reads on from the database
    assert {place: state.counted for place, state in world.states().items()} == before
    with immediate(engine) as connection:
        connection.execute(update(half_message).where(waits).values(status="waiting"))
    world.settle_pairs()
    world.check()


def run_schedule(engine: Engine, seed: int) -> None:
    """Let anything happen to processes while halves come and are paired."""
    rng = random.Random(seed)
    world = PairWorld(engine, seed)
    for _ in range(40):
        if not world.members:
            world.start()
        member = rng.choice(world.members)
        action = rng.random()
        if action < 0.3:
            world.produce(rng.randrange(1, 15))
        elif action < 0.4:
            fault = rng.choice([Died("killed"), Unavailable("away")])
            member.faults.plan(rng.choice(POINTS), fault)
        elif action < 0.45:
            world.die(member)
        elif action < 0.52 and len(world.members) < 3:
            world.start()
        elif action < 0.6:
            world.commit(member)
        elif action < 0.7:
            world.step(member)
        else:
            world.turn(member)
        world.check_identity()
    world.settle_pairs()
    world.check()


@pytest.mark.parametrize("block", [0, *(pytest.param(block, marks=pytest.mark.full) for block in (1, 2, 3))])
def test_any_schedule_counts_every_pair_once(block: int, migrated_sqlite: Path, tmp_path: Path) -> None:
    for seed in range(block * 10, block * 10 + 10):
        path = tmp_path / f"{seed}.db"
        shutil.copy(migrated_sqlite, path)
        engine = databases.create(f"sqlite:///{path}")
        try:
            run_schedule(engine, seed)
        finally:
            World.close_all()
            engine.dispose()


@pytest.mark.parametrize(
    "seed", [1_000, *(pytest.param(seed, marks=pytest.mark.full) for seed in (1_001, 1_002))]
)
def test_schedules_count_every_pair_once_on_both_databases(engine: Engine, seed: int) -> None:
    run_schedule(engine, seed)
