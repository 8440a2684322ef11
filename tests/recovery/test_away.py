"""A database that is really away for a while."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from monitor.store import engine as databases
from monitor.store.positions import ensure_counters
from monitor.store.schema import upgrade
from tests.kit.postgres import PostgresServer
from tests.recovery.world import POINTS, World

pytestmark = pytest.mark.acceptance


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that this test may stop."""
    with PostgresServer(fsync=False) as running:
        yield running


@pytest.fixture
def engine(server: PostgresServer) -> Iterator[Engine]:
    """Connections to it."""
    made = databases.create(server.url(server.create_database()), patience_s=5)
    upgrade(made)
    ensure_counters(made)
    yield made
    made.dispose()


def test_a_server_that_is_killed_and_comes_back_is_waited_for(server: PostgresServer, engine: Engine) -> None:
    world = World(engine, seed=31)
    member = world.start()
    world.produce(100)
    world.step(member)
    assert world.commit(member)
    world.produce(100)
    world.step(member)
    server.kill()
    waits: list[float] = []

    def noticed() -> None:
        waits.append(world.clock.monotonic())
        if len(waits) < 3:
            world.clock.on_sleep(noticed)
        else:
            server.start()

    world.clock.on_sleep(noticed)
    assert world.commit(member)
    assert len(waits) == 3
    world.settle()
    assert world.members == [member]
    world.check()


@pytest.mark.parametrize(
    "points",
    [("begun", "labels", "before commit", "after commit"), pytest.param(POINTS, marks=pytest.mark.full)],
    ids=["some", "all"],
)
def test_a_server_that_restarts_in_the_middle_of_commits(
    server: PostgresServer, engine: Engine, points: tuple[str, ...]
) -> None:
    """The connection breaks at each point in turn, and the server forgets the transaction."""
    world = World(engine, seed=32)
    member = world.start()
    for point in points:
        world.produce(40)
        world.step(member)
        member.faults.do(point, server.restart)
        assert world.commit(member)
        assert not member.faults.planned()
    world.settle()
    assert world.members == [member]
    world.check()
