"""Gauges of the service itself, on both databases."""

import pytest
from sqlalchemy import update

from monitor.store import outbox
from monitor.store.engine import immediate
from monitor.store.tables import partition_state
from monitor.web.context import Context
from monitor.web.gauges import Gauges, Snapshot, families
from tests.monitor.web_world import NOW_MS, START_MS, World

WAIT_S = 5  # until a message may leave, so that what begins together is told together
SHARED = ("alert_budget_allowed", "messages_waiting", "newest_event_timestamp_seconds", "partition_stopped")


@pytest.fixture
def world(database_url):
    made = World(database_url)
    yield made
    made.engine.dispose()


def told(world):
    """Values by name (without prefix) and labels."""
    snapshot = Gauges(Context(world.configuration, world.engine, world.telemetry, world.clock)).read()
    return {
        family.name.removeprefix("driftline_"): {
            tuple(sample.labels.values()): sample.value for sample in family.samples
        }
        for family in families(snapshot)
    }


def change(world, statement):
    with immediate(world.engine) as connection:
        connection.execute(statement)


def test_of_an_empty_service(world):
    found = told(world)
    assert found["alert_budget_allowed"] == {(): 1}
    assert found["partition_stopped"] == {("pp", "0"): 0}
    assert found["messages_waiting"] == found["messages_given_up"] == {("hook",): 0}
    assert found["messages_waiting_since_timestamp_seconds"] == found["newest_event_timestamp_seconds"] == {}
    assert found["model_alerts_open"] == {}


def test_events_and_alerts_of_models(world):
    world.add(range(5))
    world.add(range(9), model="other")
    alert = world.alert()
    found = told(world)
    minutes = {("m",): START_MS / 1_000 + 4 * 60, ("other",): START_MS / 1_000 + 8 * 60}
    assert found["newest_event_timestamp_seconds"] == minutes
    assert found["model_alerts_open"] == {("m", str(alert.lane), str(alert.severity)): 1}
    assert found["messages_waiting"] == {("hook",): 1}
    assert found["messages_waiting_since_timestamp_seconds"] == {("hook",): NOW_MS / 1_000 + WAIT_S}


def test_a_stopped_partition(world):
    change(world, update(partition_state).values(stopped_reason="a rule of the contract"))
    assert told(world)["partition_stopped"] == {("pp", "0"): 1}


def test_a_partition_of_a_topic_that_is_not_configured_any_more(world):
    change(world, update(partition_state).values(topic="former", stopped_reason="it is gone"))
    assert told(world)["partition_stopped"] == {}


def test_messages_that_were_given_up_and_a_receiver_that_is_gone(world):
    world.alert()
    with immediate(world.engine) as connection:
        assert outbox.bury(connection, "hook", NOW_MS, "410 Gone") == 1
        outbox.set_receiver_state(connection, "hook", "", {"disabled": "410 Gone"})
    found = told(world)
    assert (found["messages_waiting"], found["messages_given_up"]) == ({("hook",): 0}, {("hook",): 1})
    assert found["receiver_disabled"] == {("hook",): 1}
    assert found["messages_waiting_since_timestamp_seconds"] == {}


def test_nothing_is_told_when_the_database_is_away():
    found = {family.name.removeprefix("driftline_"): family.samples for family in families(None)}
    assert [found[name] for name in SHARED] == [[], [], [], []]
    assert set(found) == {family.name.removeprefix("driftline_") for family in families(Snapshot())}
