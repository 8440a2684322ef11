"""An outbox, receivers that keep what arrives, and deliverers between them, for tests."""

import random
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select

from alerting.notifiers.base import Example, Notifier, ReceiverOptions
from alerting.policy import Match, Route
from alerting.secrets import Secrets
from monitor.deliver import Deliverer
from monitor.store import alerts as stored
from monitor.store import engine as store
from monitor.store import outbox
from monitor.store.alerts import load_for
from monitor.store.engine import immediate, reading
from monitor.store.tables import metadata
from monitor.store.tables import outbox as outbox_table
from tests.alerting.factory import play, rows_of, window

ROUTES = [Route(match=Match(), to=("hook", "chat"))]
HOOK_ONLY = [Route(match=Match(), to=("hook",))]


def save(connection, alert, changes, rows, now_ms):
    """Write an alert and messages about it."""
    stored.save(connection, alert, changes, now_ms)
    outbox.add(connection, rows, now_ms)


class Endpoint:
    """The far side: keeps what arrived, whatever happens to those who sent it."""

    def __init__(self):
        self.arrived = []
        self.mood = lambda notice: None
        self.after = lambda notice: None

    @property
    def ids(self):
        return [notice.id for notice in self.arrived]

    def sequences(self, alert_id):
        """In order of arrival, repetitions dropped by id."""
        kept = {notice.id: notice for notice in self.arrived if notice.alert.id == alert_id}
        return [notice.change.sequence for notice in kept.values()]


class HookOptions(ReceiverOptions):
    pass


class Hook(Notifier):
    """Sends to an endpoint of the test."""

    Options = HookOptions

    def __init__(self, endpoint, options=None):
        super().__init__(options or HookOptions(type="hook"), Secrets({}, "receivers.hook"), lambda: 0)
        self.endpoint = endpoint
        self.states = []

    def send(self, notice, state):
        self.states.append(state)
        self.endpoint.mood(notice)
        self.endpoint.arrived.append(notice)
        self.endpoint.after(notice)
        return {"first": (state or {}).get("first", notice.id)}

    def send_digest(self, notice):
        self.endpoint.mood(notice)
        self.endpoint.arrived.append(notice)
        self.endpoint.after(notice)

    def check(self):
        return "there"

    @classmethod
    def examples(cls):
        return [Example({"type": "hook"})]


class Chat(Hook):
    only_latest_matters = True


def deliverer(engine, clock, endpoint, chat=None, seed=1, **options):
    notifiers = {"hook": Hook(endpoint), **({"chat": Chat(chat)} if chat else {})}
    return Deliverer(engine, notifiers, clock, random.Random(seed), workers=1, **options)


def judge(engine, clock, observation, routes=HOOK_ONLY):
    """Judge one window the way the evaluator does; the alert."""
    with immediate(engine) as connection:
        alert, changes = play(observation, alert=load_for(connection, observation))
        if alert is not None:
            save(connection, alert, changes, rows_of(alert, changes, routes), clock.now_ms())
    return alert


def rows(engine):
    with reading(engine) as connection:
        ordered = select(outbox_table).order_by(outbox_table.c.alert_id, outbox_table.c.sequence)
        return connection.execute(ordered.order_by(outbox_table.c.receiver)).all()


def states(engine):
    return [row.state for row in rows(engine)]


def drain(engine, clock, make, limit=1_000):
    """Deliver until nothing waits, moving the clock."""
    for _ in range(limit):
        if "waiting" not in states(engine):
            return
        make().deliver_due()
        clock.sleep(60)
    pytest.fail("messages still wait")


@contextmanager
def opened(database_url):
    """Open a database with all tables; it is let go of afterwards."""
    made = store.create(database_url)
    if made.dialect.name == "sqlite":  # these tests kill code, not the machine
        event.listen(made, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    metadata.create_all(made)
    yield made
    made.dispose()


def storm(engine, clock, incidents, first=0):
    """Incidents of as many models, each with one message."""
    made = []
    with immediate(engine) as connection:
        for number in range(first, first + incidents):
            alert, changes = play(window(0, ["score" if number % 3 else "age"], model=f"m{number:03}"))
            save(connection, alert, changes, rows_of(alert, changes, HOOK_ONLY), clock.now_ms())
            made.append(alert)
    return made
