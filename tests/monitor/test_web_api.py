"""What the API answers, over a database that was filled by the code of the service, on both databases."""

import base64

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from alerting.codec import document
from monitor.store.engine import immediate, reading
from monitor.store.positions import Place, claim
from monitor.store.tables import outbox, partition_state
from monitor.web.api.alerts import AlertDocument, Finding
from monitor.web.api.results import EFFECTS
from monitor.web.app import create_app
from tests.monitor.web_world import MINUTE, NOW_MS, START_MS, World

DAY = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"


@pytest.fixture
def world(database_url):
    made = World(database_url)
    yield made
    made.engine.dispose()


@pytest.fixture
def client(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def get(client):
    def ask(path, status=200):
        answer = client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def every_item(get, path):
    """Walk through all pages."""
    found, cursor = [], ""
    while True:
        page = get(f"{path}{'&' if '?' in path else '?'}limit=2{cursor}")
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_models_tell_how_fresh_and_how_large_they_are(world, get):
    world.add(range(10))
    world.learn(range(10))
    world.add(range(10, 20))
    world.add(range(5), version="2")
    world.judge(10)
    world.judge(10, revision=2)
    world.alert()
    (model,) = get("/api/v1/models")["items"]
    assert model | {"versions": ()} == {
        "model": "m", "versions": (), "first_seen": "2026-01-01T00:00:00.000Z",
        "last_event": "2026-01-01T00:04:00.000Z", "watermark": "2026-01-01T00:03:00.000Z",
        "rows": 2_500, "windows_judged": 1, "open_alerts": 1,
    }  # fmt: skip
    one, two = sorted(model["versions"], key=lambda version: version["version"])
    assert (one["rows"], one["windows_judged"], one["role"]) == (2_000, 1, "champion")
    assert one["reference"] == {
        "status": "ready", "hash": world.pointers["m", "1"].hash, "since": "2026-01-01T00:10:00.000Z"
    }  # fmt: skip
    assert two["reference"] == {"status": "learning", "hash": None, "since": None}


def test_a_profile_before_the_first_reference_has_bins_of_its_own(world, get):
    world.add(range(10))
    found = get(f"/api/v1/models/m/profile?{DAY}")
    assert (found["count"], found["excluded"], found["reference_hash"]) == (1_000, 0, None)
    columns = {column["name"]: column for column in found["columns"]}
    x = columns["x"]
    assert (x["kind"], x["count"], x["missing"], x["invalid"]) == ("numeric", 940, 40, 20)
    assert x["min"] < x["quantiles"]["0.05"] < x["quantiles"]["0.5"] < x["quantiles"]["0.95"] < x["max"]
    assert sum(bin_["count"] for bin_ in x["bins"]) == 940
    assert {bin_["reference_share"] for bin_ in x["bins"]} == {None}
    assert x["bins"][0]["low"] is None
    assert x["bins"][-1]["high"] is None
    assert [bin_["high"] for bin_ in x["bins"][:-1]] == [bin_["low"] for bin_ in x["bins"][1:]]
    c = columns["c"]
    assert (c["kind"], c["count"], c["min"], c["mean"], c["quantiles"]) == (
        "categorical",
        1_000,
        None,
        None,
        None,
    )
    assert {bin_["value"] for bin_ in c["bins"]} >= {"a", "b", "<b>&"}
    assert 2 <= c["distinct"] <= 4


def test_a_profile_on_the_bins_of_the_reference(world, get):
    world.add(range(10))
    world.learn(range(10))
    world.add(range(10, 30), shift=2.0)
    found = get(f"/api/v1/models/m/profile?{DAY}&column=x")
    assert found["count"] == 3_000
    (x,) = found["columns"]
    assert (x["count"], x["missing"], x["invalid"]) == (2_820, 120, 60)
    assert sum(bin_["count"] for bin_ in x["bins"]) == 2_820
    assert sum(bin_["reference_share"] for bin_ in x["bins"]) + 0.06 == pytest.approx(1)
    assert x["reference_missing_share"] == pytest.approx(0.04)
    part = get("/api/v1/models/m/profile?from=2026-01-01T00:12:30Z&to=2026-01-01T00:14:10Z")
    assert (part["from"], part["to"]) == ("2026-01-01T00:12:00.000Z", "2026-01-01T00:15:00.000Z")
    assert part["count"] == 300


def test_the_segments_of_a_profile_add_up(world, get):
    world.add(range(10))
    before = get(f"/api/v1/models/m/profile?{DAY}&segment=c%3Da")["columns"]
    world.learn(range(10))
    parts = [
        get(f"/api/v1/models/m/profile?{DAY}&column=x&segment=c%3D{name}")
        for name in ("a", "b", "%3Cb%3E%26")
    ]
    assert sum(part["segment_count"] for part in parts) == parts[0]["count"] == 1_000
    assert sum(part["columns"][0]["count"] for part in parts) == 940
    assert parts[0]["columns"][0]["mean"] is None
    assert {column["name"]: column["count"] for column in before}["x"] == parts[0]["columns"][0]["count"]
    assert "c=a" in get(f"/api/v1/models/m/profile?{DAY}&segment=c%3Dz", 404)["errors"][0]["allowed"]


def test_versions_are_merged_on_the_bins_of_the_newest_reference(world, get):
    world.add(range(10))
    world.add(range(10), version="2")
    old = world.learn(range(10))
    world.add(range(10, 20))
    new = world.learn(range(3), version="2", shift=1.0)
    world.add(range(10, 12), version="2")
    found = get(f"/api/v1/models/m/profile?{DAY}")
    assert (found["versions"], found["version"], found["reference_hash"]) == (["1", "2"], None, new.hash)
    assert (found["count"], found["excluded"], found["segment_count"]) == (3_200, 1_000, 2_200)
    one = get(f"/api/v1/models/m/profile?{DAY}&version=1")
    assert (one["count"], one["excluded"], one["reference_hash"]) == (2_000, 0, old.hash)


def test_a_profile_without_rows_is_empty(world, get):
    world.add(range(2))
    found = get("/api/v1/models/m/profile?from=2025-01-01T00:00:00Z&to=2025-01-02T00:00:00Z&column=x")
    assert (found["count"], found["columns"]) == (0, [])
    assert get("/api/v1/models/m/profile")["count"] == 200


def test_a_range_of_too_many_slices_is_refused(world, get, monkeypatch):
    monkeypatch.setattr("monitor.web.api.profile.MOST_SLICES", 3)
    world.add(range(4))
    assert "shorter range" in get(f"/api/v1/models/m/profile?{DAY}", 422)["errors"][0]["allowed"]
    assert get("/api/v1/models/m/profile?from=2026-01-01T00:01:00Z&to=2026-01-02")["count"] == 300


def test_results_name_what_was_found_and_where_it_comes_from(world, get):
    world.add(range(10))
    reference = world.learn(range(10))
    world.add(range(10, 20), shift=3.0)
    world.judge(10)
    found = get("/api/v1/models/m/results?column=x&segment=")["items"]
    (x,) = found
    assert (x["decision"], x["window"], x["revision"], x["detector"]) == ("drift", "10m", 1, "psi")
    assert (x["window_start"], x["window_end"]) == ("2026-01-01T00:10:00.000Z", "2026-01-01T00:20:00.000Z")
    assert set(x["effect"]) == set(EFFECTS)
    assert x["effect"]["psi"] > 1
    assert (x["n"], x["m"], x["reference_hash"]) == (1_000, 1_000, reference.hash)
    assert x["moved"][0]["share"] != x["moved"][0]["reference_share"]
    assert get("/api/v1/models/m/results?segment=c%3Da&column=x")["items"][0]["segment"] == "c=a"


def test_results_are_filtered_and_revisions_hidden_unless_asked_for(world, get):
    world.add(range(10))
    world.learn(range(10))
    world.add(range(10, 40))
    for minute in (10, 20, 30):
        world.judge(minute)
    world.judge(20, revision=2)

    def ask(query):
        return [
            (r["window_start"][14:16], r["revision"])
            for r in get(f"/api/v1/models/m/results?{query}")["items"]
        ]

    base = "column=x&segment="
    assert ask(base) == [("30", 1), ("20", 2), ("10", 1)]
    assert ask(f"{base}&revision=all") == [("30", 1), ("20", 2), ("20", 1), ("10", 1)]
    assert ask(f"{base}&from=2026-01-01T00:20:00Z") == [("30", 1), ("20", 2)]
    assert ask(f"{base}&to={START_MS + 20 * MINUTE}") == [("10", 1)]
    assert ask(f"{base}&version=2") == ask(f"{base}&detector=other") == ask(f"{base}&window=1h") == []
    assert len(ask(f"{base}&version=1&detector=psi&window=10m")) == 3
    assert len(every_item(get, "/api/v1/models/m/results?segment=")) == 9


def test_pages_stay_put_while_rows_are_added(world, get):
    world.add(range(10))
    world.learn(range(10))
    world.add(range(10, 40))
    world.judge(10)
    world.judge(20)
    path = "/api/v1/models/m/results?segment=&limit=2"
    page = get(path)
    seen = [item["id"] for item in page["items"]]
    world.judge(30)
    while page["next_cursor"]:
        page = get(f"{path}&cursor={page['next_cursor']}")
        seen += [item["id"] for item in page["items"]]
    assert len(seen) == len(set(seen)) == 6


def test_models_come_in_pages(world, get):
    for name in ("b", "a", "d/e", "c"):
        world.add([0], model=name)
    assert [item["model"] for item in every_item(get, "/api/v1/models")] == ["a", "b", "c", "d/e"]
    assert get(f"/api/v1/models/d%2Fe/profile?{DAY}")["count"] == 100


def test_alerts_have_the_shape_that_everybody_is_told(world, get):
    made = world.alert()
    over = world.resolved_alert(100)
    assert get("/api/v1/alerts?state=open")["items"] == [document(made)]
    assert [item["id"] for item in get("/api/v1/alerts")["items"]] == [over.id, made.id]
    assert [item["id"] for item in get("/api/v1/alerts?state=resolved&model=churn")["items"]] == [over.id]
    assert get("/api/v1/alerts?model=other")["items"] == []
    assert [item["id"] for item in get("/api/v1/alerts?limit=1")["items"]] == [over.id]
    assert len(every_item(get, "/api/v1/alerts")) == 2
    assert set(AlertDocument.model_fields) == set(document(made))
    assert set(Finding.model_fields) == set(document(made)["findings"][0])


def test_an_alert_has_its_audit_trail_and_deliveries(world, get):
    made = world.alert()
    found = get(f"/api/v1/alerts/{made.id}")
    assert [(event["change"], event["actor"]) for event in found["events"]] == [("opened", "driftline")]
    (sent,) = found["deliveries"]
    assert (sent["receiver"], sent["state"], sent["attempts"]) == ("hook", "waiting", 0)


def test_people_acknowledge_and_resolve_alerts(world, client, get):
    made = world.alert()
    path = f"/api/v1/alerts/{made.id}"
    answer = client.post(f"{path}/acknowledge", json={"actor": "ann", "cause": "on it"})
    assert answer.status_code == 200
    assert answer.json()["state"] == "acknowledged"
    assert client.post(f"{path}/acknowledge").status_code == 200
    assert client.post(f"{path}/resolve").json()["state"] == "resolved"
    found = get(path)
    assert [(e["sequence"], e["change"], e["actor"]) for e in found["events"]] == [
        (1, "opened", "driftline"), (2, "acknowledged", "ann"), (3, "resolved", "api")
    ]  # fmt: skip
    assert found["events"][1]["cause"] == "on it"
    assert [delivery["sequence"] for delivery in found["deliveries"]] == [1, 2, 3]
    again = client.post(f"{path}/resolve")
    assert again.status_code == 409
    assert "resolved already" in again.json()["detail"]
    with reading(world.engine) as connection:
        assert len(connection.execute(select(outbox.c.id)).all()) == 3


NOT_MEANT = [{"actor": ""}, {"actor": "a\0b"}, {"actor": 3}, {"who": "ann"}, [], {"cause": "x" * 1_001}]


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_decisions_that_cannot_be_meant_change_nothing(world, client, get, action):
    made = world.alert()
    for body in NOT_MEANT:
        answer = client.post(f"/api/v1/alerts/{made.id}/{action}", json=body)
        assert answer.status_code == 422, body
        assert answer.json()["errors"][0]["where"].startswith("body"), body
        assert get(f"/api/v1/alerts/{made.id}")["state"] == "firing", body


def test_accounting_has_the_promised_names(world, get):
    world.add(range(3), dead=[("undecodable", b"{"), ("future", b"x")])
    (found,) = get("/api/v1/accounting")["items"]
    names = ("fetched", "counted", "late", "future", "dead_lettered", "duplicates", "next_offset")
    assert [found[name] for name in names] == [302, 300, 0, 0, 2, 0, 302]
    assert (found["topic"], found["partition"], found["stopped_reason"]) == ("pp", 0, None)
    assert found["watermark"] == "2026-01-01T00:01:00.000Z"
    with immediate(world.engine) as connection:
        connection.execute(update(partition_state).values(stopped_reason="offsets are gone"))
    assert get("/api/v1/accounting")["items"][0]["stopped_reason"] == "offsets are gone"


def test_accounting_comes_in_pages(world, get):
    for partition in range(1, 5):
        claim(
            world.engine, Place("pp", partition), kind="predictions", topic_id="", low=0, high=0,
            start_at_end=False, now_ms=NOW_MS,
        )  # fmt: skip
    assert [item["partition"] for item in every_item(get, "/api/v1/accounting")] == [0, 1, 2, 3, 4]
    assert get("/api/v1/accounting")["items"][4]["watermark"] is None


def test_dead_letters_show_what_came(world, get):
    text, binary, long = b'{"caf\xc3\xa9": ', b"\xff\xfe\x00", ("é" * 5_000).encode()
    world.add(
        [0], dead=[("undecodable", text), ("undecodable", binary), ("future", long), ("undecodable", b"")]
    )
    empty, third, second, first = get("/api/v1/dead-letters")["items"]
    assert (empty["value_text"], empty["value_base64"], empty["is_cut"]) == ("", "", False)
    assert (first["value_text"], base64.b64decode(first["value_base64"])) == (text.decode(), text)
    assert (second["value_text"], base64.b64decode(second["value_base64"])) == (None, binary)
    assert (third["is_cut"], third["value_bytes"], third["value_text"]) == (True, 10_000, "é" * 2_048)
    assert first["headers"] == [{"name": "h", "value_base64": "aGk="}, {"name": "none", "value_base64": ""}]
    whole = get(f"/api/v1/dead-letters/{third['id']}")
    assert (whole["is_cut"], whole["value_text"]) == (False, "é" * 5_000)
    assert [item["kind"] for item in get("/api/v1/dead-letters?kind=future")["items"]] == ["future"]
    assert get("/api/v1/dead-letters?topic=other")["items"] == []
    assert len(every_item(get, "/api/v1/dead-letters?topic=pp")) == 4


def test_references_tell_where_they_come_from_and_who_uses_them(world, get):
    first = world.learn(range(5))
    second = world.learn(range(3), version="2")
    assert [item["hash"] for item in every_item(get, "/api/v1/references")] == [second.hash, first.hash]
    found = get(f"/api/v1/references/{first.hash}")
    assert (found["rows"], found["metadata"], found["windows"]) == (500, {"source": "stream"}, 1)
    (use,) = found["used_by"]
    assert (use["model"], use["version"], use["revision"], use["promoted_by"]) == ("m", "1", 1, "ann")
    assert (found["from"], found["to"]) == ("2026-01-01T00:00:00.000Z", "2026-01-01T00:05:00.000Z")
    x = next(column for column in found["columns"] if column["name"] == "x")
    assert (x["count"], x["missing"], x["invalid"]) == (470, 20, 10)
    assert sum(bin_["reference_share"] for bin_ in x["bins"]) == pytest.approx(0.94)
    assert "c=a" in found["segments"]
