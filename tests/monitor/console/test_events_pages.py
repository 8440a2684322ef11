"""Dead letters, their replay, the accounting and the pipeline, as pages: their numbers against the API's."""

import base64
import html
import json
import re
import time
from collections import Counter

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from sqlalchemy import insert, select, update

from monitor.commands.explain_event import command as explain_event
from monitor.commands.replay import command as replay
from monitor.config import Configuration
from monitor.status import gather
from monitor.store.engine import immediate, reading
from monitor.store.tables import dead_letter, gap, partition_state, window_state
from monitor.telemetry import Committed, LagSeen
from monitor.web.app import create_app
from monitor.web.console.forms import COOKIE, FIELD
from tests.kit.browser import Visitor
from tests.monitor.console.conftest import serving
from tests.monitor.console.looks import check_page, finish
from tests.monitor.web_world import MINUTE, NOW_MS, START_MS, World, configuration

GOOD = json.dumps(
    {"event_id": "e", "model": "m", "timestamp": START_MS, "prediction": 1, "features": {"ssn": "123-45"}}
).encode()
HOSTILE = '{"model": "<script>alert(1)</script>", "é": "日本"}'.encode()
LETTERS = [
    ("undecodable", b"{"),
    ("undecodable", b"\xff\xfe\x00" * 3_000),
    ("undecodable", HOSTILE),
    ("undecodable", b""),
    ("future", GOOD),
    ("undecodable", b"y" * 1_100_000),
    ("contract", b"=1+1"),
]
KINDS = Counter(kind for kind, _ in LETTERS)


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A world with letters of every kind: some no text, one not whole, one with markup in its reason."""
    made = World(f"sqlite:///{tmp_path_factory.mktemp('letters') / 'driftline.db'}")
    made.add([0], dead=LETTERS)
    made.learn(range(1))
    made.add([1])
    with immediate(made.engine) as connection:
        c = dead_letter.c
        connection.execute(
            update(dead_letter).where(c.id == 3).values(reason="<b>bold</b> & 'quoted' 100 %_")
        )
    made.telemetry.emit(Committed(0.02, {}))
    made.telemetry.emit(LagSeen("pp", 0, 12_345))
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def address(letters):
    with serving(letters) as running:
        yield running.url


@pytest.fixture(scope="module")
def client(letters):
    return client_of(letters)


@pytest.fixture
def own(tmp_path):
    """A world that a test may change."""
    made = World(f"sqlite:///{tmp_path / 'own.db'}")
    made.add([0], dead=LETTERS)
    yield made
    made.engine.dispose()


def client_of(world, config=None):
    app = create_app(config or world.configuration, world.engine, world.telemetry, world.clock)
    return TestClient(app, base_url="http://127.0.0.1")


def text_of(client, path, status=200):
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == status, answer.text
    assert len(answer.content) < 300_000
    return answer.text


def post(client, path, **fields):
    token = client.cookies.get(COOKIE)
    return client.post(path, data={FIELD: token, **fields}, follow_redirects=False)


PAGES = (
    "/events?kind=undecodable&reason=&from=2026-01-01T00:00", "/events/2", "/events/replay?kind=undecodable",
    "/events/accounting", "/events/pipeline",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_for_everybody(browser, address, path):
    check_page(browser, address, path)


def test_the_counts_are_those_of_the_api(client):
    items = client.get("/api/v1/dead-letters").json()["items"]
    page = text_of(client, "/events")
    rows = re.findall(r'<td class="number">(\d+)</td><td>(\w+)</td><td class="text"><a href="([^"]+)">', page)
    counted = Counter((item["kind"], item["reason"]) for item in items)
    assert {kind: sum(int(n) for n, k, _ in rows if k == kind) for kind in KINDS} == KINDS
    assert len(rows) == len(counted)
    for number, _, link in rows:  # a reason leads to exactly its letters, whatever signs it holds
        found = text_of(client, html.unescape(link))
        assert found.count('class="line"><a href="/events/') == int(number)
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<script>alert" not in page


def test_pages_of_the_list_show_every_letter_once(client):
    seen, path = [], "/events?limit=2"
    while path:
        page = text_of(client, path)
        seen += [int(id_) for id_ in re.findall(r'class="line"><a href="/events/(\d+)"', page)]
        more = re.search(r'href="(/events\?[^"]*cursor=[^"]*)">Older', page)
        path = f"{html.unescape(more.group(1))}&limit=2" if more else ""
    assert seen == list(range(len(LETTERS), 0, -1))


def test_what_cannot_be_meant_is_refused(client):
    assert "unknown parameter; did you mean topic?" in html.unescape(text_of(client, "/events?topik=a", 422))
    assert text_of(client, "/events?status=odd", 422)
    assert text_of(client, "/events/999999", 404)
    assert text_of(client, "/events/nowhere", 404)


def test_bytes_are_shown_dumped_and_given_whole(client):
    page = html.unescape(text_of(client, "/events/2"))
    value = LETTERS[1][1]
    dumped = bytes.fromhex("".join(re.findall(r"^(?:<pre[^>]*>)?[0-9a-f]{8}  (.{48})", page, re.MULTILINE)))
    assert dumped == value[:4_096]
    assert "The first 4,096 of 9,000 stored bytes" in page
    assert "It is not UTF-8 text" in page
    for id_, (_, expected) in enumerate(LETTERS, 1):
        given = client.get(f"/events/{id_}/bytes")
        assert given.content == expected[:1_048_576]
        assert given.headers["content-disposition"].startswith("attachment")
    assert html.escape(HOSTILE.decode(), quote=False).replace('"', "&#34;") in text_of(client, "/events/3")
    assert "The message is empty" in text_of(client, "/events/4")
    assert "only the beginning of the message is stored" in text_of(client, "/events/6")


def test_a_letter_is_read_as_explain_event_does(client, tmp_path):
    for id_ in (1, 2, 3, 4, 5, 7):
        file = tmp_path / f"{id_}"
        file.write_bytes(LETTERS[id_ - 1][1])
        result = CliRunner().invoke(
            explain_event, [str(file), "--format", "json", "--json"], standalone_mode=False
        )
        told = json.loads(result.stdout)
        page = html.unescape(text_of(client, f"/events/{id_}"))
        for problem in told["problems"]:
            assert f"<li>{problem}</li>" in page
        for event in told["events"]:
            if event["timestamp"] != START_MS:  # of events without one, it is that of the record
                event["timestamp"] = NOW_MS
            assert json.dumps(event, ensure_ascii=False, indent=2) in page
    assert "A replay would refuse it again" in page
    assert '"features"' in text_of(client, "/events/5").replace("&#34;", '"')


def test_personal_columns_are_hidden(letters):
    personal = configuration(str(letters.engine.url), models={"m": {"columns": {"ssn": {"personal": True}}}})
    client = client_of(letters, personal)
    page = html.unescape(text_of(client, "/events/5"))
    read = page[page.index("How it is read today") : page.index("What came")]
    assert '"ssn": "(hidden)"' in read
    assert "123-45" not in read
    assert "<details open>" not in page
    listed = text_of(client, "/events")
    assert "123-45" not in listed
    assert "may hold personal columns" in listed


def test_headers_that_sound_like_secrets_are_hidden(own):
    encoded = base64.b64encode(b"Bearer abc").decode()
    with immediate(own.engine) as connection:
        headers = json.dumps([["Authorization", encoded], ["x-api-key", encoded], ["ce_id", encoded]])
        connection.execute(update(dead_letter).where(dead_letter.c.id == 1).values(headers=headers))
    page = text_of(client_of(own), "/events/1")
    assert page.count("(hidden)") == 2
    assert page.count("Bearer abc") == 1


def test_one_letter_is_replayed_by_keyboard(browser, own):
    with serving(own) as running:
        visitor = Visitor(browser, running.url)
        page = visitor.visit("/events/1")
        page.get_by_role("button", name="Replay it").focus()
        page.keyboard.press("Enter")
        page.get_by_text("It is marked for a replay").wait_for()
        assert page.url.endswith("/events/1")
        assert page.get_by_role("button", name="Replay it").count() == 0
        finish(visitor, running.url)
    assert marked(own) == [1]


def marked(world):
    with reading(world.engine) as connection:
        query = select(dead_letter.c.id).where(dead_letter.c.status == "marked")
        return sorted(connection.execute(query).scalars())


def test_a_replay_of_all_that_matches_is_counted_first(own):
    client = client_of(own)
    wanted = {"kind": "undecodable", "reason": "WHY", "from": "", "to": ""}
    told = client.post("/api/v1/dead-letters/replay", json={"kind": "undecodable", "dry_run": True}).json()
    page = text_of(client, "/events/replay?kind=undecodable&reason=WHY&from=&to=")
    assert f"<b>{told['marked']}</b> letters" in page
    assert f"{told['cut']} more cannot be taken" in page
    assert marked(own) == []
    assert post(client, "/events/replay", kind="odd").status_code == 422
    assert client.post("/events/replay", data=wanted).status_code == 403
    done = post(client, "/events/replay", **wanted)
    assert (done.status_code, marked(own)) == (303, [1, 2, 3, 4])
    assert "4 letters are marked" in text_of(client, done.headers["location"])
    assert "There is nothing to replay" in text_of(client, done.headers["location"])
    assert post(client, "/events/6/replay").status_code == 409  # not stored whole


def test_who_asked_for_a_replay_and_why_stays_with_the_letter_and_in_the_log(own):
    client = client_of(own)
    assert "Nobody has asked for a replay" in text_of(client, "/events/1")
    post(client, "/events/1/replay", actor="Ann", cause="producer <mended>")
    page = text_of(client, "/events/1")
    assert "Ann, <time" in page
    assert "producer &lt;mended&gt;" in page
    told = client.get("/api/v1/dead-letters/1").json()
    assert (told["marked_by"], told["marked_cause"]) == ("Ann", "producer <mended>")
    assert told["marked_at"] == "2026-01-01T03:00:00.000Z"
    post(client, "/events/replay", kind="future", actor="Bob")
    assert client.get("/api/v1/dead-letters/5").json()["marked_by"] == "Bob"
    json_too = client.post(
        "/api/v1/dead-letters/replay", json={"ids": [2], "actor": "bot", "cause": "nightly"}
    )
    assert json_too.json()["marked"] == 1
    log = text_of(client, "/configuration/audit")
    assert "replay of ids [1]; 1 marked by Ann: producer &lt;mended&gt;" in log
    assert "replay of kind future; 1 marked by Bob" in log
    assert "replay of ids [2]; 1 marked by bot: nightly" in log
    assert post(client, "/events/3/replay", actor="a\x07").status_code == 422
    assert marked(own) == [1, 2, 5]


def test_the_command_line_notes_who_asked_for_a_replay(own, tmp_path, monkeypatch):
    monkeypatch.setattr("monitor.by_hand.getpass.getuser", lambda: "grace")
    file = tmp_path / "driftline.yaml"
    file.write_text(
        f'kafka: {{bootstrap_servers: "127.0.0.1:1"}}\ndatabase_url: "{own.engine.url}"\n'
        "streams: [{topic: pp, kind: predictions}]\n"
    )
    arguments = ["-c", str(file), "--dead-letters", "--kind", "future"]
    dry = CliRunner().invoke(replay, [*arguments, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert CliRunner().invoke(replay, arguments).exit_code == 0
    client = client_of(own)
    assert client.get("/api/v1/dead-letters/5").json()["marked_by"] == "grace"
    log = text_of(client, "/configuration/audit")
    assert log.count("driftline replay --dead-letters kind=future") == 1
    assert "on the command line" in log


def test_what_cannot_be_seen_is_written_as_its_code_point(tmp_path):
    world = World(f"sqlite:///{tmp_path / 'odd.db'}")
    trojan = '{"event_id": "a\u202eb\u2066", "\x1b[2J": "\ufeff", "model": "m", "prediction": 1'
    event = trojan.replace("\x1b", "k") + f', "timestamp": {START_MS}' + "}"
    world.add([0], dead=[("undecodable", trojan.encode()), ("future", event.encode())])
    client = client_of(world)
    for path, beginning in (("/events/1", "⟨U+001B⟩[2J"), ("/events/2", "k[2J")):
        page = html.unescape(text_of(client, path))
        assert "a⟨U+202E⟩b⟨U+2066⟩" in page
        assert beginning in page
        assert not set("\u202e\u2066\x1b\ufeff") & set(page), path
    world.engine.dispose()


def test_the_accounting_says_whether_it_adds_up(own):
    client = client_of(own)
    partition = client.get("/api/v1/accounting").json()["items"][0]
    page = text_of(client, "/events/accounting")
    assert f'<td class="number">{partition["fetched"]}</td>' in page
    assert page.count("✓ adds up") == 2
    with immediate(own.engine) as connection:
        connection.execute(update(partition_state).values(late=3, stopped_reason="offset 5 is <gone>"))
        values = {"topic": "pp", "partition": 0, "from_offset": 5, "reason": "gone", "found_at_ms": NOW_MS}
        connection.execute(insert(gap).values(**values))
        label = dict(connection.execute(select(partition_state)).one()._mapping)
        label |= {"topic": "truth", "kind": "labels", "late": 0, "fetched": 7, "counted": 7, "future": 0,
                  "dead_lettered": 0, "stopped_reason": "9 of 9 [contract rule 0123456789ab]"}  # fmt: skip
        connection.execute(insert(partition_state).values(**label))
    page = text_of(client, "/events/accounting")
    assert "✗ 3 too many" in page
    assert "✗ 7 missing" in page  # labels that were counted and have no fate
    assert "offset 5 is &lt;gone&gt;" in page
    assert "driftline partitions resume --topic pp --partition 0 --at earliest" in page
    assert "driftline partitions resume --topic truth --partition 0 --at position" in page
    assert "not accepted" in page


def test_the_pipeline_says_what_status_says(letters, client):
    page = gathered(client)
    found = gather(letters.engine, letters.configuration, letters.clock.now_ms(), {})
    assert found.attention
    for sentence in found.attention:
        assert f"<li>{sentence}</li>" in page
    assert "12,345" in page  # the lag that this process knows
    assert "1 since it was started, 20 ms on average, 95 of 100 within 0.025 s" in page
    drawn = client.get("/events/pipeline/charts/commits.json").json()
    assert (drawn["axis"], drawn["series"][0]["values"]) == (["≤ 0.025 s"], [1.0])


def gathered(client):
    """The page once the status is there."""
    for _ in range(1_200):
        page = html.unescape(text_of(client, "/events/pipeline"))
        if "The status is being gathered" not in page:
            return page
        time.sleep(0.05)
    raise AssertionError


def test_windows_and_messages_that_wait_are_told(own):
    client = client_of(own)
    page = text_of(client, "/events/pipeline")
    assert "every window that has changed has been judged" in page
    own.learn(range(1))
    own.add(range(1, 30))
    own.alert()
    window = {"model": "m", "version": "1", "window": "10m", "touched": 2, "judged": 1, "revision": 1}
    with immediate(own.engine) as connection:
        for minute in (0, 10, 20):  # the first begins before the reference
            start_ms = START_MS + minute * MINUTE
            times = {"start_ms": start_ms, "end_ms": start_ms + 10 * MINUTE}
            connection.execute(insert(window_state).values(**window, **times))
    page = text_of(client, "/events/pipeline")
    row = page[page.index('id="backlog"') : page.index('id="messages"')]
    assert '<td>10m</td><td class="number">2</td>' in row
    assert "due</span>" in row
    assert '<th scope="row">hook</th><td class="number">1</td>' in page[page.index('id="messages"') :]


def test_an_empty_service_says_so(tmp_path):
    world = World(f"sqlite:///{tmp_path / 'empty.db'}")
    with immediate(world.engine) as connection:
        connection.execute(partition_state.delete())
    client = client_of(world)
    assert "There is no dead letter" in text_of(client, "/events")
    assert "No partition was read yet" in text_of(client, "/events/accounting")
    assert "No partition was read yet" in text_of(client, "/events/pipeline")
    assert "There is nothing to replay" in text_of(client, "/events/replay")
    world.engine.dispose()


def test_a_stream_that_is_gone_or_asks_a_registry_is_told(letters):
    other = letters.configuration.model_dump(mode="json", by_alias=True, exclude_unset=True)
    other["streams"] = [{"topic": "elsewhere", "kind": "predictions"}]
    page = text_of(client_of(letters, Configuration.model_validate(other)), "/events/1")
    assert "pp is no stream of the configuration any more" in page
    other["streams"] = [{"topic": "pp", "kind": "predictions", "format": "registry"}]
    other["registry"] = {"url": "http://127.0.0.1:1", "timeout": "200ms"}
    client = client_of(letters, Configuration.model_validate(other))
    assert 'href="/events/1?read=now"' in text_of(client, "/events/1")
    assert 'href="/events/1?read=now"' not in text_of(client, "/events/1?read=now")


def test_the_status_is_not_gathered_anew_for_each_page(letters, monkeypatch):
    from monitor.web.console.pipeline import standing
    from monitor.web.context import Context

    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return gather(*arguments)

    monkeypatch.setattr(standing, "gather", counted)
    now = standing.StandingNow(
        Context(letters.configuration, letters.engine, letters.telemetry, letters.clock)
    )
    while (first := now.get()).status is None:
        time.sleep(0.01)
    assert now.get() is first
    assert len(calls) == 1
