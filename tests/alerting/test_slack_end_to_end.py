"""From an alert to a message with charts, from a press in Slack to the audit trail and the message again."""

import random
import threading

import pytest

from alerting.notifiers.catalog import build
from alerting.slack.buttons import ACKNOWLEDGE, APPROVE, REJECT, SILENCE
from monitor.charts.source import StoredCharts
from monitor.deliver import Deliverer
from monitor.incidents.actions import Actions
from monitor.retraining.decisions import Decisions
from monitor.slack.actions import slack_actions
from monitor.slack.decisions import ByButton
from monitor.store import retraining
from monitor.store.engine import reading
from monitor.store.queries import alerts as queries
from tests.alerting.servers import Answer
from tests.alerting.slack_server import APP, BOT, FakeSlack, press_payload, rate_limited
from tests.alerting.test_slack_actions import eventually
from tests.monitor.web_world import World

SECRETS = {"BOT": BOT, "APP": APP}


@pytest.fixture
def slack():
    with FakeSlack() as server:
        yield server


@pytest.fixture
def world(slack, sqlite_url):
    receiver = {
        "type": "slack", "channel": "#ml", "token_env": "BOT", "app_token_env": "APP",
        "base_url": slack.base_url,
    }  # fmt: skip
    training = {
        "type": "airflow", "url": "http://127.0.0.1:1", "dag_id": "retrain", "token_env": "AIRFLOW",
        "approval": "manual",
    }  # fmt: skip
    made = World(
        sqlite_url,
        receivers={"oncall": receiver, "train": training},
        alerts={"routes": [{"match": {}, "to": ["oncall", "train"]}]},
    )
    yield made
    made.engine.dispose()


@pytest.fixture
def deliverer(world):
    options = world.configuration.receivers["oncall"]
    charts = StoredCharts(world.configuration, world.engine)
    notifier = build("oncall", options, SECRETS, world.clock.now_ms, charts)
    made = Deliverer(world.engine, {"oncall": notifier}, world.clock, random.Random(1), workers=1)
    yield made
    made.close()


@pytest.fixture
def press(slack, world):
    parts = (world.configuration, world.engine, world.clock, world.telemetry)
    decisions = ByButton(Actions(*parts), Decisions(*parts))
    listening = {"oncall": world.configuration.receivers["oncall"]}
    (listener,) = slack_actions(listening, SECRETS, decisions, world.clock, random.Random(1))
    stop = threading.Event()
    thread = threading.Thread(target=listener.run, args=(stop,), daemon=True)
    thread.start()
    eventually(lambda: slack.link.connections == 1)
    yield lambda action: slack.link.await_ack(slack.link.tell(press_payload(action)))
    stop.set()
    listener.wake()
    thread.join(60)


def buttons(slack):
    ((ts, message),) = slack.messages.items()
    return ts, str(message["blocks"])


def open_alert(world):
    """An incident whose first message is due: those of alerts that start together have had their time."""
    alert = world.alert()
    world.clock.sleep(world.configuration.alerts.grouping.wait_ms / 1_000)
    return alert


def trail(world, id_):
    with reading(world.engine) as connection:
        return [(event.change, event.actor) for event in queries.events(connection, id_)]


def test_a_press_changes_the_incident_and_the_message(slack, world, deliverer, press):
    alert = open_alert(world)
    deliverer.deliver_due()
    ts, shown = buttons(slack)
    assert ACKNOWLEDGE in shown
    assert slack.shared[ts][0]["bytes"].startswith(b"\x89PNG")
    press({"action_id": ACKNOWLEDGE, "value": alert.id})
    eventually(lambda: ("acknowledged", "slack:ann") in trail(world, alert.id))
    eventually(lambda: deliverer.deliver_due() == 1)
    _, shown = buttons(slack)
    assert ACKNOWLEDGE not in shown
    assert SILENCE in shown
    assert slack.replies[ts][-1]["text"] == "Acknowledged by slack:ann: seen"
    assert slack.ephemerals == []


def test_a_press_on_an_incident_of_somebody_else_is_answered(slack, world, press):
    press({"action_id": ACKNOWLEDGE, "value": "0" * 32})
    eventually(lambda: slack.ephemerals)
    assert "there is no incident" in slack.ephemerals[0]["text"]


def test_a_silence_is_made_and_told(slack, world, deliverer, press):
    alert = open_alert(world)
    deliverer.deliver_due()
    press({"action_id": SILENCE, "selected_option": {"value": f"8h:{alert.id}"}})
    eventually(lambda: slack.ephemerals)
    assert slack.ephemerals[0]["text"] == "The incident is silenced for 8h."


@pytest.mark.parametrize(("action", "state"), [(APPROVE, "due"), (REJECT, "rejected")])
def test_a_press_decides_about_training(slack, world, deliverer, press, action, state):
    alert = open_alert(world)
    deliverer.deliver_due()
    _, shown = buttons(slack)
    assert "train would train m anew. Shall it?" in shown
    with reading(world.engine) as connection:
        (row,) = retraining.runs(connection, None, alert.id, None, None, 10)
    assert row.id in shown
    press({"action_id": action, "value": row.id})

    def decided():
        with reading(world.engine) as connection:
            known = retraining.get(connection, row.id)
        return (known.state, known.actor) == (state, "slack:ann")

    eventually(decided)
    deliverer.deliver_due()
    assert "Shall it?" not in buttons(slack)[1]
    press({"action_id": APPROVE, "value": "0" * 32})
    eventually(lambda: "there is no request for training" in str(slack.ephemerals))


def test_a_rate_limit_holds_the_receiver_back_as_long_as_slack_asks(slack, world, deliverer):
    open_alert(world)
    slack.mood("chat.postMessage", rate_limited(30))
    deliverer.deliver_due()
    world.clock.sleep(29)
    assert deliverer.deliver_due() == 0
    world.clock.sleep(2)
    deliverer.deliver_due()
    assert len(slack.messages) == 1


def test_a_process_that_dies_between_post_and_record_posts_a_second_message(slack, world, deliverer):
    """The documented price: Slack has no idempotency key. Nothing is lost, and edits go to the second one."""
    open_alert(world)
    slack.mood("chat.postMessage", Answer(drop=True, is_kept=True))
    deliverer.deliver_due()
    world.clock.sleep(10)
    deliverer.deliver_due()
    assert len(slack.messages) == 2
    assert [bool(slack.shared[ts]) for ts in slack.messages] == [False, True]
