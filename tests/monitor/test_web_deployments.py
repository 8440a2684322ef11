"""Deployments and silences that could not mean what they say are refused, and identities never collide."""

import pytest

from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from monitor.store.silences import active
from tests.monitor.incident_world import World
from tests.monitor.test_web_errors import problem
from tests.monitor.test_web_incidents import client_of


@pytest.fixture
def world(sqlite_url):
    engine = engines.create(sqlite_url)
    schema.upgrade(engine)
    yield World(engine, sqlite_url, after_deployment="30m")
    engine.dispose()


@pytest.fixture
def client(world):
    with client_of(world) as made:
        yield made


def test_an_id_of_another_deployment_is_not_taken_for_a_repetition(client):
    body = {"model": "churn", "version": "2", "id": "build-7"}
    assert client.post("/api/v1/deployments", json=body).status_code == 201
    said = problem(client.post("/api/v1/deployments", json={**body, "model": "price"}), 409)["detail"]
    assert (
        said == "'build-7' is the id of version '2' of model 'churn' (give each deployment an id of its own)"
    )
    assert client.post("/api/v1/deployments", json=body).status_code == 201
    assert len(client.get("/api/v1/deployments").json()["items"]) == 1


def test_long_ids_that_begin_alike_silence_each_model(world, client):
    for number, model in enumerate(["churn", "price"]):
        body = {"model": model, "version": "2", "id": f"{'runs/' * 12}{number}"}
        assert client.post("/api/v1/deployments", json=body).status_code == 201
    with reading(world.engine) as connection:
        silenced = [one.match.model for one in active(connection, world.clock.now_ms())]
    assert sorted(silenced) == [("churn",), ("price",)]


def test_a_silence_that_would_be_over_already_is_refused(client):
    body = {"for": "1h", "from": "2020-01-01T00:00:00Z"}
    detail = problem(client.post("/api/v1/silences", json=body), 422)["detail"]
    assert detail == "the silence would be over already (from and for have to reach beyond now)"
    assert not [
        one for one in client.get("/api/v1/silences?ended=true").json()["items"] if one["source"] == "person"
    ]
