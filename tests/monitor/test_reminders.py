"""Reminders reach every incident that is due, however many there are and whatever one of them holds."""

import pytest
from sqlalchemy import select, update

from monitor.incidents import reminders
from monitor.store import engine as engines
from monitor.store import incidents, schema
from monitor.store.engine import immediate, reading
from monitor.store.tables import incident
from tests.alerting.factory import window
from tests.monitor.incident_world import HOUR_MS, World

ROUTES = [{"match": {}, "to": ["hook"], "repeat": "1h"}]


@pytest.fixture
def world(sqlite_url):
    engine = engines.create(sqlite_url)
    schema.upgrade(engine)
    yield World(engine, sqlite_url, routes=ROUTES, group={"wait": "0s", "across_models": False})
    engine.dispose()


def looks(world):
    with reading(world.engine) as connection:
        query = select(incident.c.id, incident.c.look_at_ms).order_by(incident.c.id)
        return {row.id: row.look_at_ms - world.clock.now_ms() for row in connection.execute(query)}


def test_each_of_many_is_reminded_of_once_without_asking_for_the_whole_list_again(world, monkeypatch):
    monkeypatch.setattr(reminders, "PORTION", 2)
    asked: list[int] = []
    due = incidents.due

    def counted(connection, now_ms, limit):
        asked.append(limit)
        return due(connection, now_ms, limit)

    monkeypatch.setattr(incidents, "due", counted)
    for name in "abcde":
        world.see(window(0, ["age"], model=name))
    assert world.pass_time(HOUR_MS) == 5
    assert len(asked) == 3, "once for each portion"
    assert world.reminders.sweep() == 0


def test_an_incident_that_changes_meanwhile_is_still_looked_at(world, monkeypatch):
    """Another process may add incidents that are due earlier than the first portion."""
    alert = world.see(window(0, ["age"]))
    monkeypatch.setattr(reminders, "PORTION", 1)
    seen: list[str] = []

    def first_only(connection, now_ms, limit):
        if seen:
            return []
        seen.append(alert.id)
        return [alert.id]

    other = world.see(window(0, ["age"], model="earlier"))
    with immediate(world.engine) as connection:
        connection.execute(update(incident).where(incident.c.id == other.id).values(look_at_ms=1))
    monkeypatch.setattr(incidents, "due", first_only)
    assert world.pass_time(HOUR_MS) == 1


def test_one_that_cannot_be_read_keeps_no_other_waiting(world, caplog):
    first, second = world.see(window(0, ["age"], model="a")), world.see(window(0, ["age"], model="b"))
    with immediate(world.engine) as connection:
        broken = update(incident).where(incident.c.id == first.id)
        connection.execute(broken.values(record_bytes=b"?", look_at_ms=1))
    assert world.pass_time(HOUR_MS) == 1
    assert looks(world) == {first.id: 300_000, second.id: HOUR_MS}
    assert f"incident {first.id} cannot be looked at" in caplog.text
    assert world.reminders.sweep() == 0
