"""Messages with buttons, and messages within Slack's limits, whatever an incident is about."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alerting.alert import Change, ChangeKind, State
from alerting.finding import Kind, Severity, instant
from alerting.held import HeldIncident, HeldNotice
from alerting.incidents.impact import Impact, Knowledge
from alerting.incidents.incident import Proposal
from alerting.incidents.root_cause import Cause
from alerting.notifiers.catalog import build
from alerting.notifiers.slack import SlackOptions
from alerting.slack import buttons, message
from alerting.slack.buttons import (
    ACKNOWLEDGE,
    APPROVE,
    OPEN,
    REJECT,
    SILENCE,
    SPANS_MS,
    buttons_of,
    read_press,
)
from alerting.slack.digest import list_blocks, list_text
from alerting.slack.message import blocks_of, text_of
from schemas.attribution import Attribution, Part, PartKind
from schemas.errors import DeliveryError, RetryLater, UsageError
from schemas.verdict import Lane
from tests.alerting.factory import finding, notices, window
from tests.alerting.servers import Answer
from tests.alerting.slack_server import (
    APP,
    BOT,
    FakeSlack,
    broken_limit,
    press_payload,
    rate_limited,
    refusal,
)

URL = "https://drift.example.org/incidents/5f1e"
(OPENED,) = notices(window(0, ["age"]))


def in_state(state, url=URL):
    return replace(OPENED, alert=replace(OPENED.alert, state=state), url=url)


def actions_of(notice):
    return [one["action_id"] for block in buttons_of(notice) for one in block["elements"]]


@pytest.fixture
def slack():
    with FakeSlack() as server:
        yield server


def make(slack, **more):
    options = {"channel": "#ml", "token_env": "T", "app_token_env": "A", "base_url": slack.base_url, **more}
    return build("oncall", SlackOptions(type="slack", **options), {"T": BOT, "A": APP}, lambda: 0)


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (State.PENDING, [SILENCE, OPEN]),
        (State.FIRING, [ACKNOWLEDGE, SILENCE, OPEN]),
        (State.ACKNOWLEDGED, [SILENCE, OPEN]),
        (State.RESOLVED, [OPEN]),
        (State.RETRACTED, [OPEN]),
    ],
)
def test_the_buttons_follow_the_state(state, shown):
    assert actions_of(in_state(state)) == shown
    assert actions_of(in_state(state, "")) == [one for one in shown if one != OPEN]


def test_every_button_can_be_read_again():
    (block,) = buttons_of(OPENED)
    acknowledge, silence = block["elements"]
    press = read_press(press_payload(acknowledge))
    assert (press.action, press.about) == (ACKNOWLEDGE, OPENED.alert.id)
    for option in silence["options"]:
        press = read_press(press_payload({"action_id": SILENCE, "selected_option": option}))
        assert (press.action, press.about) == (SILENCE, OPENED.alert.id)
        assert press.span_ms in SPANS_MS.values()
        assert (
            option["text"]["text"]
            == f"Silence {press.span_ms // 3_600_000} hour{'s' * (press.span_ms > 3_600_000)}"
        )


def test_training_that_waits_is_asked_for_as_long_as_the_incident_is_open():
    proposals = tuple(Proposal(f"{at:032x}", "retrain", "<!channel> churn *x*") for at in range(5))
    waiting = replace(OPENED, proposals=proposals)
    asked = buttons_of(waiting)[1:]
    assert len(asked) == 2 * 3
    assert asked[0]["text"]["type"] == "plain_text"
    approve, reject = asked[1]["elements"]
    presses = [read_press(press_payload(button)) for button in (approve, reject)]
    assert [(press.action, press.about) for press in presses] == [
        (APPROVE, proposals[0].id),
        (REJECT, proposals[0].id),
    ]
    over = replace(in_state(State.RESOLVED), proposals=proposals)
    assert actions_of(over) == [OPEN]


def test_an_address_that_is_too_long_gets_no_button():
    long = in_state(State.FIRING, f"{URL}?{'x' * 3_000}")
    assert OPEN not in actions_of(long)
    assert "|Open>" not in str(blocks_of(long))


def test_messages_carry_buttons_only_where_somebody_listens(slack):
    make(slack).send(OPENED, None)
    make(slack, buttons=False).send(OPENED, None)
    make(slack, app_token_env=None).send(OPENED, None)
    assert [ACKNOWLEDGE in str(one["blocks"]) for one in slack.messages.values()] == [True, False, False]


def test_the_buttons_change_with_the_message(slack):
    story = notices(window(0, ["age"]), window(1, ["score"]), window(2), window(3), window(4))
    bot, state, seen = make(slack), None, []
    for notice in story:
        state = bot.send(replace(notice, url=URL), state)
        seen.append([name in str(slack.messages[state["ts"]]["blocks"]) for name in (ACKNOWLEDGE, OPEN)])
    assert seen == [[True, True], [True, True], [False, True]]


def test_the_check_opens_a_connection_for_buttons(slack):
    assert make(slack).check() == "bot driftline of ml, which hears of buttons"
    slack.mood("apps.connections.open", refusal("invalid_auth"))
    with pytest.raises(DeliveryError, match="invalid_auth"):
        make(slack).check()


@pytest.mark.parametrize(
    "options",
    [
        {"app_token_env": "A", "app_token_file": "/a", "token_env": "T", "channel": "#ml"},
        {"app_token_env": "A", "url_env": "U"},
        {"buttons": True, "token_env": "T", "channel": "#ml"},
        {"allow_users": ["U0ANN"], "token_env": "T", "channel": "#ml"},
        {"allow_users": ["ann"], "app_token_env": "A", "token_env": "T", "channel": "#ml"},
        {"app_token": "xapp-1", "token_env": "T", "channel": "#ml"},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        SlackOptions.model_validate({"type": "slack", **options})


@pytest.mark.parametrize(
    "payload", [None, [], "x", {}, {"type": "block_actions"}, press_payload({"action_id": 7})]
)
def test_what_is_no_press_is_refused_in_words(payload):
    with pytest.raises(UsageError):
        read_press(payload)


# --- limits of Slack's API, messages ------------------------------------------------------------------------

BUTTON_WORDS = 150  # on all buttons together

words = st.text(st.sampled_from("<&>`*_~|\n abcü漢😀"), max_size=400) | st.sampled_from(
    ["", "&" * 1_000, "<>" * 900]
)
states = st.sampled_from(State)
kinds = st.sampled_from(Kind)


def attribution(text):
    part = Part(PartKind.FEATURE, text, 0.1, 0.05, 0.2, None, None, text)
    return Attribution("score", 100, 100, 0.1, 0.4, 0.3, 0.2, 0.4, (part,) * 12, None, text)


@given(
    words,
    states,
    kinds,
    st.integers(0, 60),
    st.sampled_from(["", URL, f"{URL}?{'&' * 900}", f"{URL}/{'x' * 2_000}"]),
)
def test_every_message_is_within_the_limits(text, state, kind, columns, url):
    common = {
        "segment": text,
        "lane": Lane.PREDICTIONS,
        "explanation": text,
        "attribution": attribution(text),
    }
    found = [finding(f"{text[:500]}{i}", **common) for i in range(columns)]
    (told,) = notices(window(0, found or ["age"], kind=kind, model=text or "m"))
    member = replace(told.members[0], model=text, column=text)
    cause = Cause(text, 1.0, None, None, (), text)
    notice = replace(
        told,
        alert=replace(told.alert, state=state, summary=text * 3 or "s"),
        change=Change(ChangeKind.UPDATED, 2, text * 5, text, instant(0)),
        url=url,
        members=(member,) * 50,
        members_total=90,
        causes=(cause,) * 5,
        impact=Impact("f1", 0.6, 0.5, 0.7, 0.8, Knowledge.REALISED, 1_000, 0.5),
        proposals=(Proposal("r1", text, text),) * 5,
    )
    fields = {"text": text_of(notice), "blocks": blocks_of(notice, has_buttons=True)}
    assert broken_limit(fields) is None
    assert len(fields["blocks"]) <= 17


def test_the_rooms_of_the_parts_are_within_the_limit_together():
    """Reasons, alerts, examples and what changed have a room each, performance a quarter of one."""
    parts = 4 * message.PART_ROOM + message.PART_ROOM // 4 + message.CAUSES_ROOM
    around = message.MAX_HEADER + message.CONTEXT_ROOM + message.LINK_ROOM + BUTTON_WORDS
    asked = buttons.SHOWN_PROPOSALS * buttons.MAX_ASKED
    assert message.SUMMARY_ROOM + message.COLUMNS_ROOM + parts + around + asked <= 13_000


@pytest.mark.parametrize("url", ["", URL, f"{URL}/{'x' * 700}", f"{URL}/{'x' * 2_000}"])
def test_every_list_is_within_the_limits(url):
    one = HeldIncident("i", "churn", "3", Severity.PAGE, "firing", "<&>" * 66, url)
    notice = HeldNotice("n", (one,) * 50, 400, "20 per hour", instant(0))
    assert broken_limit({"text": list_text(notice), "blocks": list_blocks(notice)}) is None
    assert str(list_blocks(notice)).count("• page, firing") == 10


@pytest.mark.parametrize("method", ["chat.postMessage", "chat.update"])
def test_a_limit_is_told_to_the_deliverer_with_its_time(slack, method):
    bot = make(slack)
    state = bot.send(OPENED, None) if method == "chat.update" else None
    slack.mood(method, rate_limited(17))
    with pytest.raises(RetryLater) as caught:
        bot.send(OPENED, state)
    assert caught.value.after_s == 17.0


@pytest.mark.parametrize(
    "answer", [Answer(500, "x"), Answer(drop=True), Answer(200, "<html>"), Answer(hang=True)]
)
def test_trouble_with_an_edit_is_tried_again_and_makes_no_second_message(slack, answer):
    bot = make(slack)
    state = bot.send(OPENED, None)
    slack.mood("chat.update", answer)
    with pytest.raises(RetryLater):
        make(slack, timeout_s=0.3 if answer.hang else 15.0).send(OPENED, state)
    assert bot.send(OPENED, state) == state
    assert len(slack.messages) == 1


def test_an_archived_channel_needs_a_person(slack):
    bot = make(slack)
    state = bot.send(OPENED, None)
    slack.archived.add("C000")
    for known in (None, state):
        with pytest.raises(DeliveryError, match="unarchive the channel") as caught:
            bot.send(OPENED, known)
        assert not isinstance(caught.value, RetryLater)


def test_after_a_restart_of_slack_the_same_message_is_edited(slack):
    bot = make(slack)
    state = bot.send(OPENED, None)
    slack.stop()
    with pytest.raises(RetryLater):
        bot.send(OPENED, state)
    slack.start()
    assert bot.send(OPENED, state) == state
    assert len(slack.messages) == 1
