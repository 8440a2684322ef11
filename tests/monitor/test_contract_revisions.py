"""What windows were judged by is remembered: a revision for each change of the contract, and what changed."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from monitor import cli
from monitor.contracts.contract import Contract
from monitor.contracts.revisions import note, revisions
from monitor.store.engine import reading
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from tests.monitor.test_contracts_judged import Contracted

FIRST = Contract({"age": {"min": 0, "max": 120}}, task="regression")
WIDER = Contract({"age": {"min": 0, "max": 130}, "note": {"required": False}}, task="regression")
NARROWER = Contract({"age": {"min": 18, "max": 130}, "note": {"required": False}}, task="regression")


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def world(database_url: str):
    made = Contracted(database_url, columns={"age": {"min": 0, "max": 120}})
    yield made
    made.close()


def numbers(engine: Engine, model: str = "m") -> list[int]:
    with reading(engine) as connection:
        return [one.revision for one in revisions(connection, model, None, 10)]


def test_a_revision_is_made_for_every_change_and_says_whether_it_breaks(world: Contracted) -> None:
    assert note(world.engine, "m", Contract({}), 1) is None
    made = [note(world.engine, "m", one, at) for at, one in enumerate((FIRST, FIRST, WIDER, NARROWER, FIRST))]
    assert [one and (one.revision, one.since_ms, one.is_compatible) for one in made] == [
        (1, 0, True), None, (2, 2, True), (3, 3, False), (4, 4, False),
    ]  # fmt: skip
    with reading(world.engine) as connection:
        read = revisions(connection, "m", None, 10)
        assert read == [one for one in reversed(made) if one]
        assert revisions(connection, "m", 3, 1) == [made[2]]
    assert [(c.place, c.breaking) for c in read[1].changes] == [("columns.age.min", True)]


def test_processes_that_start_together_note_a_change_once(world: Contracted) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda at: note(world.engine, "m", FIRST, at), range(8)))
    assert sum(one is not None for one in made) == 1
    assert numbers(world.engine) == [1]


def test_the_service_notes_what_it_judges_by(world: Contracted) -> None:
    world.emit(0, 80)
    assert numbers(world.engine, "churn") == []
    world.judge.sweep()
    world.judge.sweep()
    assert numbers(world.engine, "churn") == [1]
    world.configure({"age": {"min": 0, "max": 100}})
    world.emit(80, 20)
    world.judge.sweep()
    assert numbers(world.engine, "churn") == [2, 1]


def test_revisions_are_listed_by_pages(world: Contracted) -> None:
    for at, one in enumerate((FIRST, WIDER, NARROWER)):
        note(world.engine, "m", one, at)
    app = create_app(world.configuration, world.engine, Telemetry(), world.clock)
    client = TestClient(app, base_url="http://127.0.0.1")
    pages: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        after = {"cursor": cursor} if cursor else {}
        answer = client.get("/api/v1/models/m/contract", params={"limit": 2, **after}).json()
        pages += answer["items"]
        cursor = answer["next_cursor"]
    assert [(one["revision"], one["compatible"]) for one in pages] == [(3, False), (2, True), (1, True)]
    assert pages[0]["changes"] == [{"place": "columns.age.min", "breaking": True, "summary": "0 → 18"}]
    assert pages[2]["settings"] == FIRST.as_settings()
    assert pages[2]["fingerprint"] == FIRST.fingerprint
    assert client.get("/api/v1/models/x/contract").json() == {"items": [], "next_cursor": None}


def test_the_command_lists_them(
    world: Contracted, tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for at, one in enumerate((FIRST, NARROWER)):
        note(world.engine, "m", one, at * 86_400_000)
    path = tmp_path / "driftline.yaml"
    path.write_text(
        f"kafka: {{bootstrap_servers: '127.0.0.1:9'}}\ndatabase_url: {json.dumps(database_url)}\n"
        "streams: [{topic: pp, kind: predictions}]\n"
    )
    assert cli.run(["contract", "log", "-c", str(path), "m"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (f"revision 2  since 1970-01-02T00:00:00.000Z  {NARROWER.fingerprint[:12]}  breaking")
    assert lines[1] == "  breaking  columns.age.min: 0 → 18"
    assert lines[-1] == f"revision 1  since 1970-01-01T00:00:00.000Z  {FIRST.fingerprint[:12]}"
    assert cli.run(["contract", "log", "-c", str(path), "m", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["revision"] for one in found["revisions"]] == [2, 1]
    assert cli.run(["contract", "log", "-c", str(path), "x"]) == 0
    assert "no window of x was judged by a contract" in capsys.readouterr().err
