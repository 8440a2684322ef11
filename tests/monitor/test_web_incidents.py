"""What people read and decide about incidents, silences, deliveries, deployments and training over HTTP."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from alerting.finding import Kind
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate
from monitor.store.tables import outbox
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from tests.alerting.factory import window
from tests.monitor.incident_world import HOUR_MS, World, missing
from tests.monitor.test_web_errors import problem
from tests.monitor.training_world import training


def client_of(world):
    app = create_app(world.configuration, world.engine, Telemetry(), world.clock)
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.fixture
def engine(sqlite_url):
    made = engines.create(sqlite_url)
    schema.upgrade(made)
    yield made
    made.dispose()


@pytest.fixture
def world(engine, sqlite_url):
    return World(engine, sqlite_url)


@pytest.fixture
def client(world):
    with client_of(world) as made:
        yield made


def test_an_incident_tells_its_story(world, client):
    alert = world.see(window(0, ["age", "score"]))
    world.see(window(0, [missing()], kind=Kind.QUALITY))
    (found,) = client.get("/api/v1/incidents?state=open").json()["items"]
    assert (found["id"], found["state"], found["alerts_total"]) == (alert.id, "firing", 2)
    assert found["causes"][0]["name"] == "age"
    detail = client.get(f"/api/v1/incidents/{alert.id}").json()
    assert [(event["change"], event["told"]) for event in detail["events"]] == [
        ("opened", ["hook"]),
        ("updated", ["hook"]),
    ]
    assert [one["receiver"] for one in detail["deliveries"]] == ["hook", "hook"]
    assert (detail["held"], detail["held_until"]) == ("", None)


def test_incidents_are_paged_and_filtered(world, client):
    for index in range(0, 50, 10):
        world.see(window(index, ["age"]), *(window(index + at) for at in (1, 2, 3)))
    world.see(window(60, ["age"], model="fraud"))
    first = client.get("/api/v1/incidents?limit=4").json()
    second = client.get("/api/v1/incidents", params={"limit": 4, "cursor": first["next_cursor"]}).json()
    assert (len(first["items"]), len(second["items"]), second["next_cursor"]) == (4, 2, None)
    assert len(client.get("/api/v1/incidents?model=fraud").json()["items"]) == 1
    assert len(client.get("/api/v1/incidents?state=resolved").json()["items"]) == 5


def test_decisions_are_in_the_audit_trail(world, client):
    alert = world.see(window(0, ["age"]))
    path = f"/api/v1/incidents/{alert.id}"
    assert client.post(f"{path}/acknowledge", json={"actor": "ada"}).json()["state"] == "acknowledged"
    assert client.post(f"{path}/comments", json={"actor": "ada", "text": "on it"}).status_code == 200
    silenced = client.post(f"{path}/silence", json={"actor": "ada", "for": "1h", "cause": "known"}).json()
    assert (silenced["held"], silenced["held_until"]) == (
        "silenced by ada: known",
        "2026-01-01T13:00:00.000Z",
    )
    done = client.post(f"{path}/resolve").json()
    assert [(event["change"], event["actor"]) for event in done["events"]] == [
        ("opened", "driftline"),
        ("acknowledged", "ada"),
        ("commented", "ada"),
        ("silenced", "ada"),
        ("resolved", "api"),
    ]
    assert "is over already" in problem(client.post(f"{path}/acknowledge"), 409)["detail"]


@pytest.mark.parametrize("act", ["acknowledge", "resolve", "silence", "comments"])
def test_decisions_about_nothing_are_refused(client, act):
    body = {"comments": {"text": "x"}}.get(act)
    assert (
        "there is no incident 'x'"
        in problem(client.post(f"/api/v1/incidents/x/{act}", json=body), 404)["detail"]
    )


@pytest.mark.parametrize(
    ("act", "body", "where"),
    [
        ("silence", {"for": "soon"}, "body.for"),
        ("comments", {"text": ""}, "body.text"),
        ("acknowledge", {"who": "ada"}, "body.who"),
    ],
)
def test_decisions_that_are_not_understood_name_what_is_wrong(world, client, act, body, where):
    alert = world.see(window(0, ["age"]))
    (mistake,) = problem(client.post(f"/api/v1/incidents/{alert.id}/{act}", json=body), 422)["errors"]
    assert mistake["where"] == where


def test_an_alert_is_silenced_with_its_incident(world, client):
    alert = world.see(window(0, ["age"]))
    answer = client.post(f"/api/v1/alerts/{alert.id}/silence", json={"for": "2h", "actor": "ada"})
    assert answer.json()["state"] == "firing"
    assert client.get(f"/api/v1/incidents/{alert.id}").json()["held"] == "silenced by ada"
    assert client.post(f"/api/v1/alerts/{alert.id}/silence").status_code == 200  # for an hour
    problem(client.post("/api/v1/alerts/x/silence", json={"for": "2h"}), 404)


def test_silences_are_made_listed_and_ended(world, client):
    made = client.post(
        "/api/v1/silences",
        json={"match": {"model": "chu*"}, "for": "1d", "actor": "ada", "comment": "moving"},
    )
    assert made.status_code == 201
    silence = made.json()
    assert (silence["match"], silence["is_active"]) == ({"model": ["chu*"]}, True)
    alert = world.see(window(0, ["age"]))
    assert world.events(alert.id) == [("opened", [])]
    assert [one["id"] for one in client.get("/api/v1/silences").json()["items"]] == [silence["id"]]
    ended = client.post(f"/api/v1/silences/{silence['id']}/end", json={"actor": "bob"}).json()
    assert (ended["is_active"], ended["ended_by"]) == (False, "bob")
    assert client.get("/api/v1/silences").json()["items"] == []
    assert len(client.get("/api/v1/silences?ended=true").json()["items"]) == 1
    assert world.reminders.sweep() == 1
    assert world.messages() == [("hook", "opened")]
    problem(client.post("/api/v1/silences/x/end"), 404)
    problem(client.post("/api/v1/silences", json={"for": "91d"}), 422)
    problem(client.post("/api/v1/silences", json={"for": "1d", "match": {"colour": "red"}}), 422)


def test_a_silence_may_begin_later(world, client):
    later = "2026-01-01T13:00:00Z"
    made = client.post("/api/v1/silences", json={"for": "1h", "from": later}).json()
    assert (made["is_active"], made["until"]) == (False, "2026-01-01T14:00:00.000Z")
    alert = world.see(window(0, ["age"]))
    assert world.events(alert.id) == [("opened", ["hook"])]


def test_dead_deliveries_are_shown_and_sent_again(world, client):
    world.see(window(0, ["age"]), window(1, ["score"]))
    with immediate(world.engine) as connection:
        connection.execute(update(outbox).values(state="dead", last_error="refused with 400", attempts=3))
    found = client.get("/api/v1/deliveries?state=dead&receiver=hook").json()["items"]
    assert [one["last_error"] for one in found] == ["refused with 400"] * 2
    one = client.post(f"/api/v1/deliveries/{found[0]['id']}/resend").json()
    assert (one["state"], one["attempts"]) == ("waiting", 0)
    assert client.post("/api/v1/deliveries/resend", json={"receiver": "hook"}).json() == {"waiting": 1}
    assert client.get("/api/v1/deliveries?state=dead").json()["items"] == []
    problem(client.post("/api/v1/deliveries/x/resend"), 404)
    assert (
        "did you mean hook?"
        in problem(client.post("/api/v1/deliveries/resend", json={"receiver": "hok"}), 404)["detail"]
    )
    with immediate(world.engine) as connection:
        connection.execute(update(outbox).values(state="delivered"))
    assert "is delivered" in problem(client.post(f"/api/v1/deliveries/{one['id']}/resend"), 409)["detail"]


def test_deployments_are_told_and_listed(client):
    body = {"model": "churn", "version": "2", "actor": "ci", "id": "build-7"}
    first = client.post("/api/v1/deployments", json=body)
    assert first.status_code == 201
    assert client.post("/api/v1/deployments", json=body).json() == first.json()
    (found,) = client.get("/api/v1/deployments?model=churn").json()["items"]
    assert (found["version"], found["source"], found["at"]) == ("2", "api", "2026-01-01T12:00:00.000Z")
    assert client.get("/api/v1/deployments?model=other").json()["items"] == []
    problem(client.post("/api/v1/deployments", json={"model": "churn"}), 422)


def test_webhooks_of_mlflow_need_a_secret(client):
    answer = client.post("/api/v1/hooks/mlflow", json={})
    assert "http.mlflow.secret_env" in problem(answer, 401)["detail"]
    too_large = client.post("/api/v1/hooks/mlflow", content=b"x" * 300_000)
    assert problem(too_large, 413)


@pytest.fixture
def trained(engine, sqlite_url):
    with training(engine, sqlite_url) as made:
        world = made(approval="manual")
        with client_of(world) as client:
            yield world, client


def test_people_decide_about_training(trained):
    world, client = trained
    alert = world.see(window(0, ["score"]))
    (found,) = client.get("/api/v1/retraining?state=proposed").json()["items"]
    assert (found["incident_id"], found["receiver"], found["request"]["model"]) == (
        alert.id,
        "train",
        "churn",
    )
    path = f"/api/v1/retraining/{found['id']}"
    assert client.post(f"{path}/approve", json={"actor": "ada"}).json()["state"] == "due"
    assert "is due" in problem(client.post(f"{path}/approve"), 409)["detail"]
    world.work()
    started = client.get(path).json()
    assert (started["state"], started["actor"]) == ("started", "ada")
    assert started["run_url"].startswith("http://127.0.0.1")
    assert "is started" in problem(client.post(f"{path}/reject"), 409)["detail"]
    said = client.post(f"{path}/report", json={"state": "succeeded", "url": "https://ci.example/1"}).json()
    assert (said["state"], said["run_url"]) == ("succeeded", "https://ci.example/1")
    assert "is succeeded" in problem(client.post(f"{path}/retry"), 409)["detail"]
    for act in ("approve", "reject", "retry"):
        problem(client.post(f"/api/v1/retraining/x/{act}"), 404)


def test_people_ask_for_training(trained):
    world, client = trained
    alert = world.see(window(0, [missing()], kind=Kind.QUALITY))
    body = {"incident": alert.id, "receiver": "train", "model": "churn", "actor": "ada"}
    asked = client.post("/api/v1/retraining", json=body)
    assert (asked.status_code, asked.json()["state"], asked.json()["trigger"]) == (201, "due", "person")
    assert "has asked train" in problem(client.post("/api/v1/retraining", json=body), 409)["detail"]
    problem(client.post("/api/v1/retraining", json={**body, "receiver": "hook"}), 409)
    problem(client.post("/api/v1/retraining", json={**body, "incident": "x"}), 404)
    world.work()
    world.clock.advance(HOUR_MS)
    other = world.see(window(40, ["score"]))
    refused = problem(client.post("/api/v1/retraining", json={**body, "incident": other.id}), 409)
    assert "still under way" in refused["detail"]


# --- pages --------------------------------------------------------------------------------------------------


def test_the_page_of_an_incident_tells_its_story(world, client):
    hostile = "<script>alert(1)</script>"
    alert = world.see(window(0, [hostile, "age", "score"]))
    world.see(window(0, [missing()], kind=Kind.QUALITY))
    client.post(f"/api/v1/incidents/{alert.id}/silence", json={"actor": "ada", "for": "1h", "cause": hostile})
    page = client.get(f"/incidents/{alert.id}")
    assert page.status_code == 200
    for said in (
        "firing",
        ">age</a>",
        "for 1h: &lt;script",
        "silenced by ada",
        "hook",
    ):
        assert said in page.text
    assert hostile not in page.text
    listed = client.get("/incidents").text
    assert f'href="/incidents/{alert.id}"' in listed
    assert hostile not in listed
    assert 'href="/incidents"' in client.get("/").text


def test_the_page_of_an_incident_leads_to_its_run(trained):
    world, client = trained
    alert = world.see(window(0, ["score"]))
    client.post(f"/api/v1/retraining/{world.row().id}/approve", json={"actor": "ada"})
    world.work()
    page = client.get(f"/incidents/{alert.id}").text
    assert f'href="{world.row().run_url}"' in page
    assert "started by train" in page
