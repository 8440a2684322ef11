"""Buttons in Slack: the real SDK's Socket Mode client against a local server with Slack's habits."""

import itertools
import json
import logging
import random
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slack_sdk.socket_mode.builtin.connection import ConnectionState

from alerting.notifiers.slack import SlackOptions
from alerting.slack.buttons import ACKNOWLEDGE, OPEN, SILENCE
from monitor.clock import SystemClock
from monitor.slack import line as lines
from monitor.slack.actions import slack_actions
from schemas.errors import ConfigurationError, Unavailable, UsageError
from tests.alerting.servers import Answer
from tests.alerting.slack_link import PING
from tests.alerting.slack_server import APP, BOT, FakeSlack, press_payload, rate_limited, refusal
from tests.kit.waiting import PATIENCE_S, wait_for

SECRETS = {"BOT": BOT, "APP": APP}
ACK_BUTTON = {"action_id": ACKNOWLEDGE, "value": "5f1e", "type": "button"}


class Recorder:
    """Decides as it is told, and remembers."""

    def __init__(self):
        self.made = []
        self.error = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def acknowledge(self, incident_id, actor, cause=""):
        return self._decide("acknowledge", incident_id, actor)

    def silence(self, incident_id, actor, span_ms, cause=""):
        return self._decide("silence", incident_id, actor, span_ms)

    def approve(self, request_id, actor, cause=""):
        return self._decide("approve", request_id, actor)

    def reject(self, request_id, actor, cause=""):
        return self._decide("reject", request_id, actor)

    def _decide(self, *what):
        assert self.may_go_on.wait(PATIENCE_S)
        self.made.append(what)
        if self.error is not None:
            raise self.error
        return "silenced for 1h" if what[0] == "silence" else "acknowledged"


def options(slack, channel="#ml", **more):
    return SlackOptions(
        type="slack", channel=channel, token_env="BOT", app_token_env="APP", base_url=slack.base_url, **more
    )


def listeners(slack, decisions, secrets=SECRETS, **receivers):
    return slack_actions(
        receivers or {"oncall": options(slack)}, secrets, decisions, SystemClock(), random.Random(1)
    )


class Listening:
    """Runs listeners in a thread, as the service does."""

    def __init__(self, actions):
        self.actions, self.stop = actions, threading.Event()
        self.thread = threading.Thread(target=actions.run, args=(self.stop,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.leave()

    def leave(self):
        self.stop.set()
        self.actions.wake()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


def eventually(condition):
    wait_for(condition, what="it did not come to pass", every_s=0.02)


@pytest.fixture
def slack():
    with FakeSlack() as server:
        yield server


@pytest.fixture
def decisions():
    return Recorder()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(lines, "STABLE_S", 0.0)
    monkeypatch.setattr(lines, "TOO_MANY_S", 0.3)
    monkeypatch.setattr(lines, "REFUSED_S", 0.3)


@pytest.fixture
def listening(slack, decisions):
    (actions,) = listeners(slack, decisions)
    with Listening(actions) as running:
        eventually(lambda: slack.link.connections == 1)
        yield running


def test_a_press_is_acknowledged_at_once_and_decided(slack, decisions, listening):
    decisions.may_go_on.clear()
    slack.link.await_ack(slack.link.tell(press_payload(ACK_BUTTON)))
    assert decisions.made == []  # it takes its time
    decisions.may_go_on.set()
    eventually(lambda: decisions.made)
    assert decisions.made == [("acknowledge", "5f1e", "slack:ann")]
    assert slack.ephemerals == []  # the message itself will show it


@pytest.mark.parametrize(("span", "span_ms"), [("1h", 3_600_000), ("8h", 28_800_000), ("24h", 86_400_000)])
def test_a_silence_lasts_as_long_as_was_chosen_and_is_answered(slack, decisions, listening, span, span_ms):
    chosen = {"action_id": SILENCE, "type": "static_select", "selected_option": {"value": f"{span}:5f1e"}}
    slack.link.tell(press_payload(chosen))
    eventually(lambda: slack.ephemerals)
    assert decisions.made == [("silence", "5f1e", "slack:ann", span_ms)]
    (told,) = slack.ephemerals
    assert (told["user"], told["channel"], told["text"]) == (
        "U0ANN",
        "C000",
        "The incident is silenced for 1h.",
    )


def test_a_press_that_slack_tells_of_again_is_one_decision(slack, decisions, listening):
    for envelope in ("e-1", "e-1", "e-2"):
        slack.link.await_ack(slack.link.tell(press_payload(ACK_BUTTON), envelope))
    slack.link.tell(press_payload({**ACK_BUTTON, "action_ts": "1767225999.000100"}))
    eventually(lambda: len(decisions.made) == 2)
    assert set(slack.link.acknowledged) >= {"e-1", "e-2"}


def test_what_cannot_be_is_told_to_the_one_who_pressed(slack, decisions, listening):
    decisions.error = UsageError("incident 5f1e is over already (only open incidents can change) <!channel>")
    slack.link.tell(press_payload(ACK_BUTTON))
    eventually(lambda: slack.ephemerals)
    assert slack.ephemerals[0]["text"].startswith("That did not work: incident 5f1e is over already")
    assert "<!" not in slack.ephemerals[0]["text"]


@pytest.mark.parametrize(
    ("error", "words"), [(Unavailable("database away"), "Try again"), (RuntimeError("a bug"), "the log")]
)
def test_trouble_of_ours_is_answered_and_listening_goes_on(slack, decisions, listening, error, words):
    decisions.error = error
    slack.link.tell(press_payload(ACK_BUTTON))
    eventually(lambda: slack.ephemerals)
    assert words in slack.ephemerals[0]["text"]
    assert "bug" not in slack.ephemerals[0]["text"]
    decisions.error = None
    slack.link.tell(press_payload({**ACK_BUTTON, "action_ts": "2"}))
    eventually(lambda: len(decisions.made) == 2)


def test_opening_is_acknowledged_and_nothing_more(slack, decisions, listening):
    slack.link.await_ack(slack.link.tell(press_payload({"action_id": OPEN, "value": "5f1e"})))
    slack.link.tell(press_payload(ACK_BUTTON))
    eventually(lambda: decisions.made)
    assert len(decisions.made) == 1
    assert slack.ephemerals == []


@pytest.mark.parametrize(
    "payload",
    [
        press_payload({"action_id": "driftline_explode", "value": "5f1e"}),
        press_payload({"action_id": ACKNOWLEDGE, "value": ""}),
        press_payload({"action_id": ACKNOWLEDGE, "value": "x" * 65}),
        press_payload({"action_id": SILENCE, "selected_option": {"value": "99y:5f1e"}}),
        press_payload({}),
        {**press_payload(ACK_BUTTON), "actions": []},
        {**press_payload(ACK_BUTTON), "actions": "none"},
        {**press_payload(ACK_BUTTON), "type": "view_submission"},
    ],
)
def test_what_is_not_for_us_is_acknowledged_answered_and_logged(slack, decisions, listening, payload, caplog):
    slack.link.await_ack(slack.link.tell(payload))
    eventually(lambda: slack.ephemerals)
    assert slack.ephemerals[0]["text"].startswith("That did not work: ")
    assert decisions.made == []
    assert "not for us" in caplog.text


def test_other_envelopes_are_acknowledged_and_passed_over(slack, decisions, listening):
    slack.link.await_ack(slack.link.tell({"command": "/weather"}, kind="slash_commands"))
    slack.link.send(b"this is no JSON")
    slack.link.send(b'{"type": ["odd"]}')
    slack.link.tell(press_payload(ACK_BUTTON))
    eventually(lambda: decisions.made)


# --- who may ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"user": {"id": "U0EVE", "username": "eve", "team_id": "T0TEAM"}},
        {"user": {"id": "U0ANN", "username": "ann", "team_id": "T0OTHER"}},
        {"user": {"id": "U0ANN", "username": "ann"}},
    ],
)
def test_only_those_allowed_of_this_workspace_may_press(slack, decisions, changes):
    (actions,) = listeners(slack, decisions, oncall=options(slack, allow_users=("U0ANN",)))
    actions.handle({**press_payload(ACK_BUTTON), **changes})
    assert decisions.made == []
    assert "you are not among those" in slack.ephemerals[0]["text"]
    actions.handle(press_payload({**ACK_BUTTON, "action_ts": "2"}))
    assert len(decisions.made) == 1


@pytest.mark.parametrize(
    ("configured", "channel", "name", "is_ours"),
    [
        ("#ml", "C000", "ml", True),
        ("ml", "C000", "ml", True),
        ("#ml", "C000", "privategroup", True),  # Slack hides the names of private channels
        ("C000", "C000", "privategroup", True),
        ("#ml", "C001", "other", False),
        ("C000", "C001", "privategroup", False),
    ],
)
def test_presses_count_in_the_channel_of_the_receiver(slack, decisions, configured, channel, name, is_ours):
    (actions,) = listeners(slack, decisions, oncall=options(slack, configured))
    actions.handle(press_payload(ACK_BUTTON, channel=channel, channel_name=name))
    assert bool(decisions.made) is is_ours


def test_receivers_with_one_app_share_a_connection_and_keep_their_own_rules(decisions):
    with FakeSlack(("#ml", "#risk")) as slack:
        both = {"a": options(slack), "b": options(slack, "#risk", allow_users=("U0BOB",))}
        (actions,) = listeners(slack, decisions, **both)
        actions.handle(press_payload(ACK_BUTTON, channel="C001", channel_name="risk"))
        assert decisions.made == []
        actions.handle(press_payload({**ACK_BUTTON, "action_ts": "2"}))
        assert len(decisions.made) == 1
        # Which private channel it is cannot be told: both receivers have to admit the person.
        actions.handle(press_payload({**ACK_BUTTON, "action_ts": "3"}, channel_name="privategroup"))
        assert len(decisions.made) == 1


def test_nobody_may_while_slack_does_not_say_which_workspace_it_is(slack, decisions):
    (actions,) = listeners(slack, decisions)
    slack.mood("auth.test", Answer(503))
    actions.handle(press_payload(ACK_BUTTON))
    assert decisions.made == []
    assert "Try again" in slack.ephemerals[0]["text"]
    actions.handle(press_payload({**ACK_BUTTON, "action_ts": "2"}))
    assert len(decisions.made) == 1


def test_an_answer_that_does_not_arrive_is_only_logged(slack, decisions, caplog):
    (actions,) = listeners(slack, decisions)
    decisions.error = UsageError("over")
    slack.mood("chat.postEphemeral", rate_limited(), refusal("user_not_in_channel"))
    for number in "12":
        actions.handle(press_payload({**ACK_BUTTON, "action_ts": number}))
    assert caplog.text.count("was not told") == 2


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(["type", "actions", "user", "channel", "container", "team"])
action_fields = st.sampled_from(["action_id", "value", "selected_option", "action_ts"])


@given(
    st.dictionaries(fields, junk),
    st.dictionaries(action_fields, junk | st.just(ACKNOWLEDGE) | st.just(SILENCE)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_payload_can_end_the_listening(slack, changes, action_changes):
    (actions,) = listeners(slack, Recorder())
    actions.handle({**press_payload({**ACK_BUTTON, **action_changes}), **changes})


# --- the connection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["refresh_requested", "warning"])
def test_a_renewal_opens_the_new_connection_and_nothing_is_lost(slack, decisions, listening, reason):
    for round_ in range(3):
        opened = slack.link.opened
        slack.link.say_goodbye(reason)
        eventually(lambda opened=opened: slack.link.opened == opened + 1)
        eventually(lambda: slack.link.connections == 1)
        slack.link.tell(press_payload({**ACK_BUTTON, "action_ts": str(round_)}))
        eventually(lambda round_=round_: len(decisions.made) == round_ + 1)


def test_a_connection_that_is_cut_is_opened_again(slack, decisions, listening):
    slack.link.cut()
    eventually(lambda: slack.link.opened == 2 and slack.link.connections == 1)
    slack.link.tell(press_payload(ACK_BUTTON))
    eventually(lambda: decisions.made)


def test_it_works_again_after_a_restart_of_slack(slack, decisions, listening):
    slack.stop()
    time.sleep(0.6)
    slack.start()
    eventually(lambda: slack.link.connections == 1)
    slack.link.tell(press_payload(ACK_BUTTON))
    eventually(lambda: decisions.made)


@pytest.mark.parametrize("reason", ["too_many_websockets", "link_disabled", "something new"])
def test_other_reasons_to_end_a_connection_are_logged_and_tried_again(slack, listening, reason, caplog):
    slack.link.say_goodbye(reason)
    eventually(lambda: slack.link.opened == 2)
    assert any(record.levelno >= logging.WARNING for record in caplog.records)


def test_too_many_connections_do_not_make_it_hurry(slack, decisions, monkeypatch):
    monkeypatch.setattr(lines, "STABLE_S", 10.0)
    slack.link.most = 0
    (actions,) = listeners(slack, decisions)
    with Listening(actions):
        eventually(lambda: slack.link.opened >= 3)
    pauses = [later - earlier for earlier, later in itertools.pairwise(slack.link.opened_s)]
    assert all(pause >= lines.TOO_MANY_S for pause in pauses)


@pytest.mark.parametrize(
    "answer",
    [
        rate_limited(1),
        refusal("internal_error"),
        refusal("not_allowed_token_type"),
        Answer(500, "oops"),
        Answer(200, "<html>please log in</html>"),
        Answer(200, {"ok": True}),
        Answer(drop=True),
    ],
    ids=["limit", "internal", "refused", "500", "page", "no-url", "cut"],
)
def test_trouble_with_opening_is_waited_out(slack, decisions, answer):
    slack.mood("apps.connections.open", answer)
    (actions,) = listeners(slack, decisions)
    with Listening(actions):
        eventually(lambda: slack.link.connections == 1)
        slack.link.tell(press_payload(ACK_BUTTON))
        eventually(lambda: decisions.made)
    assert slack.count("apps.connections.open") >= 2


def test_a_wish_to_wait_is_heard(slack, decisions):
    slack.mood("apps.connections.open", rate_limited(3_600))
    (actions,) = listeners(slack, decisions)
    with Listening(actions) as running:
        eventually(lambda: slack.count("apps.connections.open") == 1)
        time.sleep(1.5)  # it would have tried again by then
        assert slack.count("apps.connections.open") == 1
        running.leave()


# The SDK leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_handshake_that_fails_and_a_silent_end_are_tried_again(slack, decisions, monkeypatch):
    monkeypatch.setattr(lines, "HELLO_S", 0.5)
    slack.link.refuse, slack.link.greeting = 1, False
    (actions,) = listeners(slack, decisions)
    with Listening(actions):
        eventually(lambda: slack.link.opened >= 2)
        assert slack.link.greeted == 0
        slack.link.greeting = True
        eventually(lambda: slack.link.greeted)
        eventually(lambda: slack.link.connections == 1)


def test_pings_are_answered(slack, listening):
    slack.link.send(b"are you there", PING)
    eventually(lambda: b"are you there" in slack.link.pongs)


def test_it_leaves_when_it_is_told(slack, listening):
    listening.leave()
    eventually(lambda: slack.link.connections == 0)
    eventually(lambda: not [one for one in threading.enumerate() if one.name == "slack-line"])


@pytest.mark.parametrize("renewals", [0, 2])
def test_who_looks_for_a_connection_while_it_is_exchanged_reads_from_the_new_one(
    slack, decisions, monkeypatch, renewals
):
    class Slow(ConnectionState):
        def __init__(self):
            time.sleep(0.4)  # the SDK has put the new connection in its place, and not yet its state
            super().__init__()

    monkeypatch.setattr("slack_sdk.socket_mode.builtin.client.ConnectionState", Slow)
    (actions,) = listeners(slack, decisions)
    with Listening(actions) as running:
        for number in range(renewals + 1):
            eventually(lambda number=number: slack.link.greeted == number + 1 and slack.link.connections == 1)
            slack.link.tell(press_payload({**ACK_BUTTON, "action_ts": str(number)}))
            eventually(lambda number=number: len(decisions.made) == number + 1)
            if number < renewals:
                slack.link.say_goodbye("refresh_requested")
        running.leave()
        eventually(lambda: slack.link.connections == 0)
        eventually(lambda: not [one for one in threading.enumerate() if one.name == "slack-line"])


def test_it_leaves_while_slack_does_not_answer(slack, decisions):
    slack.mood("apps.connections.open", Answer(hang=True))
    (actions,) = listeners(slack, decisions, oncall=options(slack, timeout_s=30))
    with Listening(actions) as running:
        eventually(lambda: slack.count("apps.connections.open") == 1)
        running.leave()
        assert [one for one in threading.enumerate() if one.name == "slack-line"]  # still waits for it


def test_a_large_payload_arrives_whole(slack, decisions, listening):
    message = {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "ü" * 2_900}}] * 40}
    slack.link.tell(press_payload(ACK_BUTTON, message=message))
    eventually(lambda: decisions.made)


def test_secrets_are_in_no_log_line(slack, decisions, caplog):
    caplog.set_level(logging.DEBUG)
    slack.mood("apps.connections.open", refusal("invalid_auth"), Answer(drop=True))
    (actions,) = listeners(slack, decisions)
    with Listening(actions):
        eventually(lambda: slack.link.connections == 1)
        slack.link.cut()
        eventually(lambda: slack.link.opened == 2)
    assert APP not in caplog.text
    assert BOT not in caplog.text
    assert "ticket" not in caplog.text


def test_only_receivers_with_an_app_are_listened_for(slack, decisions):
    plain = SlackOptions(type="slack", channel="#ml", token_env="BOT")
    assert listeners(slack, decisions, plain=plain) == []


def test_a_bots_token_is_no_apps_token(slack, decisions):
    with pytest.raises(
        ConfigurationError, match=r"receivers\.oncall\.app_token: an app-level token is needed"
    ):
        listeners(slack, decisions, {"BOT": BOT, "APP": BOT})
    with pytest.raises(ConfigurationError, match=r"receivers\.oncall\.token: a bot's token is needed"):
        listeners(slack, decisions, {"BOT": APP, "APP": APP})


def test_payloads_of_tests_are_json():
    assert json.loads(json.dumps(press_payload(ACK_BUTTON)))["actions"][0]["value"] == "5f1e"
