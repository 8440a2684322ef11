"""A press in Slack is one decision, however often and to whichever process Slack tells of it."""

import random
from typing import Any, cast

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from alerting.notifiers.slack import SlackOptions
from alerting.slack.buttons import SILENCE
from monitor.retraining.decisions import Decisions
from monitor.slack.actions import Desk, SlackActions
from monitor.slack.decisions import ByButton
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from monitor.store.tables import silence
from monitor.telemetry import Telemetry
from tests.alerting.factory import window
from tests.monitor.incident_world import HOUR_MS, World

CHANNEL = "C0123456789"


class Client:
    """Names of the methods that the desk calls."""

    auth_test = "auth_test"
    chat_postEphemeral = "chat_postEphemeral"  # noqa: N815 - Slack's name


class Bot:
    """Says which workspace it is in, and keeps what people are answered."""

    def __init__(self):
        self.client, self.answers = Client(), []

    def call(self, method, **said):
        if method == Client.auth_test:
            return {"team_id": "T1"}
        self.answers.append(said["text"])
        return {}


@pytest.fixture
def world(sqlite_url):
    engine = engines.create(sqlite_url)
    schema.upgrade(engine)
    yield World(engine, sqlite_url)
    engine.dispose()


def process(world):
    """One process that listens; and its bot."""
    parts = (world.configuration, world.engine, world.clock, Telemetry())
    bot = Bot()
    desk = Desk("oncall", SlackOptions(type="slack", channel=CHANNEL, token_env="T"), cast(Any, bot))
    decisions = ByButton(world.actions, Decisions(*parts))
    return SlackActions(SecretStr("xapp-1"), [desk], decisions, world.clock, random.Random(1)), bot


def pressed(incident_id, at="1767225600.000100", user="U1"):
    option = {"value": f"1h:{incident_id}"}
    return {
        "type": "block_actions",
        "user": {"id": user, "username": "ann", "team_id": "T1"},
        "channel": {"id": CHANNEL, "name": "ml"},
        "actions": [{"action_id": SILENCE, "selected_option": option, "action_ts": at}],
    }


def silences(world):
    with reading(world.engine) as connection:
        return connection.execute(select(silence).order_by(silence.c.from_ms)).all()


def test_a_silence_is_made_once_whoever_hears_of_the_press_again(world):
    alert = world.see(window(0, ["age"]))
    first, _ = process(world)
    first.handle(pressed(alert.id))
    world.clock.advance(HOUR_MS // 2)
    second, bot = process(world)
    second.handle(pressed(alert.id))
    (made,) = silences(world)
    assert made.until_ms == world.clock.now_ms() + HOUR_MS // 2, "it lasts no longer than was asked for"
    assert bot.answers == ["The incident is silenced already."]
    assert [change for change, _ in world.events(alert.id)] == ["opened", "silenced"]


def test_a_press_that_is_told_of_again_when_all_is_over_is_no_mistake(world):
    alert = world.see(window(0, ["age"]))
    process(world)[0].handle(pressed(alert.id))
    world.actions.resolve(alert.id, "ann")
    again, bot = process(world)
    again.handle(pressed(alert.id))
    assert bot.answers == ["The incident is silenced already."]


def test_another_press_is_another_silence(world):
    alert = world.see(window(0, ["age"]))
    for press in (pressed(alert.id), pressed(alert.id, at="1767225700.000100"), pressed(alert.id, user="U2")):
        process(world)[0].handle(press)
    assert len(silences(world)) == 3


def test_a_press_that_does_not_say_when_it_was_is_a_wish_of_its_own(world):
    alert = world.see(window(0, ["age"]))
    for _ in range(2):
        process(world)[0].handle(pressed(alert.id, at=""))
    assert len(silences(world)) == 2
