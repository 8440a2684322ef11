"""Charts in the threads of incidents: each once, after the message, never in its way."""

import logging
from dataclasses import replace

import pytest

from alerting.charts.data import Chart
from alerting.finding import Kind
from alerting.notifiers.catalog import build
from alerting.notifiers.slack import SlackOptions
from alerting.slack.charts import subject_of
from schemas.errors import RetryLater, Unavailable
from schemas.verdict import Lane
from tests.alerting.factory import finding, notices, window
from tests.alerting.servers import Answer
from tests.alerting.slack_server import BOT, FakeSlack, rate_limited, refusal

PICTURES = (
    Chart("distribution.png", "age: distribution", "Bars of age.", b"\x89PNG bars"),
    Chart("over-time.png", "age: PSI", "A line of PSI.", b"\x89PNG line"),
)
STORY = notices(window(0, ["age"]), window(1, ["score"]), window(2), window(3), window(4))
OPENED, ESCALATED, RESOLVED = STORY


class Drawer:
    """A source of charts that remembers what it was asked for."""

    def __init__(self, charts=PICTURES):
        self.charts, self.asked, self.error = charts, [], None

    def __call__(self, notice):
        self.asked.append(notice.id)
        if self.error is not None:
            raise self.error
        return self.charts


class Time:
    def __init__(self):
        self.ms = 1_767_225_600_000

    def __call__(self):
        return self.ms


@pytest.fixture
def slack():
    with FakeSlack() as server:
        yield server


@pytest.fixture
def drawer():
    return Drawer()


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def bot(slack, drawer, time):
    return make(slack, drawer, time)


def make(slack, drawer, now_ms, **more):
    options = SlackOptions(type="slack", channel="#ml", token_env="T", base_url=slack.base_url, **more)
    return build("oncall", options, {"T": BOT}, now_ms, drawer)


def titles(slack):
    return [one["title"] for shared in slack.shared.values() for one in shared]


def test_the_charts_are_in_the_thread_with_their_words(slack, bot):
    state = bot.send(OPENED, None)
    first, second = slack.shared[state["ts"]]
    assert (first["title"], first["alt_txt"], first["bytes"]) == (
        "age: distribution",
        "Bars of age.",
        PICTURES[0].png,
    )
    assert (second["filename"], second["bytes"]) == ("over-time.png", PICTURES[1].png)
    assert slack.calls.index("chat.postMessage") < slack.calls.index("files.getUploadURLExternal")
    assert slack.count("files.completeUploadExternal") == 1  # both in one message


def test_charts_are_shown_once_then_for_a_new_leading_finding_and_at_the_end(slack, bot, drawer):
    state = bot.send(OPENED, None)
    state = bot.send(OPENED, state)
    assert drawer.asked == [OPENED.id]
    state = bot.send(ESCALATED, state)
    assert drawer.asked == [OPENED.id, ESCALATED.id]  # the score matters more than the age
    again = replace(ESCALATED, id="reminder")
    state = bot.send(again, state)
    state = bot.send(RESOLVED, state)
    assert drawer.asked == [OPENED.id, ESCALATED.id, RESOLVED.id]
    assert len(state["charts"]) == 3
    assert len(titles(slack)) == 6


def test_a_retraction_needs_no_chart(slack, bot, drawer):
    told = notices(window(0, ["age"]), window(0, revision=2))
    state = bot.send(told[0], None)
    bot.send(told[1], state)
    assert len(drawer.asked) == 1
    assert subject_of(told[1]) is None


def test_incidents_without_findings_of_their_own_have_a_subject_too():
    (stopped,) = notices(
        window(0, [finding("p/0", lane=Lane.QUALITY, psi=None)], kind=Kind.PARTITION_STOPPED)
    )
    bare = replace(stopped, alert=replace(stopped.alert, findings=()))
    assert subject_of(bare) not in (None, subject_of(stopped))


@pytest.mark.parametrize("error", [ValueError("secret text"), Unavailable("database away"), MemoryError()])
def test_a_chart_that_cannot_be_drawn_holds_nothing_back(slack, bot, drawer, error, caplog):
    drawer.error = error
    state = bot.send(OPENED, None)
    assert len(slack.messages) == 1
    assert "charts" not in state
    assert type(error).__name__ in caplog.text
    assert "secret text" not in caplog.text
    drawer.error = None
    bot.send(ESCALATED, state)
    assert len(titles(slack)) == 2


def test_nothing_to_draw_is_not_asked_for_again(slack, bot, drawer):
    drawer.charts = ()
    state = bot.send(OPENED, None)
    bot.send(OPENED, state)
    assert len(drawer.asked) == 1
    assert slack.count("files.getUploadURLExternal") == 0


@pytest.mark.parametrize("step", ["files.getUploadURLExternal", "upload", "files.completeUploadExternal"])
@pytest.mark.parametrize(
    "answer",
    [Answer(503, "oops"), refusal("internal_error"), Answer(drop=True), Answer(200, "<html>log in</html>")],
    ids=["503", "internal", "cut", "page"],
)
def test_trouble_with_an_upload_is_logged_and_made_up_for_later(slack, bot, step, answer, caplog):
    slack.mood(step, answer)
    state = bot.send(OPENED, None)
    assert len(slack.messages) == 1
    if (step, answer.drop) == ("files.completeUploadExternal", True):
        assert "may be missing" in caplog.text  # it may be there: not shown twice
        assert len(state["charts"]) == 1
        return
    if step == "upload" and answer.status == 200 and not answer.drop:
        return  # Slack says what it likes there: the status counts
    assert "charts" not in state
    assert "no chart of incident" in caplog.text
    bot.send(ESCALATED, state)
    assert len(titles(slack)) == 2


def test_an_answer_that_got_lost_after_sharing_shows_no_chart_twice(slack, bot):
    slack.mood("files.completeUploadExternal", Answer(drop=True, is_kept=True))
    state = bot.send(OPENED, None)
    bot.send(OPENED, state)
    assert len(titles(slack)) == 2


@pytest.mark.parametrize("step", ["files.getUploadURLExternal", "upload", "files.completeUploadExternal"])
def test_a_wish_to_wait_is_heard(slack, bot, time, step):
    slack.mood(step, rate_limited(30))
    state = bot.send(OPENED, None)
    calls = slack.count("files.getUploadURLExternal")
    time.ms += 29_000
    state = bot.send(OPENED, state)
    assert slack.count("files.getUploadURLExternal") == calls
    time.ms += 2_000
    bot.send(OPENED, state)
    assert len(titles(slack)) == 2


def test_a_missing_scope_is_logged_once_and_told_to_nobody(slack, bot, caplog):
    slack.scopes.remove("files:write")
    state = None
    for notice in STORY:
        state = bot.send(notice, state)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "files:write" in caplog.text
    assert slack.count("files.getUploadURLExternal") == 1
    assert "files:write" not in str(slack.messages) + str(slack.replies)


def test_another_refusal_is_tried_again_with_the_next_notice(slack, bot, caplog):
    slack.mood("files.completeUploadExternal", refusal("thread_not_found"))
    state = bot.send(OPENED, None)
    assert "thread_not_found" in caplog.text
    bot.send(OPENED, state)
    assert len(titles(slack)) == 2


def test_a_slow_upload_is_given_up(slack, drawer, time, monkeypatch):
    monkeypatch.setattr("alerting.notifiers.slack.CHART_TIMEOUT_S", 0.3)  # the message itself has its time
    impatient = make(slack, drawer, time)
    slack.mood("upload", Answer(hang=True))
    assert "charts" not in impatient.send(OPENED, None)


def test_a_message_that_took_long_goes_without_a_chart(slack, bot, drawer, time):
    said = bot._blocks

    def slowly(notice):
        time.ms += 16_000
        return said(notice)

    bot._blocks = slowly
    assert "charts" not in bot.send(OPENED, None)
    assert drawer.asked == []


def test_a_message_posted_anew_gets_its_charts_anew(slack, bot):
    state = bot.send(OPENED, None)
    slack.messages.clear()
    after = bot.send(ESCALATED, state)
    assert after["ts"] != state["ts"]
    assert len(slack.shared[after["ts"]]) == 2


def test_a_reply_that_failed_leaves_no_second_chart(slack, bot):
    state = bot.send(OPENED, None)
    slack.mood("chat.postMessage", Answer(503))
    with pytest.raises(RetryLater):
        bot.send(ESCALATED, state)
    assert len(titles(slack)) == 2
    bot.send(ESCALATED, state)
    assert len(titles(slack)) == 4


@pytest.mark.parametrize("more", [{"charts": False}, {}])
def test_charts_are_drawn_only_where_they_are_wanted(slack, drawer, time, more):
    source = drawer if more else None
    state = make(slack, source, time, **more).send(OPENED, None)
    assert state == {"channel": "C000", "ts": state["ts"]}
    assert drawer.asked == []


def test_an_incoming_webhook_shows_none(slack, drawer, time):
    hook = build(
        "log", SlackOptions(type="slack", url_env="U"), {"U": f"{slack.address}/services/T/B/x"}, time, drawer
    )
    slack.will(Answer(200, "ok"))
    assert hook.send(OPENED, None) is None
    assert drawer.asked == []
