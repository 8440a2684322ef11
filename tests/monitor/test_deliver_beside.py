"""Receivers beside each other: one that hangs holds up nobody else."""

import random
import threading

import pytest

from alerting.policy import Match, Route
from monitor.clock import ManualClock
from monitor.deliver import Deliverer
from schemas.errors import Unavailable
from tests.alerting.factory import window
from tests.kit.waiting import PATIENCE_S, wait_for
from tests.monitor.delivery_world import Endpoint, Hook, judge, opened, rows

HANGING = [f"hangs-{number}" for number in range(6)]


@pytest.fixture
def engine(sqlite_url):
    with opened(sqlite_url) as made:
        yield made


def test_a_receiver_that_hangs_holds_up_nobody_else(engine):
    clock, quick, released = ManualClock(), Endpoint(), threading.Event()
    slow = [Endpoint() for _ in HANGING]

    def hang(_notice):
        released.wait(600)

    for endpoint in slow:
        endpoint.mood = hang
    notifiers = {"hook": Hook(quick), **{n: Hook(e) for n, e in zip(HANGING, slow, strict=True)}}
    routes = [Route(match=Match(), to=("hook", *HANGING))]
    judge(engine, clock, window(0, ["age"], model="first"), routes)
    made, stop = Deliverer(engine, notifiers, clock, random.Random(1)), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    wait_for(lambda: len(quick.arrived) == 1, what="the first has not come")
    judge(engine, clock, window(0, ["age"], model="second"), routes)
    made.wake()
    wait_for(lambda: len(quick.arrived) == 2, what="the second has not come")
    assert all(endpoint.arrived == [] for endpoint in slow)
    released.set()
    wait_for(lambda: {row.state for row in rows(engine)} == {"delivered"}, what="not all are delivered")
    stop.set()
    made.wake()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert [len(endpoint.arrived) for endpoint in (quick, *slow)] == [2] * 7


def test_an_outcome_that_the_database_did_not_take_is_recorded_later(engine, monkeypatch):
    clock, endpoint = ManualClock(), Endpoint()
    judge(engine, clock, window(0, ["age"]))
    made, stop = Deliverer(engine, {"hook": Hook(endpoint)}, clock, random.Random(1)), threading.Event()
    kept = made._write
    failures: list[str] = []

    def fail_at_first(outcome):
        if len(failures) < 2:
            failures.append(outcome.row.id)
            msg = "the database is away"
            raise Unavailable(msg)
        kept(outcome)

    monkeypatch.setattr(made, "_write", fail_at_first)
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    wait_for(lambda: rows(engine)[0].state == "delivered", what="it is not recorded")
    stop.set()
    made.wake()
    thread.join(PATIENCE_S)
    assert (len(failures), len(endpoint.arrived)) == (2, 1)
