"""Messages that did not arrive are seen and sent again; silences are made and ended."""

import html
import re

import pytest

from tests.monitor.console.conftest import serving
from tests.monitor.console.incident_pages_world import client_of, kill_messages, made_world, send, states_of
from tests.monitor.console.looks import check_page


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = made_world(f"sqlite:///{tmp_path_factory.mktemp('deliveries') / 'driftline.db'}")
    kill_messages(made, "hook")
    with client_of(made) as client:
        made.client = client
        send(client, "/silences", model="p*", **{"for": "2h"}, actor="Ann", comment="<moving>")
        send(client, "/silences", everything="yes", **{"for": "1d", "from": "2026-02-01T00:00"})
        yield made
    made.engine.dispose()


@pytest.fixture
def client(world):
    return world.client


@pytest.mark.parametrize("path", ["/deliveries", "/silences"])
def test_a_page_is_for_everybody(browser, world, path):
    with serving(world) as running:
        check_page(browser, running.url, path)


def test_messages_are_listed_once_and_say_why_they_are_dead(client, world):
    total, paths = 0, ["/deliveries?state=dead"]
    while paths:
        page = client.get(html.unescape(paths.pop())).text
        total += page.count("410 &lt;Gone&gt;")
        paths = re.findall(r'href="([^"]+)">Older messages', page)
    assert total == list(states_of(world, "hook").values()).count("dead") >= 30
    assert "No message to nobody is dead" in client.get("/deliveries?state=dead&receiver=nobody").text
    assert client.get("/deliveries?state=lost").status_code == 422


def test_dead_messages_are_sent_again_one_or_all(client, world):
    dead = [id_ for id_, state in states_of(world, "hook").items() if state == "dead"]
    one = send(client, "/deliveries?state=dead", one=dead[0])
    assert one.headers["location"] == "/deliveries?state=dead&done=sent"
    assert states_of(world, "hook")[dead[0]] == "waiting"
    assert [id_ for id_, state in states_of(world, "hook").items() if state == "dead"] == dead[1:]
    assert send(client, "/deliveries", one=dead[0]).status_code == 303  # it waits already
    assert send(client, "/deliveries", one="nothing").status_code == 409
    assert send(client, "/deliveries", all="nobody").status_code == 409
    every = send(client, "/deliveries", all="hook")
    assert every.headers["location"] == "/deliveries?done=sent-all"
    assert set(states_of(world, "hook").values()) == {"waiting"}
    assert "All dead messages of the receiver wait" in client.get(every.headers["location"]).text
    kill_messages(world, "hook")


def test_silences_are_active_planned_and_past(client):
    page = client.get("/silences").text
    active, planned = page.split('id="planned"')[0], page.split('id="planned"')[1].split("<section")[0]
    assert ["p*" in active, "&lt;moving&gt;" in active, "Ann" in active] == [True] * 3
    assert ["everything" in planned, "2026-02-01 00:00 UTC" in planned] == [True] * 2
    maintenance = page.split('id="maintenance"')[1].split('id="past"')[0]
    assert "sun 22:00–23:00 UTC" in maintenance
    assert "until <time" in maintenance.split("move")[0]
    (id_,) = re.findall(r'name="end" value="(\w+)"', planned)
    ended = send(client, "/silences", end=id_, actor="Bob")
    assert ended.headers["location"] == "/silences?done=silence-ended"
    (one,) = [x for x in client.get("/api/v1/silences?ended=true").json()["items"] if x["id"] == id_]
    assert (one["is_active"], one["ended_by"]) == (False, "Bob")
    assert "ended by Bob" in client.get("/silences").text.split('id="past"')[1]
    twice = send(client, "/silences", end=id_)
    assert (twice.status_code, "over already" in twice.text) == (409, True)


def test_a_silence_that_cannot_be_meant_is_refused_and_kept_as_typed(client):
    before = len(client.get("/api/v1/silences?ended=true").json()["items"])
    for wrong, words in (
        ({"for": "1h"}, "nothing is said of what to silence"),
        ({"model": "q", "for": "soon"}, "not a duration"),
        ({"model": "q", "for": "91d"}, "at most 90d"),
        ({"model": "q", "for": "0h"}, "longer than nothing"),
        ({"model": "q", "for": "1h", "from": "2025-01-01T00:00"}, "over already"),
        ({"model": "q", "for": "1h", "from": "then"}, "not an instant"),
        ({"model": "q", "for": "1h", "lane": "none"}, "lane"),
    ):
        refused = send(client, "/silences", comment="kept", **wrong)
        assert refused.status_code == 409, wrong
        assert words in html.unescape(refused.text), wrong
        assert 'value="kept"' in refused.text
    assert len(client.get("/api/v1/silences?ended=true").json()["items"]) == before


def test_a_silence_is_what_the_api_would_have_made(client):
    fields = {"model": "q", "severity": "warn", "column": "x", "for": "1h30m"}
    assert send(client, "/silences", **fields).headers["location"] == "/silences?done=silence"
    found = [x for x in client.get("/api/v1/silences").json()["items"] if x["match"].get("model") == ["q"]]
    assert [x["match"] for x in found] == [{"model": ["q"], "severity": ["warn"], "column": ["x"]}]
    assert (found[0]["from"], found[0]["until"]) == ("2026-01-01T03:00:00.000Z", "2026-01-01T04:30:00.000Z")


def test_a_button_that_is_pressed_twice_makes_and_ends_one_silence(client):
    fields = {"model": "twice", "for": "2h", "comment": "work", "actor": "Ann"}
    for _ in range(2):
        assert send(client, "/silences", **fields).headers["location"] == "/silences?done=silence"
    made = [x for x in client.get("/api/v1/silences").json()["items"] if x["match"].get("model") == ["twice"]]
    assert len(made) == 1
    other = send(client, "/silences", **{**fields, "for": "3h"})
    assert other.headers["location"] == "/silences?done=silence"
    for _ in range(2):
        ended = send(client, "/silences", end=made[0]["id"], actor="Ann")
        assert ended.headers.get("location") == "/silences?done=silence-ended", ended.text
    late = send(client, "/silences", end=made[0]["id"], actor="Bob")
    assert (late.status_code, "is over already, ended by Ann" in late.text) == (409, True)
    again = send(client, "/silences", **fields)
    assert again.headers["location"] == "/silences?done=silence"
    live = [x for x in client.get("/api/v1/silences").json()["items"] if x["match"].get("model") == ["twice"]]
    assert sorted(x["until"] for x in live) == ["2026-01-01T05:00:00.000Z", "2026-01-01T06:00:00.000Z"]
