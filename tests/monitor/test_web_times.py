"""Watermarks from stored positions: who holds event time back, and who no longer does."""

import pytest
from sqlalchemy import update

from monitor.store.committing import Commit, PartitionDelta, commit
from monitor.store.engine import immediate, reading
from monitor.store.positions import Place, claim
from monitor.store.queries.times import FRESH_MS, watermarks
from monitor.store.tables import partition_state
from tests.monitor.web_world import MINUTE, NOW_MS, START_MS, World, configuration


@pytest.fixture
def world(database_url):
    made = World(database_url)
    yield made
    made.engine.dispose()


def marks(world, now_ms=NOW_MS, models=None):
    with reading(world.engine) as connection:
        found = watermarks(connection, world.configuration, now_ms, models)
    return {model: (mark - START_MS) / MINUTE for model, mark in found.items()}


def partition(world, number, minute, model="m", topic="pp", **state):
    """Another partition, with an event of a model at a minute."""
    owned = claim(
        world.engine, Place(topic, number), kind="predictions", topic_id="", low=0, high=9,
        start_at_end=False, now_ms=NOW_MS,
    )  # fmt: skip
    delta = PartitionDelta(owned, 0, 1, 1)
    delta.outcomes["counted"] = 1
    if minute is not None:
        delta.max_event_ms = START_MS + minute * MINUTE
        delta.models = {model: (delta.max_event_ms, NOW_MS)}
    for name, value in state.items():
        setattr(delta, name, value)
    commit(world.engine, Commit([delta]), now_ms=NOW_MS)


def test_the_slowest_partition_holds_a_model_back(world):
    world.add(range(20))
    assert marks(world) == {"m": 18}
    partition(world, 1, 7)
    assert marks(world) == {"m": 6}
    assert marks(world, models=["m"]) == {"m": 6}
    assert marks(world, models=["other"]) == {}


def test_a_partition_at_its_end_lets_go_until_nobody_reports_on_it(world):
    world.add(range(20))
    partition(world, 1, 7, at_end_since_ms=NOW_MS, reached_end=True)
    assert marks(world, NOW_MS + 1_000) == {"m": 6}
    assert marks(world, NOW_MS + 15_000) == {"m": 18}
    assert marks(world, NOW_MS + FRESH_MS + 1) == {"m": 6}


def test_stopped_partitions_and_forgotten_topics_hold_nothing_back(world):
    world.add(range(20))
    partition(world, 0, 3, topic="old")
    partition(world, 1, 7)
    with immediate(world.engine) as connection:
        stopped = update(partition_state).where(partition_state.c.partition == 1)
        connection.execute(stopped.values(stopped_reason="gone"))
    assert marks(world) == {"m": 18}


def test_a_partition_that_has_not_been_read_to_its_end_may_bring_anything(world):
    world.add(range(20))
    partition(world, 1, 2, model="n")
    assert marks(world) == {"m": 1, "n": 1}


def test_each_model_waits_as_long_as_it_is_configured_to(world):
    world.add(range(20))
    world.configuration = configuration(models={"m": {"lateness": "5m"}})
    assert marks(world) == {"m": 14}
