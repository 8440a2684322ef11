"""What is sent again: to receivers that forget, and what was given up."""

import random

import pytest

from monitor.clock import ManualClock
from monitor.deliver import Deliverer
from monitor.store import outbox
from monitor.store.engine import immediate
from monitor.store.tables import incident as incident_table
from schemas.errors import DeliveryError
from tests.alerting.factory import window
from tests.monitor.delivery_world import Chat, Endpoint, Hook, deliverer, judge, opened, rows, states, storm


class Forgetful(Hook):
    """Takes an incident for over after a while."""

    resend_after_ms = 60_000


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


def test_a_refusal_is_shown_and_can_be_tried_again(engine, clock, endpoint):
    def refuse(_):
        raise DeliveryError("Slack refused: channel_not_found (check the name)")  # noqa: EM101

    judge(engine, clock, window(0, ["age"]))
    endpoint.mood = refuse
    sender = deliverer(engine, clock, endpoint)
    sender.deliver_due()
    (row,) = rows(engine)
    assert (row.state, row.last_error) == ("dead", "Slack refused: channel_not_found (check the name)")
    endpoint.mood = lambda _: None
    with immediate(engine) as connection:
        assert outbox.revive(connection, "hook", clock.now_ms()) == 1
    sender.deliver_due()
    assert states(engine) == ["delivered"]


def test_who_forgets_is_told_again_while_the_incident_is_open(engine, clock, endpoint):
    (alert,) = storm(engine, clock, 1)
    with immediate(engine) as connection:
        connection.execute(
            incident_table.insert(),
            [
                {
                    "id": alert.id, "model": "m", "version": "1", "kind": "drift", "severity": "page",
                    "state": "firing", "start_ms": 0, "latest_start_ms": 0, "opened_at_ms": 0,
                    "updated_at_ms": 0, "sequence": 1, "summary": "", "record_bytes": b"",
                }
            ],
        )  # fmt: skip
    made = Deliverer(engine, {"hook": Forgetful(endpoint)}, clock, random.Random(1), workers=1)
    for _ in range(60):
        made.deliver_due()
        clock.advance(5_000)
    assert len(endpoint.arrived) in (4, 5)
    assert len(set(endpoint.ids)) == 1
    with immediate(engine) as connection:
        connection.execute(incident_table.update().values(state="resolved"))
    before = len(endpoint.arrived)
    for _ in range(60):
        made.deliver_due()
        clock.advance(5_000)
    assert len(endpoint.arrived) <= before + 1


def test_who_shows_the_latest_alone_is_not_sent_what_came_before_it(engine, clock, endpoint):
    """The first message was given up and revived after the second one had arrived."""

    def refuse(_):
        raise DeliveryError("not in channel")  # noqa: EM101

    chatting = Deliverer(engine, {"hook": Chat(endpoint)}, clock, random.Random(1), workers=1)
    alert = judge(engine, clock, window(0, ["age"]))
    endpoint.mood = refuse
    chatting.deliver_due()
    endpoint.mood = lambda _: None
    judge(engine, clock, window(1, ["score"]))
    chatting.deliver_due()
    with immediate(engine) as connection:
        assert outbox.revive(connection, "hook", clock.now_ms()) == 1
    chatting.deliver_due()
    assert endpoint.sequences(alert.id) == [2]
    assert states(engine) == ["superseded", "delivered"]
