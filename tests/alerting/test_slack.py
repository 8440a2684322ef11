"""The real slack-sdk against a local server with Slack's limits and moods."""

import pytest
from pydantic import ValidationError

from alerting.finding import Kind
from alerting.messages.words import TOPICS
from alerting.notifiers.catalog import build
from alerting.notifiers.slack import SlackOptions
from alerting.slack.client import HINTS
from alerting.slack.message import blocks_of, columns_text, escape, text_of, title_of
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from schemas.verdict import Lane
from tests.alerting.factory import finding, notices, window
from tests.alerting.servers import Answer, SlackServer

TOKEN = "xoxb-0123456789"


@pytest.fixture
def slack():
    with SlackServer(TOKEN) as server:
        yield server


def make(server, token=TOKEN, **options):
    options = {"channel": "#ml", "token_env": "T", "base_url": f"{server.address}/api/", **options}
    return build("oncall", SlackOptions(type="slack", **options), {"T": token}, lambda: 0)


@pytest.fixture
def bot(slack):
    return make(slack)


def tell(bot, all_notices, state=None):
    for notice in all_notices:
        state = bot.send(notice, state)
    return state


STORY = notices(window(0, ["age"]), window(1, ["score"]), window(2), window(3), window(4))


def test_an_incident_is_one_message_edited_with_a_thread(slack, bot):
    state = tell(bot, STORY)
    ((ts, message),) = slack.messages.items()
    assert state == {"channel": "C0", "ts": ts}
    header = message["blocks"][0]["text"]["text"]
    assert header == ":large_green_circle: Resolved (page): churn v1, drift in score"
    assert "churn" in message["text"]
    assert [reply["text"] for reply in slack.replies[ts]] == [
        "Update: severity rose from info to page: score",
        "Resolved: 3 clean windows in a row",
    ]


def test_a_retraction_says_so_in_words(slack, bot):
    tell(bot, notices(window(0, ["age"]), window(0, revision=2)))
    (message,) = slack.messages.values()
    assert "Retracted, no alarm after all" in message["blocks"][0]["text"]["text"]
    assert "revised figures no longer support" in str(message["blocks"])


def test_a_message_that_a_person_deleted_is_posted_anew(slack, bot):
    state = bot.send(STORY[0], None)
    slack.messages.clear()
    assert bot.send(STORY[1], state)["ts"] != state["ts"]
    assert len(slack.messages) == 1


def test_a_message_that_cannot_be_edited_gets_its_reply(slack, bot):
    state = bot.send(STORY[0], None)
    slack.will(Answer(200, {"ok": False, "error": "cant_update_message"}))
    assert bot.send(STORY[1], state) == state
    assert len(slack.replies[state["ts"]]) == 1


def test_a_reply_that_failed_is_made_up_for(slack, bot):
    state = bot.send(STORY[0], None)
    slack.will(Answer(200, {"ok": True}), Answer(503))
    with pytest.raises(RetryLater):
        bot.send(STORY[1], state)
    bot.send(STORY[1], state)
    assert len(slack.messages) == 1
    assert len(slack.replies[state["ts"]]) == 1


def test_a_lost_answer_can_leave_a_second_message_but_loses_nothing(slack):
    bot = make(slack)
    slack.will(Answer(drop=True, is_kept=True))
    with pytest.raises(RetryLater):
        bot.send(STORY[0], None)
    state = bot.send(STORY[0], None)
    assert len(slack.messages) == 2
    tell(bot, STORY[1:], state)
    assert "Resolved" in slack.messages[state["ts"]]["text"]


@pytest.mark.parametrize(
    "code", sorted({"channel_not_found", "invalid_auth", "is_archived", "not_in_channel"})
)
def test_what_a_person_has_to_mend_says_how(slack, bot, code):
    slack.will(Answer(200, {"ok": False, "error": code}))
    with pytest.raises(DeliveryError, match=f"Slack refused: {code} ") as caught:
        bot.send(STORY[0], None)
    assert HINTS[code] in str(caught.value)
    assert not isinstance(caught.value, RetryLater)


def test_a_wrong_token_and_a_wrong_channel_are_refused_by_the_server_itself(slack):
    with pytest.raises(DeliveryError, match="invalid_auth"):
        make(slack, token="xoxb-other").send(STORY[0], None)
    with pytest.raises(DeliveryError, match="channel_not_found"):
        make(slack, channel="#nowhere").send(STORY[0], None)
    with pytest.raises(DeliveryError, match="invalid_auth"):
        make(slack, token="xoxb-other").check()


def test_the_check_names_the_bot(bot):
    assert bot.check() == "bot driftline of ml"


@pytest.mark.parametrize("code", ["ratelimited", "internal_error", "service_unavailable"])
def test_passing_errors_are_tried_again(slack, bot, code):
    slack.will(Answer(200, {"ok": False, "error": code}, {"Retry-After": "30"}))
    with pytest.raises(RetryLater) as caught:
        bot.send(STORY[0], None)
    assert caught.value.after_s == 30.0


@pytest.mark.parametrize("status", [408, 425])
def test_a_status_that_passes_is_tried_again(slack, bot, status):
    slack.will(Answer(status, "<html>too slow</html>"))
    with pytest.raises(RetryLater):
        bot.send(STORY[0], None)


def test_a_page_that_is_not_slacks_is_not_repeated(slack, bot):
    slack.will(Answer(200, "<html>please log in, token abc</html>"))
    with pytest.raises(RetryLater, match="not Slack's") as caught:
        bot.send(STORY[0], None)
    assert "html" not in str(caught.value)


def test_it_works_again_after_a_restart_of_the_server(slack, bot):
    slack.stop()
    with pytest.raises(RetryLater):
        bot.send(STORY[0], None)
    slack.start()
    tell(bot, STORY)
    assert len(slack.messages) == 1


def test_an_incoming_webhook_posts_every_change(slack):
    options = SlackOptions(type="slack", url_env="U")
    hook = build("log", options, {"U": f"{slack.address}/services/T/B/x"}, lambda: 0)
    assert tell(hook, STORY) is None
    assert len(slack.messages) == 3


@pytest.mark.parametrize(
    "url", ["hooks.slack.com/services/geheim", "file:///etc/geheim", "https:// geheim", "x"]
)
def test_a_secret_that_is_no_incoming_webhook_is_refused_without_showing_it(url):
    with pytest.raises(ConfigurationError, match=r"receivers\.log\.url: not an address") as caught:
        build("log", SlackOptions(type="slack", url_env="U"), {"U": url}, lambda: 0)
    assert "geheim" not in str(caught.value)


def test_the_largest_message_stays_within_the_limits(slack, bot):
    long = "<&>" * 170
    many = [finding(f"{long}{i}", segment=long, lane=Lane.PREDICTIONS, explanation=long) for i in range(256)]
    (notice,) = notices(window(0, many))
    bot.send(notice, None)
    (message,) = slack.messages.values()
    assert "… and 246 more columns" in str(message["blocks"])


def test_columns_are_listed_once_and_the_rest_is_counted():
    found = [finding("age"), finding("age", segment="plan=a"), *(finding(f"c{i:02d}") for i in range(21))]
    (notice,) = notices(window(0, found))
    lines = columns_text(notice).splitlines()
    assert lines[0] == "• `age`: PSI 0.40, 0.37–0.44, 62 % of rows in [48.1, 61.0), reference 9 %"
    assert len(lines) == 11
    assert lines[-1] == "… and 12 more columns"


def test_names_cannot_mention_people_or_make_links():
    evil = finding("<!channel> <http://x|y> `&`")
    (notice,) = notices(window(0, [evil, finding("age")], model="<!here>"))
    shown = str(blocks_of(notice)) + text_of(notice)
    assert "<!" not in shown
    assert "<http" not in shown


@pytest.mark.parametrize(
    ("kind", "words"), [(Kind.NO_DATA, "no data"), (Kind.PARTITION_STOPPED, "a partition was stopped")]
)
def test_other_kinds_have_their_own_words(kind, words):
    (notice,) = notices(window(0, [finding("p/0", lane=Lane.QUALITY, psi=None)], kind=kind))
    assert title_of(notice) == f":red_circle: Firing (page): churn v1, {words}"


@pytest.mark.parametrize("limit", range(1, 40))
def test_escapes_are_never_cut(limit):
    cut = escape("a<b>&c" * 5, limit)
    assert len(cut) <= limit
    assert all(part.startswith(("lt;", "gt;", "amp;")) for part in cut.split("&")[1:])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"channel": "#ml"},
        {"token_env": "T"},
        {"token_env": "T", "token_file": "/t", "channel": "#ml"},
        {"url_env": "U", "channel": "#ml"},
        {"token_env": "T", "channel": "#ml", "base_url": "file:///etc"},
        {"token_env": "T", "channel": "#ml", "base_url": "https://a:b@slack.com/api/"},
        {"token": "xoxb-1", "channel": "#ml"},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        SlackOptions.model_validate({"type": "slack", **options})


def test_every_kind_of_incident_has_a_title():
    assert set(TOPICS) == set(Kind)
