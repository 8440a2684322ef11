"""Slashes in names, halves of characters, the end of time, states of later versions: all are answered."""

from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from monitor.store.engine import immediate
from monitor.store.tables import alert, incident
from monitor.web.sign_in.tokens import create
from tests.monitor.api_world import HOSTILE, OTHERS, ApiWorld
from tests.monitor.test_openapi import EVENTS_TOKEN, HOME, HTTP
from tests.monitor.test_web_errors import problem

HALF = '"\\ud800"'  # JSON may hold half of a surrogate pair, UTF-8 may not
JSON = {"content-type": "application/json"}


@pytest.fixture
def world(database_url):
    made = ApiWorld(database_url)
    yield made
    made.close()


@pytest.fixture
def client(world):
    with TestClient(world.app(), base_url="http://127.0.0.1") as made:
        yield made


def ids_of(world, model):
    return world.ids(incident.c.id, incident.c.model == model)


def test_hostile_requests_are_answered(world, client):
    """One world for all of them, as each takes seconds to fill."""
    _names_with_slashes(client)
    _halves_of_characters(world, client)
    _the_end_of_time(client)
    _truth_values_are_no_numbers(client)
    _all_methods_of_an_address(client)


def _names_with_slashes(client):
    model = f"/api/v1/models/{quote(HOSTILE, safe='')}"
    for rest in ("results", "profile", "performance", "performance/windows", "versions", "contract"):
        assert client.get(f"{model}/{rest}").status_code == 200, rest
    offered = client.get(f"{model}/versions/1/reference")
    assert (offered.status_code, offered.json()["model"]) == (200, HOSTILE)
    refused = client.post(f"{model}/versions/a%2Fb/reference", json={"hash": "abcd"})
    assert problem(refused, 404)["detail"].startswith("there is no version of that model 'a/b'")


def _halves_of_characters(world, client):
    id_, run = ids_of(world, OTHERS[0])[0], world.examples()["reject_training"]["id"]
    for path, body in (
        ("deployments", f'{{"model": {HALF}, "version": "1"}}'),
        ("deployments", f'{{"model": "m", "version": "1", "id": {HALF}}}'),
        (f"alerts/{id_}/acknowledge", f'{{"actor": {HALF}}}'),
        (f"incidents/{id_}/comments", f'{{"text": {HALF}}}'),
        (f"incidents/{id_}/silence", f'{{"cause": {HALF}}}'),
        ("silences", f'{{"for": "1h", "comment": {HALF}}}'),
        ("silences", f'{{"for": "1h", "match": {{"model": {HALF}}}}}'),
        ("deliveries/resend", f'{{"receiver": {HALF}}}'),
        (f"retraining/{run}/report", f'{{"state": "failed", "detail": {HALF}}}'),
        ("dead-letters/replay", f'{{"topic": {HALF}}}'),
        ("dead-letters/replay", f'{{"kind": {HALF}}}'),
        ("models/churn/versions/1/reference", f'{{"hash": "ab{HALF[1:-1]}cd"}}'),
        ("events", f'{{"model": {HALF}, "prediction": 1}}'),
    ):
        problem(client.post(f"/api/v1/{path}", content=body, headers=JSON), 422)
    said = problem(client.post("/api/v1/deployments", content=b'{"model": "\xff"}', headers=JSON), 400)
    assert said["detail"] == "the body is not JSON in UTF-8, or nested too deeply"
    problem(client.post("/api/v1/deployments", content=b"[" * 30_000, headers=JSON), 400)


def _the_end_of_time(client):
    for week in ("9999-12-31", "253402300798999"):
        problem(client.get(f"/api/v1/digest?week={week}"), 422)
    assert client.get("/api/v1/digest?week=9999-12-20").status_code == 200


def _truth_values_are_no_numbers(client):
    replay = "/api/v1/dead-letters/replay"
    for body in ({"dry_run": 0}, {"dry_run": "no"}, {"ids": ["1"]}, {"ids": [True]}, {"ids": [2**53]}):
        problem(client.post(replay, json=body), 422)
    assert client.post(replay, json={"dry_run": True, "ids": [1.0]}).status_code == 200
    at = {"model": "m", "version": "1", "at": 1_767_225_600_000.0}
    assert client.post("/api/v1/deployments", json=at).json()["at"] == "2026-01-01T00:00:00.000Z"


def _all_methods_of_an_address(client):
    for path, known in (
        ("silences", "GET, POST"),
        ("models/churn/versions/1/reference", "GET, POST"),
        ("dead-letters/replay", "POST"),
        ("models", "GET"),
    ):
        answer = client.put(f"/api/v1/{path}")
        assert answer.headers["allow"] == known
        assert problem(answer, 405)["detail"] == f"PUT does not work here (use {known})"


def test_what_cannot_be_read_keeps_nothing_else_from_being_listed(world, client):
    (lost,), (sound,) = ids_of(world, OTHERS[0]), ids_of(world, OTHERS[1])
    with immediate(world.engine) as connection:
        later = update(alert).where(alert.c.id == lost)
        connection.execute(later.values(state_bytes=b'{"format": 99, "alert": {}}'))
    for kind in ("incidents", "alerts"):
        found = client.get(f"/api/v1/{kind}").json()
        ids = [one["id"] for one in found["items"]]
        assert sound in ids
        assert lost not in ids
        (unreadable,) = found["unreadable"]
        assert (unreadable["id"], unreadable["model"], unreadable["state"]) == (lost, OTHERS[0], "firing")
        assert "format 99 (this version reads" in unreadable["why"]
        said = problem(client.get(f"/api/v1/{kind}/{lost}"), 409)["detail"]
        assert "cannot be read" in said
        for decision in ("acknowledge", "resolve", "silence"):
            refused = problem(client.post(f"/api/v1/{kind}/{lost}/{decision}"), 409)
            assert "cannot be read" in refused["detail"]
        pages = client.get(f"/api/v1/{kind}?limit=1").json()
        seen = [*pages["items"], *pages["unreadable"]]
        while pages["next_cursor"]:
            pages = client.get(f"/api/v1/{kind}?limit=1&cursor={pages['next_cursor']}").json()
            seen += [*pages["items"], *pages["unreadable"]]
        assert len({one["id"] for one in seen}) == len(seen) == len(found["items"]) + 1


def test_who_is_signed_in_promotes_references_under_their_own_name(sqlite_url, monkeypatch):
    monkeypatch.setenv(EVENTS_TOKEN, "t0ken")
    world = ApiWorld(sqlite_url, **HTTP)
    token = create(world.engine, "ci", "operator", None, "ann", world.clock.now_ms())[1]
    example = world.examples()["promote_reference"]
    with TestClient(world.app(), base_url=HOME, headers={"authorization": f"Bearer {token}"}) as client:
        body = {**example["body"], "actor": "somebody else"}
        assert client.post("/api/v1/models/churn/versions/2/reference", json=body).status_code == 201
        used = client.get(f"/api/v1/references/{body['hash']}").json()
    (of_two,) = [one for one in used["used_by"] if one["version"] == "2"][-1:]
    assert of_two["promoted_by"] == "token ci"
    world.close()
