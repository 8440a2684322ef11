"""Random schedules of everything that can happen, run again from their seed: nothing lost, nothing twice."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from monitor.store import engine as databases
from monitor.store.positions import Place
from schemas.errors import Unavailable
from tests.recovery.world import MINUTE_MS, POINTS, START_MS, Died, Member, World, wipe

STEPS = 18
MOST_MEMBERS = 3


def some(world: World, rng: random.Random) -> Member:
    """Pick a member; starts one if there is none."""
    return rng.choice(world.members) if world.members else world.start()


def produce(world: World, rng: random.Random) -> None:
    world.produce(rng.choice([1, 5, 10, 40]))


def step(world: World, rng: random.Random) -> None:
    world.step(some(world, rng))


def commit(world: World, rng: random.Random) -> None:
    world.commit(some(world, rng))


def start(world: World, _rng: random.Random) -> None:
    if len(world.members) < MOST_MEMBERS:
        world.start()


def leave(world: World, rng: random.Random) -> None:
    member = some(world, rng)
    member.faults.clear()
    world.leave(member)


def kill(world: World, rng: random.Random) -> None:
    world.die(some(world, rng))


def kill_in_commit(world: World, rng: random.Random) -> None:
    some(world, rng).faults.plan(rng.choice(POINTS), Died("killed"))


def take_the_database_away(world: World, rng: random.Random) -> None:
    point = rng.choice(POINTS)
    some(world, rng).faults.plan(point, Unavailable("away"), times=rng.choice([1, 1, 2, 5]))


def move_during_the_next_wait(world: World, rng: random.Random) -> None:
    """Something else happens while a member waits for the database."""
    action = rng.choice([lose, start, produce, promote])
    member = some(world, rng)
    member.faults.plan(rng.choice(POINTS), Unavailable("away"))
    world.clock.on_sleep(lambda: action(world, rng))
    world.commit(member)


def lose(world: World, rng: random.Random) -> None:
    world.broker.expel(some(world, rng).source, "driftline")


def add_partition(world: World, _rng: random.Random) -> None:
    if len(world.produced) < 6:
        world.broker.add_partitions("flights", 1)
        world.produced[Place("flights", len(world.produced))] = []


def promote(world: World, rng: random.Random) -> None:
    model, version = rng.choice(["flight-delay", "fares"]), rng.choice(["1", "2"])
    world.promote(model, version, START_MS + rng.randrange(0, 10) * MINUTE_MS)


def wait(world: World, rng: random.Random) -> None:
    world.clock.advance(rng.choice([10, 1_000, 6_000]))


ACTIONS: dict[Callable[[World, random.Random], None], int] = {
    produce: 30,
    step: 40,
    commit: 15,
    start: 6,
    leave: 2,
    kill: 4,
    kill_in_commit: 6,
    take_the_database_away: 6,
    move_during_the_next_wait: 4,
    lose: 4,
    add_partition: 1,
    promote: 5,
    wait: 6,
}


def run(engine: Engine, seed: int) -> None:
    """Run one schedule and compare everything with the oracle."""
    rng = random.Random(seed)
    world = World(engine, seed, partitions=rng.randint(1, 4))
    for action in rng.choices(list(ACTIONS), list(ACTIONS.values()), k=STEPS):
        action(world, rng)
    world.settle()
    for member in list(world.members):
        world.leave(member)
    world.check()


@pytest.mark.parametrize(
    "block", [*range(6), *(pytest.param(block, marks=pytest.mark.full) for block in range(6, 20))]
)
def test_any_schedule_counts_everything_once(block: int, migrated_sqlite: Path, tmp_path: Path) -> None:
    for seed in range(10 * block, 10 * block + 10):
        path = tmp_path / f"{seed}.db"
        shutil.copy(migrated_sqlite, path)
        engine = databases.create(f"sqlite:///{path}", patience_s=5)
        try:
            run(engine, seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        finally:
            engine.dispose()


def test_schedules_count_everything_once_on_both_databases(engine: Engine) -> None:
    for seed in range(1_000, 1_004):
        wipe(engine)
        run(engine, seed)


@pytest.mark.full
@pytest.mark.timeout(1_200)
def test_many_more_schedules_count_everything_once(engine: Engine) -> None:
    for seed in range(10_000, 10_400):
        wipe(engine)
        try:
            run(engine, seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
