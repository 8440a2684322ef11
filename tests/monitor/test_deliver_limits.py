"""A receiver is sent no more than its limit allows, and nothing is lost by that."""

import random
from typing import Any

import pytest

from monitor.clock import ManualClock
from monitor.deliver import Deliverer
from schemas.errors import RetryLater
from tests.monitor.delivery_world import Endpoint, Hook, HookOptions, opened, storm


class People(Hook):
    """Reads lists."""

    reads_lists = True

    def send_list(self, notice):
        self.send_digest(notice)


@pytest.fixture
def engine(database_url):
    with opened(database_url) as made:
        yield made


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def endpoint():
    return Endpoint()


def limited(cls, endpoint, limit):
    return cls(endpoint, HookOptions(type="hook", limit=limit))


def test_a_machine_gets_everything_at_its_pace(engine, clock, endpoint):
    storm(engine, clock, 12)
    paced = Deliverer(
        engine, {"hook": limited(Hook, endpoint, "5 per minute")}, clock, random.Random(1), workers=1
    )
    for _ in range(10):
        paced.deliver_due()
        clock.advance(1_000)
    assert len(endpoint.arrived) == 5
    clock.advance(60_000)
    paced.deliver_due()
    clock.advance(60_000)
    paced.deliver_due()
    assert len(endpoint.ids) == len(set(endpoint.ids)) == 12


def test_people_get_a_list_of_what_is_beyond_their_limit(engine, clock, endpoint):
    alerts = storm(engine, clock, 30)
    people = Deliverer(
        engine, {"hook": limited(People, endpoint, "4 per hour")}, clock, random.Random(1), workers=1
    )
    for _ in range(5):
        people.deliver_due()
        clock.advance(1_000)
    *single, listed = endpoint.arrived
    assert [notice.type for notice in single] == ["driftline.alert.opened"] * 3
    assert (listed.type, listed.total, listed.limit) == ("driftline.held_back", 27, "4 per hour")
    told = {notice.alert.id for notice in single} | {one.id for one in listed.incidents}
    assert told == {alert.id for alert in alerts}
    ranks = [one.severity.rank for one in listed.incidents]
    assert ranks == sorted(ranks, reverse=True)
    storm(engine, clock, 1, first=30)
    people.deliver_due()
    assert len(endpoint.arrived) == 4
    clock.advance(3_600_000)
    people.deliver_due()
    assert endpoint.arrived[-1].type == "driftline.alert.opened"


def test_a_list_that_does_not_arrive_is_sent_again_as_it_was(engine, clock, endpoint):
    storm(engine, clock, 6)
    people = Deliverer(
        engine, {"hook": limited(People, endpoint, "2 per hour")}, clock, random.Random(1), workers=1
    )

    def down(notice):
        if notice.type == "driftline.held_back" and len(refused) < 3:
            refused.append(notice)
            msg = "down"
            raise RetryLater(msg)

    refused: list[Any] = []
    endpoint.mood = down
    for _ in range(8):
        people.deliver_due()
        clock.advance(10_000)
    assert {notice.id for notice in refused} == {endpoint.arrived[-1].id}
    assert endpoint.arrived[-1].total == 5


def test_several_deliverers_keep_one_limit_together(engine, clock, endpoint):
    storm(engine, clock, 12)
    first, second = (
        Deliverer(
            engine, {"hook": limited(Hook, endpoint, "5 per hour")}, clock, random.Random(at), workers=1
        )
        for at in range(2)
    )
    endpoint.mood = lambda _: second.deliver_due() if not endpoint.arrived else None
    for _ in range(5):
        first.deliver_due()
        clock.advance(1_000)
    assert len(endpoint.arrived) == 5
    endpoint.mood = lambda _: None
    clock.advance(3_600_000)
    for _ in range(3):
        second.deliver_due()
        clock.advance(3_600_000)
    assert len(endpoint.ids) == len(set(endpoint.ids)) == 12
