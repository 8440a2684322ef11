"""What people see of the demo: Slack's messages, progress, the summary, and errors."""

import io
import json
import threading
import urllib.parse
import urllib.request

import pytest
from click.testing import CliRunner
from rich.console import Console
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from monitor.cli import run
from monitor.clock import ManualClock
from monitor.commands import demo as demo_command
from monitor.config import load
from monitor.demo import faults, settings, show, summary
from monitor.demo.account import Account, Finding
from monitor.demo.background import Background, InterruptedDemo
from monitor.demo.months import MonthlyPerformance
from monitor.demo.report import AlertReport, FaultReport, Report, _Seen, _streams
from monitor.demo.screen import LiveScreen, PlainScreen, Progress, open_screen
from monitor.demo.script import Kind
from monitor.demo.slack_server import LoopbackSlack, Posted
from monitor.demo.slack_view import lines_of, rendered
from schemas.errors import UsageError

BLOCKS = (
    {"type": "header", "text": {"type": "plain_text", "text": ":red_circle: Firing (info): flight-delay v1"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": "temp drifted: 70 % of rows &gt;= 64.4"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(f"• `c{n}`: PSI" for n in range(6))}},
    {"type": "context", "elements": [{"type": "mrkdwn", "text": "lane features · <http://h/a|Open>"}]},
)
ACCOUNT = Account(
    130, {"counted": 100, "duplicates": 20, "dead_lettered": 10, "late": 0, "future": 0}, 7, 2, 1, 3
)


def paper(width=120, **options):
    """A console, and what is written on it."""
    written = io.StringIO()
    return Console(file=written, width=width, **options), written


def text_of(renderable):
    console, written = paper()
    console.print(renderable)
    return written.getvalue()


def test_a_message_looks_as_it_would_in_slack():
    text = text_of(rendered(Posted("1.0", "text", BLOCKS), "#delays"))
    assert "driftline APP #delays" in text
    assert "🔴 Firing (info): flight-delay v1" in text
    assert "70 % of rows >= 64.4" in text
    assert "• c3: PSI" in text
    assert "… 2 more" in text
    assert "Open: http://h/a" in text


def test_a_reply_is_one_line_in_its_thread():
    reply = Posted("1.0", "Resolved: 3 clean windows", is_reply=True)
    assert text_of(rendered(reply, "#delays")).strip() == "↳ thread of message 1 · Resolved: 3 clean windows"
    assert lines_of(reply) == ["  ↳ Resolved: 3 clean windows"]


def test_markup_in_a_message_is_text():
    posted = Posted("1.0", "", ({"type": "section", "text": {"type": "mrkdwn", "text": "[bold]x[/bold]"}},))
    assert "[bold]x[/bold]" in text_of(rendered(posted, "#c"))


def test_the_real_client_posts_edits_and_replies_over_the_loopback(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.setenv("NO_PROXY", "example.org")
    show.keep_loopback_direct()
    posted: list[Posted] = []
    with LoopbackSlack(posted.append) as slack:
        client = WebClient(slack.token, base_url=slack.base_url)
        assert client.auth_test()["team"] == "demo"
        first = client.chat_postMessage(channel="#c", text="a", blocks=list(BLOCKS))
        client.chat_update(channel=first["channel"], ts=first["ts"], text="b", blocks=list(BLOCKS[:1]))
        client.chat_postMessage(channel=first["channel"], thread_ts=first["ts"], text="c")
        with pytest.raises(SlackApiError, match="invalid_auth"):
            WebClient("xoxb-other", base_url=slack.base_url).auth_test()
        with pytest.raises(SlackApiError, match="unknown_method"):
            client.api_call("files.upload")
    assert [(p.text, len(p.blocks), p.is_edit, p.is_reply) for p in posted] == [
        ("a", 4, False, False), ("b", 1, True, False), ("c", 0, False, True),
    ]  # fmt: skip
    assert len({p.ts for p in posted}) == 1


def test_without_a_terminal_there_are_plain_lines_every_few_seconds():
    (console, written), clock = paper(200), ManualClock()
    screen = open_screen(console, clock)
    assert isinstance(screen, PlainScreen)
    for _ in range(12):
        screen.progress(Progress(1_362_096_000_000, 0, 2_000_000_000_000, 150, 2_500.4, ACCOUNT))
        clock.sleep(1)
    screen.posted(Posted("1.0", "a", BLOCKS))
    screen.posted(Posted("1.0", "a", BLOCKS, is_edit=True))
    screen.close()
    lines = written.getvalue().splitlines()
    assert lines[0] == (
        "01 Mar 2013: 2,500 events/s · counted 100 · duplicates 20 · dead letters 10 · late 0 · "
        "days judged 7 · alerts 3 (1 firing)"
    )
    assert len(lines) == 3 + 2
    assert lines[3].startswith("slack #flight-delays 🔴 Firing")


def test_on_a_terminal_the_status_stays_below_the_messages():
    console, written = paper(force_terminal=True)
    screen = open_screen(console, ManualClock())
    assert isinstance(screen, LiveScreen)
    screen.progress(Progress(1_362_096_000_000, 0, 2_000_000_000_000, 150, 2_500.4, ACCOUNT))
    screen.posted(Posted("1.0", "a", BLOCKS))
    screen.close()
    assert "🔴 Firing" in written.getvalue()
    assert "days judged 7" in written.getvalue()


@pytest.fixture
def report():
    fault = faults.FAULTS[0]
    return Report(
        sent={Kind.PREDICTION: 100, Kind.REPEATED: 20, Kind.MALFORMED: 10, Kind.LABEL: 90},
        account=ACCOUNT,
        dead_letters={"not UTF-8": 10},
        faults=[FaultReport(fault, True, "10 of 10 kept as dead letters")],
        alerts=[
            AlertReport("a1", "resolved", "info", "2013-03-11", "2013-03-21", "id", ("carrier",), "s", "x"),
            AlertReport("a2", "firing", "page", "2013-04-07", None, "temp", ("temp", "score"), "s", None),
        ],
        labels={"matched": 80, "waiting": 10, "sampled_out": 0},
        months=[MonthlyPerformance("Apr 2013", 1_234, 0.973, {"accuracy": 0.835}, {"recall": 0.113})],
    )  # fmt: skip


def test_the_summary_says_what_was_read_found_and_where_to_look(report, tmp_path):
    console, written = paper()
    summary.show(console, report, url="http://127.0.0.1:8420", config=tmp_path / "demo.yaml", is_kept=True)
    text = written.getvalue()
    assert "labels   80 matched, 10 waiting" in text
    assert "Apr 2013    1,234       97.3%                0.835   0.113" in text
    assert "sent     130 prediction messages (20 of them twice, 10 unreadable) and 90 labels" in text
    assert "fetched  130 = 100 counted + 20 duplicates + 10 dead lettered + 0 late + 0 future" in text
    assert "10 × not UTF-8" in text
    assert "✓  malformed messages" in text
    assert "planted: x" in text
    assert "real: the year itself" in text
    assert "http://127.0.0.1:8420/api/v1/alerts" in text
    assert len(text.splitlines()) <= 40
    assert "do not add up" not in text


def test_the_summary_does_not_hide_a_loss(report):
    lost = Report(report.sent, Account(129, ACCOUNT.outcomes, 7, 2, 1, 3), {}, [], [], {}, [])
    assert not lost.is_exact
    assert any("do not add up" in line for line in summary.read_lines(lost))
    assert lost.as_json()["accounting"]["exact"] is False


def seen(findings=(), **outcomes):
    account = Account(0, dict.fromkeys(ACCOUNT.outcomes, 0) | outcomes, 7, 0, 0, 0)
    return _Seen(account, {Kind.REPEATED: 20, Kind.MALFORMED: 10}, findings, False, 10**15)


def test_a_fault_that_is_not_found_is_reported_as_not_found():
    by_effect = {fault.effect: fault for fault in faults.FAULTS}
    nothing = seen(duplicates=19, late=1)
    told = {effect.name: nothing.judge(fault).is_found for effect, fault in by_effect.items()}
    assert told == {
        "MALFORMED": False, "REPEATED": False, "MISSING": False, "CELSIUS": False, "HELD_BACK": False,
        "FLIPPED": None,
    }  # fmt: skip


def test_a_fault_is_found_by_what_was_flagged_on_its_days():
    fault = next(fault for fault in faults.FAULTS if fault.effect is faults.Effect.CELSIUS)
    days = [fault.from_ms - faults.DAY_MS, fault.from_ms, fault.from_ms + faults.DAY_MS]
    told = seen([Finding(day, "temp", "origin=LGA", "segments", 3.0) for day in days]).judge(fault)
    assert (told.is_found, told.outcome) == (True, "temp where origin=LGA: 2 of 7 days found")


def test_streams_name_a_segment_only_where_the_whole_is_fine():
    found = [("temp", ""), ("temp", "origin=LGA"), ("x", "a=1"), ("x", "a=2"), ("dewp", "origin=LGA")]
    findings = [Finding(0, column, segment, "features", 1.0) for column, segment in found]
    assert _streams(findings) == ("temp", "x in 2 segments", "dewp where origin=LGA")


def test_the_configuration_is_an_ordinary_one(tmp_path):
    path = settings.write(
        tmp_path, kafka="127.0.0.1:1", slack="http://127.0.0.1:2/api/", port=8421, reference="file: x"
    )
    configuration = load(str(path))
    assert configuration.http.port == 8421
    assert configuration.for_model("flight-delay").segments == ("origin",)
    assert [stream.kind for stream in configuration.streams] == ["predictions", "labels"]


def test_a_taken_port_is_left_to_who_has_it():
    with LoopbackSlack(lambda _: None) as taken:
        port = int(taken.base_url.split(":")[2].split("/")[0])
        assert show.free_port(port) not in (0, port)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--speed", "fast"], "'fast' is not a speed (use a number from 0.01 to 1000, or max)"),
        (["--speed", "-1"], "'-1' is not a speed"),
        (["--until", "2012-01-01"], "--until 2012-01-01 (a day from 2013-03-02 to 2014-01-02 is allowed)"),
    ],
)
def test_what_cannot_be_is_refused_at_once(arguments, said, capsys):
    assert run(["demo", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_refused(tmp_path, capsys):
    (tmp_path / "driftline.db").touch()
    assert run(["demo", "--keep", str(tmp_path)]) == 2
    assert "is not empty (name a new or an empty folder)" in capsys.readouterr().err


def test_help_names_all_options():
    text = CliRunner().invoke(demo_command.command, ["--help"]).output
    assert all(option in text for option in ("--speed", "--exit", "--port", "--until", "--keep", "--json"))


def test_the_server_reads_forms_as_well_as_json():
    posted: list[Posted] = []
    with LoopbackSlack(posted.append) as slack:
        body = f"text=hi&channel=c&blocks={urllib.parse.quote(json.dumps(list(BLOCKS[:1])))}".encode()
        request = urllib.request.Request(
            f"{slack.base_url}chat.postMessage", body, {"Authorization": f"Bearer {slack.token}"}
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["ok"]
    assert (posted[0].text, len(posted[0].blocks)) == ("hi", 1)


def test_work_in_the_background_ends_at_its_next_step_when_nobody_waits():
    begun, go_on, stop = threading.Event(), threading.Event(), threading.Event()
    steps = []

    def work(step):
        begun.set()
        assert go_on.wait(240)
        step()
        steps.append("not reached")

    with Background(work) as background:
        assert begun.wait(240)
        stop.set()
        with pytest.raises(InterruptedDemo):
            background.result(stop)
        threading.Timer(0.2, go_on.set).start()
    assert steps == []
    assert not background._thread.is_alive()


@pytest.mark.parametrize(("judged", "left"), [(range(30), ""), ([7] * 30, "7 windows to be judged")])
def test_a_slow_machine_gets_the_time_it_needs_and_a_halt_is_told(judged, left, tmp_path, monkeypatch):
    """What is left is waited for as long as it gets less, however long that takes."""
    clock, (console, written) = ManualClock(), paper()
    options = show.Options(tmp_path, 0, None, 0)
    demo = show.Demo(options, PlainScreen(console, clock), clock, threading.Event())
    waiting = [f"{number} windows to be judged" if number else "" for number in reversed(judged)]

    def look():
        clock.advance(round(show.SETTLE_TIMEOUT_S * 900))
        return waiting.pop(0)

    monkeypatch.setattr(demo, "_left", look)
    monkeypatch.setattr(show, "LOOK_EVERY_S", 0.0)
    demo._settle()
    given_up = f"not waiting any longer for {left}; see {tmp_path}"
    assert (given_up.replace(" ", "") in "".join(written.getvalue().split())) == bool(left)
    assert bool(waiting) == bool(left)


def test_what_goes_wrong_in_the_background_is_raised_where_it_is_waited_for():
    with pytest.raises(UsageError, match="no flights"), Background(missing_flights) as background:
        background.result(threading.Event())


def missing_flights(_step):
    msg = "no flights"
    raise UsageError(msg)
