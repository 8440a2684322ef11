"""Dead letters in the API: found by what they are, and marked for a replay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from monitor.web.app import create_app
from tests.monitor.web_world import NOW_MS, World

PATH = "/api/v1/dead-letters"


@pytest.fixture
def client(database_url: str) -> Iterator[TestClient]:
    """A service with four letters, of which the last is not stored whole."""
    world = World(database_url)
    dead = [
        ("undecodable", b"{"),
        ("undecodable", b"junk"),
        ("future", b"x"),
        ("undecodable", b"y" * 1_100_000),
    ]
    world.add([0], dead=dead)
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made
    world.engine.dispose()


def listed(client: TestClient, query: str = "") -> list[dict[str, Any]]:
    """Letters, oldest first."""
    answer = client.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items[::-1]


def replay(client: TestClient, status: int = 200, **body: Any) -> Any:
    """Ask for a replay."""
    answer = client.post(f"{PATH}/replay", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_letters_say_how_far_they_have_come(client: TestClient) -> None:
    first = listed(client)[0]
    names = ("events", "status", "attempts", "replayed_at", "outcome", "relayed_at")
    assert [first[name] for name in names] == [1, "waiting", 0, None, None, None]
    assert client.get(f"{PATH}/{first['id']}").json()["status"] == "waiting"


def test_letters_are_filtered(client: TestClient) -> None:
    assert len(listed(client, f"reason=WHY&from={NOW_MS}&to={NOW_MS + 1}&status=waiting")) == 4
    for query in ("reason=w_y", "status=marked", f"from={NOW_MS + 1}", f"to={NOW_MS}"):
        assert listed(client, query) == []
    assert client.get(f"{PATH}?status=odd").status_code == 422


def test_letters_are_marked_by_what_they_are(client: TestClient) -> None:
    assert replay(client, dry_run=True) == {"marked": 3, "cut": 1, "dry_run": True}
    assert replay(client, kind="future") == {"marked": 1, "cut": 0, "dry_run": False}
    assert replay(client, kind="future")["marked"] == 0
    assert replay(client, **{"from": NOW_MS + 1})["marked"] == 0
    assert [one["kind"] for one in listed(client, "status=marked")] == ["future"]
    assert client.post(f"{PATH}/replay").json() == {"marked": 2, "cut": 1, "dry_run": False}


def test_letters_are_marked_by_their_ids(client: TestClient) -> None:
    first, second, _, cut = (one["id"] for one in listed(client))
    assert replay(client, ids=[first])["marked"] == 1
    detail = replay(client, 409, ids=[second, cut])["detail"]
    assert detail.endswith("cannot be replayed: only 1048576 of its 1100000 bytes are stored")
    assert replay(client, 409, ids=[999])["detail"] == "there is no dead letter 999"
    assert [one["status"] for one in listed(client)] == ["marked", "waiting", "waiting", "waiting"]
    for body in ({"ids": [0]}, {"idz": [1]}, {"state": "waiting"}, {"ids": list(range(1, 1_002))}):
        replay(client, 422, **body)
