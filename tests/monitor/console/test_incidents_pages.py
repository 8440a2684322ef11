"""The inbox and the story of an incident: what they say, and what people do there."""

import html
import json
import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert

from alerting.finding import epoch_ms
from monitor.store.engine import immediate, reading
from monitor.store.tables import alert as alert_table
from monitor.store.tables import performance_value, result, retraining_run
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from monitor.web.console.forms import COOKIE
from tests.kit.browser import Visitor
from tests.monitor.console.conftest import filled_world, serving
from tests.monitor.console.incident_pages_world import HOSTILE, client_of, made_world, send
from tests.monitor.console.looks import check_page
from tests.monitor.test_judge import World as JudgedWorld
from tests.monitor.test_reference_offers import stored
from tests.monitor.web_world import MINUTE, NOW_MS

LATER = b'{"format":2,"alert":{}}'


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = made_world(f"sqlite:///{tmp_path_factory.mktemp('incidents') / 'driftline.db'}")
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def address(world):
    with serving(world) as running:
        yield running.url


@pytest.fixture
def client(world):
    with client_of(world) as made:
        yield made


@pytest.fixture
def own(tmp_path):
    """A world to change."""
    made = made_world(f"sqlite:///{tmp_path / 'own.db'}", models=0)
    with client_of(made) as client:
        made.client = client
        yield made
    made.engine.dispose()


def story_path(alert):
    return f"/incidents/{alert.id}"


def entries(page):
    return [html.unescape(one) for one in re.findall(r'<h2><a href="/incidents/(\w+)">', page)]


def pages(client, path):
    """Every page of the inbox, one after the other."""
    while path:
        page = client.get(path).text
        yield page
        following = re.search(r'href="([^"]+)">More incidents', page)
        path = html.unescape(following[1]) if following else None


@pytest.mark.parametrize("path", ["/incidents?model=m", "story"])
def test_a_page_is_for_everybody(browser, address, world, path):
    check_page(browser, address, story_path(world.judged) if path == "story" else path)


def test_from_the_inbox_to_a_comment_with_the_keyboard_alone(browser, own):
    with serving(own) as running:
        visitor = Visitor(browser, running.url)
        page = visitor.visit("/incidents?model=m")

        def tab_to(name, most=60):
            for _ in range(most):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.textContent || document.activeElement.name") == name:
                    return
            pytest.fail(f"no way to {name}")

        tab_to(page.locator("ol.inbox h2 a").first.inner_text())
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{story_path(own.judged)}")
        tab_to("actor")
        page.keyboard.type("Ann")
        page.keyboard.press("Enter")  # does not press whichever button comes first
        assert page.url.endswith(story_path(own.judged))
        tab_to("reason")
        page.keyboard.type("on it")
        tab_to("Acknowledge")
        page.keyboard.press("Enter")
        page.get_by_text("Acknowledged: everybody").wait_for()
        assert page.locator(".standing .state").inner_text() == "acknowledged"
        tab_to("text")
        page.keyboard.type("it is the sensor")
        tab_to("Comment")
        page.keyboard.press("Enter")
        page.get_by_text("Your comment is part of the story").wait_for()
        said = page.locator(".timeline tbody tr").all_inner_texts()
        assert ["acknowledged" in said[-2], "on it" in said[-2], "Ann" in said[-2]] == [True] * 3
        assert ["it is the sensor" in said[-1], "Ann" in said[-1]] == [True] * 2
        assert visitor.troubles == []
        visitor.close()


def test_the_inbox_lists_every_incident_once_the_severest_first(client):
    known = client.get("/api/v1/incidents", params={"state": "open", "limit": 500}).json()["items"]
    rank = {"page": 2, "warn": 1, "info": 0}
    wanted = sorted(known, key=lambda one: (rank[one["severity"]], one["opened_at"], one["id"]), reverse=True)
    listed = [id_ for page in pages(client, "/incidents") for id_ in entries(page)]
    assert listed == [one["id"] for one in wanted]
    every = client.get("/api/v1/incidents", params={"limit": 500}).json()["items"]
    newest = [id_ for page in pages(client, "/incidents?state=all") for id_ in entries(page)]
    assert newest == [one["id"] for one in every]


def test_the_inbox_is_narrowed_by_its_address(client, world):
    def found(**asked):
        return entries(client.get("/incidents", params={"state": "all", "model": "", "q": "", **asked}).text)

    assert found(model="m") == [world.judged.id]
    assert found(model=HOSTILE) == [world.hostile.id]
    assert found(q="É</I>") == []  # letters beyond ASCII stand as they are
    assert found(q="<i>é") == [world.hostile.id]
    assert found(q="p_0") == []  # no pattern
    assert found(model="m", severity="page") == [world.judged.id]
    assert found(model="m", severity="info") == []
    assert found(model="m", **{"from": "2026-01-01T00:30", "to": "2026-01-01T00:31"}) == [world.judged.id]
    assert found(model="m", **{"from": "2026-01-01T00:31"}) == []
    assert found(state="resolved") == [
        one["id"] for one in client.get("/api/v1/incidents?state=resolved").json()["items"]
    ]
    assert "No incident is like that" in client.get("/incidents?model=nobody").text
    for wrong in ("states=open", "state=closed", "from=yesterday", "cursor=x"):
        assert client.get(f"/incidents?{wrong}").status_code == 422


def test_an_entry_says_who_was_told_and_what_it_costs(client, world):
    page = client.get("/incidents?model=m").text
    found = client.get(f"/api/v1/incidents/{world.judged.id}").json()
    assert f"<b>{found['causes'][0]['name']}</b>" in page
    assert "hook" in page
    assert html.escape(found["summary"].partition(" in the window ")[0], quote=False) in html.unescape(page)


def test_names_are_no_markup_and_lead_somewhere(client, world):
    for path in (f"/incidents?model={HOSTILE}", story_path(world.hostile)):
        page = client.get(path).text
        assert "<i>é" not in page
        assert "&lt;i&gt;é" in page
    assert "/models/a%2Fb%20%3Ci%3E%C3%A9%3C%2Fi%3E/features/x" in client.get(story_path(world.hostile)).text


def test_the_story_shows_the_results_behind_its_findings(client, world):
    page = html.unescape(client.get(story_path(world.judged)).text)
    wanted = {"from": "2026-01-01T00:20:00Z", "to": "2026-01-01T00:20:01Z", "segment": "", "column": "x"}
    (one,) = client.get("/api/v1/models/m/results", params=wanted).json()["items"]
    assert one["reference_hash"] in page
    assert one["configuration_hash"] in page
    assert f"?finding={one['id']}#charts" in page
    assert f"{one['n']:,} rows of the window against {one['m']:,} of the reference" in page
    assert one["explanation"] in page
    assert "pp/0 " in page
    assert 'href="/models/m/features/x"' in page


def test_charts_show_what_the_api_says(client, world):
    path = f"{story_path(world.judged)}/charts"
    (x,) = [one for one in results_of(client, "x") if one["window_start"] == "2026-01-01T00:20:00.000Z"]
    drawn = client.get(f"{path}/statistic.json?finding={x['id']}").json()
    wanted = sorted(results_of(client, "x"), key=lambda one: one["window_start"])
    effects = [one["effect"] for one in wanted]
    values = [(e["psi_debiased"], e["psi"]) for e in effects]
    assert len(drawn["series"][0]["values"]) == len(wanted) == 3
    assert all(value in pair for value, pair in zip(drawn["series"][0]["values"], values, strict=True))
    assert drawn["series"][0]["low"] == [e["psi_low"] for e in effects]
    assert [one["words"] for one in drawn["markers"]] == ["opened"]
    bins = client.get(f"{path}/distribution.json?finding={x['id']}").json()
    for one in bins["series"]:
        assert sum(one["values"]) == pytest.approx(1)
    shares = dict(zip(bins["axis"], bins["series"][1]["values"], strict=True))
    known = [one for one in x["moved"] if one["label"] in shares]
    assert known
    assert all(shares[one["label"]] == pytest.approx(one["share"]) for one in known)
    for name in ("statistic", "distribution", "performance", "attribution"):
        assert [client.get(f"{path}/{name}.{form}").status_code for form in ("json", "csv", "svg")] == [
            200
        ] * 3
    assert client.get(f"{path}/statistic.json?finding=99999").status_code == 404


def results_of(client, column):
    return client.get("/api/v1/models/m/results", params={"segment": "", "column": column}).json()["items"]


def test_quick_actions_lead_back_to_the_same_list(own):
    path = f"{story_path(own.judged)}"
    answer = send(own.client, "/incidents?state=open&model=m", silence=own.judged.id, actor="Änn")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/incidents?state=open&model=m&done=silenced",
    )
    page = own.client.get(answer.headers["location"]).text
    assert "Silenced. If it is open" in page
    assert 'name="actor" value="Änn"' in page
    assert own.client.get(f"/api/v1{path}").json()["held"] == "silenced by Änn"
    assert (
        send(own.client, "/incidents", acknowledge=own.judged.id).headers["location"].endswith("acknowledged")
    )
    assert own.client.get(f"/api/v1{path}").json()["state"] == "acknowledged"
    lost = send(own.client, "/incidents", acknowledge="f" * 32)
    assert lost.status_code == 409
    assert "there is no incident" in lost.text


def test_what_cannot_be_done_is_said_and_nothing_typed_is_lost(own):
    path = story_path(own.judged)
    assert send(own.client, path, do="resolve", reason="done").headers["location"] == f"{path}?done=resolved"
    again = send(own.client, path, do="comment", text="", actor="Ann")
    assert (again.status_code, "a comment needs a text" in again.text) == (409, True)
    over = send(own.client, path, do="acknowledge", reason="late", actor="Ann")
    assert (over.status_code, "is over already" in over.text) == (409, True)
    open_path = story_path(own.hostile)
    for wrong, words in (
        ({"do": "silence", "for": "3y"}, "use 15m, 1h, 8h, 1d, 7d"),
        ({"do": "acknowledge", "actor": "x" * 257}, "the name is too long"),
        ({"do": "resolve", "actor": "a\x07"}, "cannot be printed"),
        ({"do": "comment", "text": "y" * 2_001}, "2,001 characters (use at most 2,000)"),
        ({"do": "explode"}, "does not say what is to be done"),
    ):
        refused = send(own.client, open_path, reason="<kept>", **wrong)
        assert refused.status_code == 409
        assert words in refused.text
        assert 'value="&lt;kept&gt;"' in refused.text
    assert own.client.get(f"/api/v1{open_path}").json()["state"] == "firing"
    assert send(own.client, "/incidents/" + "f" * 32, do="resolve").status_code == 404
    token = own.client.cookies[COOKIE]
    assert token
    assert own.client.post(open_path, data={"do": "resolve"}).status_code == 403


def test_training_is_asked_for_approved_and_rejected(own):
    path = story_path(own.judged)
    page = own.client.get(path).text
    assert "dry (dry run)" in page
    (proposed,) = own.client.get("/api/v1/retraining").json()["items"]
    assert (proposed["state"], proposed["receiver"]) == ("proposed", "train")
    approved = send(own.client, path, do="approve", run=proposed["id"], reason="fine", actor="Ann")
    assert approved.headers["location"] == f"{path}?done=approved"
    (now,) = own.client.get("/api/v1/retraining").json()["items"]
    assert (now["state"], now["reason"]) == ("due", "approved by Ann: fine")
    twice = send(own.client, path, do="approve", run=proposed["id"], reason="again")
    assert (twice.status_code, "the request is due" in twice.text, 'value="again"' in twice.text) == (
        409,
        True,
        True,
    )
    assert send(own.client, path, do="reject", run=proposed["id"]).headers["location"].endswith("rejected")
    asked = send(own.client, path, do="train", receiver="dry", model="m", reason="try")
    assert asked.headers["location"] == f"{path}?done=asked"
    states = {one["receiver"]: one["state"] for one in own.client.get("/api/v1/retraining").json()["items"]}
    assert states == {"train": "rejected", "dry": "dry_run"}
    wrong = send(own.client, path, do="train", receiver="hook", model="m")
    assert (wrong.status_code, "is no receiver that starts training" in html.unescape(wrong.text)) == (
        409,
        True,
    )
    foreign = send(own.client, story_path(own.hostile), do="approve", run=proposed["id"])
    assert foreign.status_code == 409


def test_results_are_recomputed_on_the_page(tmp_path):
    judged = JudgedWorld(f"sqlite:///{tmp_path / 'judged.db'}")
    judged.send(0, 80)
    judged.send(80, 31, shift=1.0)
    judged.judge.sweep()
    ((id_,),) = judged.rows("SELECT id FROM incident")
    app = create_app(judged.configuration, judged.engine, Telemetry(), judged.clock)
    with TestClient(app, base_url="http://127.0.0.1", follow_redirects=False) as client:
        done = send(client, f"/incidents/{id_}", do="verify")
        assert done.status_code == 200
        assert re.search(r"Identical, bit for bit:</b> \d+ results? computed once more", done.text)
        with immediate(judged.engine) as connection:
            connection.execute(result.update().values(n=result.c.n + 1))
        number = re.findall(r'name="result" value="(\d+)"', done.text)[0]
        other = send(client, f"/incidents/{id_}", do="verify", result=number)
        assert "<b>Different:</b> 1 of 1 result came out otherwise" in other.text
        assert "<code>n</code>" in other.text
        gone = send(client, f"/incidents/{id_}", do="verify", result="987654")
        assert (gone.status_code, "no stored result" in gone.text) == (409, True)
    judged.close()


def test_what_is_over_costs_what_it_cost_while_it_was_open(own):
    path = story_path(own.judged)
    begin_ms = epoch_ms(own.judged.window_start)
    measured = [(begin_ms - MINUTE, 0.9, 50), (begin_ms, 0.4, 40), (begin_ms + MINUTE, 0.7, 80)]
    rows = [
        {"model": "m", "version": "1", "window": "10m", "start_ms": at, "segment": "", "kind": "realised",
         "metric": "recall", "value": value, "n": n, "coverage": 1.0, "computed_at_ms": at}
        for at, value, n in measured
    ]  # fmt: skip
    with immediate(own.engine) as connection:
        connection.execute(insert(performance_value), rows)
    words = client_words(own.client, path)
    assert words == own.client.get(f"/api/v1{path}").json()["impact"]["words"]
    assert words.startswith("recall is 0.700")
    send(own.client, path, do="resolve")
    assert client_words(own.client, path) == (
        "recall was 0.600 while it was open (2 windows, from labels); before it was 0.900"
    )
    drawn = own.client.get(f"{path}/charts/performance.json").json()
    assert drawn["series"][0]["values"] == [value for _, value, _ in measured]
    assert drawn["levels"] == [{"value": 0.9, "name": "before"}]


def client_words(client, path):
    (words,) = re.findall(r"<dt>What it costs</dt><dd><b>(.*?)</b>", client.get(path).text)
    return html.unescape(words)


def test_an_empty_inbox_says_so(tmp_path):
    world = filled_world(f"sqlite:///{tmp_path / 'one.db'}")
    with client_of(world) as client:
        assert "No incident is resolved" in client.get("/incidents?state=resolved").text
        with immediate(world.engine) as connection:
            connection.exec_driver_sql("DELETE FROM incident")
        assert "There has been no incident yet." in client.get("/incidents").text
        with reading(world.engine) as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM incident").scalar() == 0
    world.engine.dispose()


def test_a_story_is_printed_without_its_forms(browser, address, world):
    visitor = Visitor(browser, address)
    page = visitor.visit(story_path(world.judged))
    visitor.charts_are_drawn()
    page.emulate_media(media="print")
    assert page.get_by_role("button").count() == 0
    assert page.get_by_text("Reference", exact=True).first.is_visible()  # evidence is unfolded
    assert page.locator("canvas").first.is_visible()
    visitor.close()
    assert visitor.troubles == []


def done_events(client, alert):
    return [one["change"] for one in client.get(f"/api/v1{story_path(alert)}").json()["events"]]


def test_one_that_cannot_be_read_keeps_no_other_from_the_list(own):
    with immediate(own.engine) as connection:
        mine = alert_table.c.id == own.judged.id
        connection.execute(alert_table.update().where(mine).values(state_bytes=LATER))
    inbox = own.client.get("/incidents")
    assert inbox.status_code == 200
    assert {own.judged.id, own.hostile.id} <= set(entries(inbox.text))
    assert "This version of Driftline cannot read it" in inbox.text
    story = own.client.get(story_path(own.judged))
    assert story.status_code == 200
    assert "has format 2 (this version reads 1); update Driftline" in story.text
    assert "opened" in story.text.split('id="story"')[1]
    refused = send(own.client, story_path(own.judged), do="acknowledge", actor="Ann")
    assert (refused.status_code, "so it is left as it is" in refused.text) == (409, True)
    from_list = send(own.client, "/incidents", acknowledge=own.judged.id)
    assert (from_list.status_code, "so it is left as it is" in from_list.text) == (409, True)
    assert own.client.get(f"{story_path(own.judged)}/charts/statistic.json").status_code == 409


def test_a_button_that_is_pressed_twice_does_it_once(own):
    path, known = story_path(own.hostile), own.client
    for _ in range(2):
        for fields in ({"do": "comment", "text": "seen"}, {"do": "silence", "for": "1h"}):
            answer = send(known, path, actor="Ann", **fields)
            assert answer.status_code == 303, answer.text
    assert done_events(known, own.hostile) == ["opened", "commented", "silenced"]
    assert len(known.get("/api/v1/silences").json()["items"]) == 1
    own.clock.sleep(61)
    send(known, path, actor="Ann", do="comment", text="seen")
    send(known, path, actor="Bob", do="comment", text="seen")
    assert done_events(known, own.hostile)[3:] == ["commented", "commented"]
    for _ in range(2):
        assert send(known, path, actor="Ann", do="resolve").headers["location"].endswith("done=resolved")
    assert done_events(known, own.hostile).count("resolved") == 1
    path = story_path(own.judged)
    (proposed,) = known.get("/api/v1/retraining").json()["items"]
    for do, done in (("approve", "approved"), ("reject", "rejected"), ("retry", "retried")):
        for _ in range(2):
            answer = send(known, path, do=do, run=proposed["id"], actor="Ann")
            assert answer.headers.get("location") == f"{path}?done={done}", answer.text
    for _ in range(2):
        asked = send(known, path, do="train", receiver="dry", model="m", actor="Ann")
        assert asked.headers.get("location") == f"{path}?done=asked", asked.text
    assert done_events(known, own.judged).count("retraining") == 4
    assert send(known, path, do="train", receiver="dry", model="m", actor="Bob").status_code == 409


def test_who_was_quicker_is_said(own):
    path = story_path(own.hostile)
    send(own.client, path, do="acknowledge", actor="Ann")
    late = send(own.client, path, do="acknowledge", actor="Bob")
    assert late.headers["location"] == f"{path}?done=acknowledged-already"
    assert "It had been acknowledged already" in own.client.get(late.headers["location"]).text
    send(own.client, path, do="resolve", actor="Ann")
    over = send(own.client, path, do="resolve", actor="Bob")
    assert (over.status_code, "is over already: resolved by Ann, 2026-01-01 03:00 UTC" in over.text) == (
        409,
        True,
    )


def trained(own):
    """A run that has ended, and the version that came of it; gives its id and the hash of its reference."""
    (run,) = own.client.get("/api/v1/retraining").json()["items"]
    own.add(range(40, 50), version="2")
    new = stored(own, {"source": "file", "file": "new.parquet", "model": "m", "version": "2"}, 30)
    outcome = json.dumps({"version": "2", "state": "watching", "reference": "words of then"})
    times = {"started_at_ms": NOW_MS, "finished_at_ms": NOW_MS}
    with immediate(own.engine) as connection:
        ended = retraining_run.update().values(state="succeeded", outcome=outcome, **times)
        connection.execute(ended)
    return run["id"], new


def test_the_reference_of_a_new_version_is_taken_on_the_page(own):
    path, (run, new) = story_path(own.judged), trained(own)
    page = own.client.get(path).text
    part = page.split('id="training"')[1]
    assert f"offered as its reference: {new[:12]}, of file new.parquet" in part
    assert f'<option value="{new}">' in part
    assert "words of then" not in part
    wrong = send(own.client, path, do="reference", run=run, hash="f" * 64, actor="Ann")
    assert (wrong.status_code, "is not offered to the version" in wrong.text) == (409, True)
    foreign = send(own.client, story_path(own.hostile), do="reference", run=run, hash=new, actor="Ann")
    assert foreign.status_code == 409
    for _ in range(2):  # pressed twice
        taken = send(own.client, path, do="reference", run=run, hash=new, reason="new data", actor="Ann")
        assert taken.headers.get("location") == f"{path}?done=reference", taken.text
    (pointer,) = own.client.get(f"/api/v1/references/{new}").json()["used_by"]
    assert (pointer["version"], pointer["promoted_by"]) == ("2", "Ann")
    last = own.client.get(f"/api/v1{path}").json()["events"][-1]
    assert (last["change"], last["actor"]) == ("retraining", "Ann")
    assert last["cause"].startswith(
        f"version 2 is compared with {new[:12]}, of file new.parquet, from 2026-01-01 00:50"
    )
    assert last["cause"].endswith("says Ann: new data")
    after = own.client.get(path).text.split('id="training"')[1]
    assert "it is compared with its own file new.parquet" in after
    assert 'value="reference"' not in after


def test_a_reference_is_taken_by_keyboard_alone(browser, own):
    _, new = trained(own)
    with serving(own) as running:
        visitor = Visitor(browser, running.url, java_script_enabled=False)
        page = visitor.visit(story_path(own.judged))
        page.get_by_role("button", name="Compare version 2 with it").focus()
        page.keyboard.press("Enter")
        page.get_by_text("The reference is taken").wait_for()
        assert new[:12] in page.locator("table.timeline").inner_text()
        visitor.close()
        assert visitor.troubles == []


def test_a_form_without_its_token_leads_back_to_its_page(own):
    path = story_path(own.hostile)
    headers = {"accept": "text/html", "referer": f"http://127.0.0.1{path}?finding=1"}
    refused = own.client.post(path, data={"do": "resolve"}, headers=headers)
    assert refused.status_code == 403
    assert "Nothing was changed." in refused.text
    assert f'<a href="{path}?finding=1">Load the page again</a>' in refused.text
    elsewhere = own.client.post(
        path, data={"do": "resolve"}, headers=headers | {"referer": "http://evil.example/x"}
    )
    assert "evil.example" not in elsewhere.text
    assert done_events(own.client, own.hostile) == ["opened"]


def test_a_story_is_printed_on_two_pages(browser, own):
    for number in range(12):
        send(own.client, story_path(own.judged), do="comment", text=f"comment {number}", actor="Ann")
    with serving(own) as running:
        visitor = Visitor(browser, running.url)
        page = visitor.visit(story_path(own.judged))
        visitor.charts_are_drawn()
        assert page.locator(".onpaper").filter(visible=True).count() == 0
        page.emulate_media(media="print")
        assert page.get_by_text("comment 11", exact=True).is_visible()
        assert not page.get_by_text("comment 5", exact=True).is_visible()
        assert page.get_by_text("more, which are on the page").is_visible()
        assert page.get_by_text(own.judged.id).filter(visible=True).count() == 1
        assert len(re.findall(rb"/Type /Page\b", page.pdf(format="A4"))) <= 2
        visitor.close()
        assert visitor.troubles == []
