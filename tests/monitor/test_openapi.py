"""The API is what its OpenAPI document promises: schemathesis asks everything that the document says."""

import json
import re

import pytest
import schemathesis
from fastapi.testclient import TestClient

from monitor.clock import SystemClock
from monitor.store import engine as engines
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from monitor.web.sign_in.tokens import create
from tests.monitor.api_world import ApiWorld
from tests.monitor.openapi_run import DOCUMENT, document_of, explore
from tests.monitor.test_deployments import signed
from tests.monitor.web_world import configuration

HOME = "https://drift.example.org"
EVENTS_TOKEN = "DRIFTLINE_EVENTS_TOKEN"
HTTP = {
    "public_url": HOME,
    "events": {"predictions": "pp", "labels": "ll", "token_env": EVENTS_TOKEN},
    "sign_in": {"type": "proxy", "trusted": ["10.0.0.0/8"], "roles": {"admin": ["platform"]}},
}
JSON = "application/json"
MLFLOW = "POST /api/v1/hooks/mlflow"  # only what MLflow has signed is answered with 200


@pytest.fixture
def world(sqlite_url, monkeypatch):
    monkeypatch.setenv("MLFLOW_SECRET", "s3cret")
    made = ApiWorld(sqlite_url, mlflow={"secret_env": "MLFLOW_SECRET"})
    yield made
    made.close()


@pytest.fixture
def signed_in(sqlite_url, monkeypatch):
    monkeypatch.setenv(EVENTS_TOKEN, "t0ken")
    made = ApiWorld(sqlite_url, **HTTP)
    yield made
    made.close()


def unanswered(report):
    """Operations that never succeeded, without those that cannot."""
    return [
        label
        for label, answers in report.answers.items()
        if not any(status < 300 for status in answers) and label != MLFLOW
    ]


def operations(document):
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def expected_security(path):
    if not path.startswith("/api/"):
        return [{}]
    names = {"/api/v1/events": "eventsToken", "/api/v1/hooks/mlflow": "mlflowSignature"}
    return [{names.get(path, "token"): []}]


@pytest.mark.timeout(400)
def test_every_operation_keeps_its_promises(world):
    app = world.app()
    report = explore(app, world.examples(), phases=("examples", "coverage"), max_examples=1)
    assert "\n".join(report.broken) == ""
    document = document_of(app, "http://127.0.0.1", {})
    assert set(report.answers) == {f"{method.upper()} {path}" for path, method, _ in operations(document)}
    assert unanswered(report) == []
    assert report.calls > 2_000
    operation = schemathesis.openapi.from_dict(document)["/api/v1/hooks/mlflow"]["POST"]
    text = json.dumps(
        document["paths"]["/api/v1/hooks/mlflow"]["post"]["requestBody"]["content"][JSON]["example"]
    )
    with TestClient(app, base_url="http://127.0.0.1") as client:
        headers = {"content-type": JSON, **signed(text.encode(), at_ms=world.clock.now_ms())}
        answer = client.post("/api/v1/hooks/mlflow", content=text, headers=headers)
    assert answer.json() == {"deployment": "mlflow-m1"}
    operation.validate_response(answer)


@pytest.mark.acceptance
def test_every_operation_succeeds_on_postgresql(postgres_url):
    made = ApiWorld(postgres_url)
    app = made.app()
    report = explore(app, made.examples(), phases=("examples",), max_examples=1)
    assert "\n".join(report.broken) == ""
    assert unanswered(report) == []
    made.close()


@pytest.mark.full
@pytest.mark.timeout(1_800)
def test_a_long_search_finds_no_broken_promise(database_url):
    world = ApiWorld(database_url)
    app = world.app()
    phases = ("examples", "coverage", "fuzzing", "stateful")
    report = explore(app, world.examples(), phases=phases, max_examples=100)
    assert "\n".join(report.broken) == ""
    assert unanswered(report) == []
    world.close()


def test_no_operation_answers_those_who_are_not_signed_in(signed_in):
    token = create(signed_in.engine, "ci", "admin", None, "ann", signed_in.clock.now_ms())[1]
    app = signed_in.app()

    async def patient(scope, receive, send):
        signed_in.clock.advance(5_000)  # else those who try wrong tokens would have to wait
        await app(scope, receive, send)

    report = explore(
        patient,
        signed_in.examples(),
        phases=("examples",),
        max_examples=1,
        base_url=HOME,
        headers={"authorization": f"Bearer {token}"},
        auth={"openapi": {"token": {"bearer": token}, "eventsToken": {"bearer": "t0ken"}}},
    )
    assert "\n".join(report.broken) == ""
    assert unanswered(report) == []
    with TestClient(app, base_url=HOME) as client:
        document = client.get(DOCUMENT, headers={"authorization": f"Bearer {token}"}).json()
        for path, method, operation in operations(document):
            answer = client.request(method, path.replace("{id}", "1"), json={})
            assert (answer.status_code == 401) == path.startswith("/api/"), path
            assert operation["security"] == expected_security(path)


def test_the_document_can_be_read_without_the_code(tmp_path):
    engine = engines.create(f"sqlite:///{tmp_path / 'none.db'}")
    app = create_app(configuration(), engine, Telemetry(), SystemClock())
    document = document_of(app, "http://127.0.0.1", {})
    assert document == document_of(app, "http://127.0.0.1", {})
    found = operations(document)
    ids = [operation["operationId"] for _, _, operation in found]
    assert len(set(ids)) == len(ids)
    assert not [id_ for id_ in ids if "api_v1" in id_]
    assert {tag["name"] for tag in document["tags"]} == {tag for _, _, one in found for tag in one["tags"]}
    assert all(tag["description"] for tag in document["tags"])
    assert "next_cursor" in document["info"]["description"]
    for path, method, operation in found:
        assert operation["summary"], path
        assert operation["description"], path
        assert operation["security"][0] == ({"mlflowSignature": []} if "mlflow" in path else {}), path
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (path, parameter["name"])
            assert {"type": "null"} not in parameter["schema"].get("anyOf", ()), (path, parameter["name"])
        known = set(operation["responses"])
        if path.startswith("/api/"):
            assert {"401", "403", "421", "422", "429", "500", "503"} <= known, path
            assert ("404" in known) >= ("{" in path), path
            assert (method == "post") == ({"400", "411", "413"} <= known), path
            for status in known - {"200", "201"}:
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", json.dumps(document)))
    assert addresses == set()
    engine.dispose()
