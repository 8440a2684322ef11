"""A new version: what it is compared with, and which reference is offered to it."""

import pytest
from fastapi.testclient import TestClient

from detectors.profile import Profile, profile_batch
from detectors.reference import build
from monitor.references.lifecycle import keep
from monitor.store.engine import immediate
from monitor.web.app import create_app
from tests.monitor.web_world import MINUTE, NOW_MS, START_MS, World, batch

PATH = "/api/v1/models/m/versions/2/reference"


def stored(world, notes, seed, at_ms=NOW_MS + 1_000):
    slices: dict[int, Profile] = {}
    for minute in range(seed, seed + 5):
        slices |= profile_batch(batch(minute, shift=seed / 100), MINUTE)
    made = build(slices, slice_ms=MINUTE, window_ms=10 * MINUTE, segments=("c",))
    with immediate(world.engine) as connection:
        keep(connection, made, notes, at_ms)
    return made.hash


@pytest.fixture
def world(database_url):
    made = World(database_url)
    made.add(range(10), version="1")
    made.add(range(10), version="2")
    yield made
    made.engine.dispose()


@pytest.fixture
def client(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


def test_a_version_that_learns_from_its_own_events_needs_no_offer(client):
    found = client.get(PATH).json()
    assert (found["in_force"], found["candidates"]) == (None, [])
    assert found["words"] == "it is compared with its own events, once 1w of them are in"


def test_a_reference_made_since_training_began_is_offered_and_taken_from_the_next_window_on(world, client):
    old = stored(world, {"source": "file", "file": "old.parquet", "model": "m"}, 0, NOW_MS - 1_000)
    other = stored(world, {"source": "file", "file": "other.parquet", "model": "n"}, 10)
    elsewhere = stored(world, {"source": "stream", "model": "m", "version": "1"}, 20)
    new = stored(world, {"source": "file", "file": "new.parquet", "model": "m", "version": "2"}, 30)
    found = client.get(PATH, params={"since": NOW_MS}).json()
    assert [one["hash"] for one in found["candidates"]] == [new]
    assert {old, other, elsewhere}.isdisjoint(one["hash"] for one in found["candidates"])
    assert found["words"].endswith(f"; offered as its reference: {new[:12]}, of file new.parquet")
    taken = client.post(PATH, json={"hash": new[:12], "actor": "ann"})
    assert taken.status_code == 201
    assert (taken.json()["hash"], taken.json()["since"]) == (new, "2026-01-01T00:10:00.000Z")
    after = client.get(PATH, params={"since": NOW_MS}).json()
    assert (after["in_force"]["hash"], after["is_own"], after["candidates"]) == (new, True, [])
    assert after["words"] == "it is compared with its own file new.parquet"
    (pointer,) = client.get(f"/api/v1/references/{new}").json()["used_by"]
    assert (pointer["version"], pointer["promoted_by"]) == ("2", "ann")


def test_a_version_that_has_the_reference_of_those_before_it_is_told_how_to_make_its_own(world, client):
    shared = stored(world, {"source": "file", "file": "train.parquet", "model": "m", "version": "1"}, 0)
    client.post(PATH, json={"hash": shared})
    assert client.get(PATH).json()["words"] == (
        "it is compared with file train.parquet, which the versions before it had; a new one of its training "
        "data: driftline reference build --model m --version 2 --from TABLE --promote"
    )


def test_what_is_not_there_is_named(client):
    missing = client.post(PATH, json={"hash": "abcdef"})
    assert (missing.status_code, missing.json()["errors"][0]["where"]) == (422, "body.hash")
    assert "there is no reference abcdef" in missing.json()["detail"]
    unknown = client.get("/api/v1/models/m/versions/22/reference")
    assert unknown.status_code == 404
    assert "did you mean 2" in unknown.json()["detail"]
    assert client.post(PATH, json={"hash": "zzzz"}).status_code == 422


def test_the_instants_of_a_stretch_are_days(world, client):
    notes = {
        "source": "stream",
        "model": "m",
        "version": "2",
        "from_ms": START_MS,
        "to_ms": START_MS + 86_400_000,
    }
    client.post(PATH, json={"hash": stored(world, notes, 0)})
    assert client.get(PATH).json()["words"] == (
        "it is compared with its own events from 2026-01-01 to 2026-01-02"
    )
