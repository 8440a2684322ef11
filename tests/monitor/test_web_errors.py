"""Whatever is asked, the answer is a document that says what is wrong, where, and what is allowed."""

import json
import logging
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.clock import SystemClock
from monitor.store import engine as engines
from monitor.telemetry import Telemetry
from monitor.web import guard
from monitor.web.app import create_app
from monitor.web.paging import write_cursor
from schemas.errors import Unavailable
from tests.monitor.web_world import World, configuration

PATHS = (
    "/api/v1/models",
    "/api/v1/models/m/results",
    "/api/v1/models/m/profile",
    "/api/v1/models/m/performance",
    "/api/v1/models/m/performance/windows",
    "/api/v1/models/m/versions",
    "/api/v1/models/m/versions/1/reference",
    "/api/v1/models/m/contract",
    "/api/v1/alerts",
    "/api/v1/alerts/x",
    "/api/v1/incidents",
    "/api/v1/incidents/x",
    "/api/v1/silences",
    "/api/v1/deliveries",
    "/api/v1/deployments",
    "/api/v1/retraining",
    "/api/v1/retraining/x",
    "/api/v1/digest",
    "/api/v1/accounting",
    "/api/v1/dead-letters",
    "/api/v1/dead-letters/1",
    "/api/v1/references",
    "/api/v1/references/x",
    "/",
    "/incidents",
)


def client_of(world, **options):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock, **options)
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(f"sqlite:///{tmp_path_factory.mktemp('errors') / 'driftline.db'}")
    made.add(range(10))
    made.learn(range(10))
    made.add(range(10, 20), dead=[("undecodable", b"x")])
    made.judge(10)
    made.alert()
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def client(world):
    with client_of(world) as made:
        yield made


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status
    assert set(found) == {"type", "title", "status", "detail", "errors"}
    return found


@pytest.mark.parametrize(
    ("path", "where", "what", "allowed"),
    [
        (
            "/api/v1/alerts?stat=open",
            "query.stat",
            "did you mean state?",
            "(use cursor, limit, state, model)",
        ),
        ("/api/v1/models?limit=0", "query.limit", "greater than or equal to 1", None),
        ("/api/v1/models?limit=501", "query.limit", "less than or equal to 500", None),
        ("/api/v1/models?limit=many", "query.limit", "valid integer", None),
        ("/api/v1/alerts?state=loud", "query.state", "'loud' is not known", "'retracted'"),
        (
            "/api/v1/dead-letters?kind=odd",
            "query.kind",
            "'odd' is not known",
            "'undecodable', 'future', 'contract' or 'unpaired'",
        ),
        ("/api/v1/models/m/results?from=yesterday", "query.from", "is not an instant (use 2026-01-31", None),
        ("/api/v1/models/m/results?to=2026-01-01T00:00:00", "query.to", "offset from UTC", None),
        ("/api/v1/models/m/results?colum=x", "query.colum", "did you mean column?", "column, segment"),
        ("/api/v1/models/m/results?revision=2", "query.revision", "is not known", "'latest' or 'all'"),
        ("/api/v1/models/m/results?column=%00", "query.column", "NUL", None),
        ("/api/v1/models/m/profile?limit=3", "query.limit", "unknown parameter", "from, to"),
        ("/api/v1/models/m/profile?from=2026-01-02&to=2026-01-01", "query.from", "before", "2026-01-01"),
        ("/api/v1/models/m/profile?from=-99999999999999", "query.from", "before the year 1", None),
        ("/api/v1/models?cursor=junk", "query.cursor", "not a cursor of this list", "unchanged"),
        (f"/api/v1/alerts?cursor={write_cursor('models', 'm')}", "query.cursor", "not a cursor", "unchanged"),
        (f"/api/v1/alerts?cursor={write_cursor('alerts', 2**70, 'x')}", "query.cursor", "not a cursor", "un"),
        (f"/api/v1/models?cursor={write_cursor('models', chr(0))}", "query.cursor", "not a cursor", "un"),
        ("/api/v1/dead-letters/99999999999999999999", "path.id", "less than or equal", None),
        ("/api/v1/alerts/x?full=1", "query.full", "unknown parameter", "no parameters"),
        ("/api/v1/digest?week=last", "query.week", "is not an instant (use 2026-01-31", None),
        ("/api/v1/digest?weak=2026-01-01", "query.weak", "did you mean week?", "(use week)"),
        ("/?page=2", "query.page", "unknown parameter", "cursor"),
    ],
)
def test_what_cannot_be_meant_is_named(client, path, where, what, allowed):
    (mistake,) = problem(client.get(path), 422)["errors"]
    assert mistake["where"] == where
    assert what in mistake["what"]
    assert allowed is None or allowed in mistake["allowed"]


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/api/v1/models/n/results", "there is no model 'n'"),
        ("/api/v1/models/n/profile", "there is no model 'n'"),
        ("/api/v1/models/m/profile?column=scor", "there is no column 'scor'; did you mean score?"),
        ("/api/v1/models/m/profile?segment=c%3Dz", "there is no segment 'c=z'"),
        ("/api/v1/alerts/x", "there is no alert 'x'"),
        ("/api/v1/incidents/x", "there is no incident 'x'"),
        ("/incidents/x", "there is no incident 'x'"),
        ("/api/v1/retraining/x", "there is no request for training 'x'"),
        ("/api/v1/references/x", "there is no reference 'x'"),
        ("/api/v1/digest", "no week is finished yet"),
        ("/api/v1/dead-letters/999", "there is no dead letter '999'"),
        ("/api/v1/nothing", "there is nothing at '/api/v1/nothing'"),
        ("/api/v1/dead-letters/none", "there is nothing at '/api/v1/dead-letters/none'"),
        ("/api/v1/models/", "there is nothing at"),
        ("/docs", "there is nothing at"),
    ],
)
def test_what_does_not_exist_is_named(client, path, detail):
    assert detail in problem(client.get(path), 404)["detail"]


def test_other_methods_are_refused_with_those_that_work(client):
    answer = client.post("/api/v1/models")
    assert "use GET" in problem(answer, 405)["detail"]
    assert answer.headers["allow"] == "GET"
    assert "use POST" in problem(client.get("/api/v1/alerts/x/resolve"), 405)["detail"]


def test_a_plus_that_was_not_escaped_is_understood(client):
    answer = client.get("/api/v1/models/m/profile?from=2026-01-01T01:00:00+01:00&to=2026-01-01T00:05:00Z")
    assert answer.json()["from"] == "2026-01-01T00:00:00.000Z"
    assert answer.json()["count"] == 500


words = st.sampled_from(
    ["from", "to", "column", "segment", "version", "cursor", "limit", "state", "kind", "revision"]
)
values = st.one_of(
    st.text(max_size=40),
    st.integers().map(str),
    st.sampled_from(
        ["2026-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "latest", "m", "c=a"]
    ),
    st.lists(st.one_of(st.text(max_size=8), st.integers()), max_size=3).map(
        lambda key: write_cursor("results", *key)
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    path=st.sampled_from(PATHS),
    query=st.dictionaries(st.one_of(words, st.text(max_size=8)), values, max_size=4),
)
def test_no_question_makes_it_fail(client, path, query):
    answer = client.get(path, params=query)
    assert answer.status_code in {200, 404, 422}, answer.text
    if answer.status_code != 200:
        problem(answer, answer.status_code)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    name=st.text(min_size=1, max_size=20), body=st.one_of(st.binary(max_size=60), st.text().map(str.encode))
)
def test_no_name_and_no_body_makes_it_fail(client, name, body):
    part = quote(name, safe="")
    for path in (f"/api/v1/models/{part}/results", f"/api/v1/alerts/{part}", f"/api/v1/references/{part}"):
        assert client.get(path).status_code in {200, 404, 422}
    answer = client.post(
        f"/api/v1/alerts/{part}/resolve", content=body, headers={"content-type": "application/json"}
    )
    problem(answer, answer.status_code)
    assert answer.status_code in {400, 404, 405, 422}


@pytest.fixture
def unreachable(tmp_path):
    settings_ = configuration("postgresql+psycopg://ann:hunter2@127.0.0.1:1/x")
    engine = engines.create("postgresql+psycopg://ann:hunter2@127.0.0.1:1/x", patience_s=1)
    app = create_app(settings_, engine, Telemetry(), SystemClock())
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client
    engine.dispose()


@pytest.mark.parametrize("path", PATHS)
def test_a_database_that_is_away_is_said_so(unreachable, path):
    answer = unreachable.get(path)
    found = problem(answer, 503)
    assert "127.0.0.1:1" in found["detail"]
    assert "hunter2" not in answer.text
    assert answer.headers["retry-after"] == "5"


def test_metrics_and_health_work_without_a_database(unreachable):
    assert unreachable.get("/livez").json() == {"status": "alive"}
    ready = unreachable.get("/readyz")
    assert ready.status_code == 503
    assert "127.0.0.1:1" in ready.json()["reasons"][0]
    metrics = unreachable.get("/metrics")
    assert metrics.status_code == 200
    assert "driftline_state_up 0.0" in metrics.text
    assert "driftline_build_info{" in metrics.text
    assert "driftline_alerts_open " not in metrics.text.replace("# HELP driftline_alerts_open ", "").replace(
        "# TYPE driftline_alerts_open ", ""
    )


def test_readiness_asks_the_roles(world):
    with client_of(world, readiness=lambda: ["no partition is assigned yet"]) as client:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "reasons": ["no partition is assigned yet"]}
    with client_of(world) as client:
        assert client.get("/readyz").json() == {"status": "ready", "reasons": []}


def test_a_database_without_tables_is_not_ready(world, tmp_path):
    engine = engines.create(f"sqlite:///{tmp_path / 'empty.db'}")
    app = create_app(world.configuration, engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert "no Driftline tables yet" in client.get("/readyz").json()["reasons"][0]
        assert client.get("/api/v1/models").status_code in {500, 503}
    engine.dispose()


def test_faults_of_ours_are_answered_without_a_traceback(world, monkeypatch, caplog):
    def fail(*_args):
        msg = "secret detail"
        raise RuntimeError(msg)

    monkeypatch.setattr("monitor.web.api.models.models", fail)
    with client_of(world) as client, caplog.at_level(logging.ERROR):
        answer = client.get("/api/v1/models")
    problem(answer, 500)
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret detail" in caplog.text


def test_a_lock_that_is_held_too_long_answers_503(world, monkeypatch):
    def fail(*_args):
        msg = "database sqlite:///x.db: locked"
        raise Unavailable(msg)

    monkeypatch.setattr("monitor.web.api.models.models", fail)
    with client_of(world) as client:
        assert "locked" in problem(client.get("/api/v1/models"), 503)["detail"]


@pytest.mark.parametrize("path", [*PATHS, "/livez", "/metrics", "/nothing", "/static/0/icon.svg"])
def test_every_answer_has_security_headers(client, path):
    headers = client.get(path).headers
    for name, value in guard.HEADERS.items():
        assert headers[name] == value
    assert "server" not in headers


def test_only_local_names_are_answered_on_a_loopback_address(world):
    for host, status in (("localhost:8420", 200), ("[::1]:8420", 200), ("evil.example", 421), ("", 421)):
        with client_of(world) as client:
            assert client.get("/livez", headers={"host": host}).status_code == status
    beyond = {"host": "0.0.0.0", "allow_anonymous": True}  # noqa: S104 - never listened on
    world.configuration = configuration(http=beyond)
    with client_of(world) as client:
        assert client.get("/livez", headers={"host": "drift.example.org"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1"}, 404),
        ({"content-length": "70000"}, 413),
        ({"content-length": "many"}, 413),
        ({"transfer-encoding": "chunked"}, 411),
    ],
)
def test_posts_from_elsewhere_and_large_ones_are_refused(client, headers, status):
    problem(client.post("/api/v1/alerts/x/resolve", headers=headers), status)


def test_other_roles_serve_health_and_metrics_only(world):
    with client_of(world, api=False) as client:
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
        metrics = client.get("/metrics").text
        assert "driftline_commit_seconds" in metrics
        assert "driftline_watermark" not in metrics
        for path in (*PATHS, "/api/v1/openapi.json"):
            problem(client.get(path), 404)


def test_the_description_of_the_api_is_complete(client):
    document = client.get("/api/v1/openapi.json").json()
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/")
    }
    assert {path.removeprefix("/api/v1") for _, path in operations} == {
        "/models",
        "/models/{model}/results",
        "/models/{model}/profile",
        "/models/{model}/performance",
        "/models/{model}/performance/windows",
        "/models/{model}/versions",
        "/models/{model}/versions/{version}/reference",
        "/models/{model}/contract",
        "/models/{model}/versions/compare",
        "/models/{model}/fairness",
        "/alerts",
        "/alerts/{id}",
        "/alerts/{id}/acknowledge",
        "/alerts/{id}/resolve",
        "/alerts/{id}/silence",
        "/incidents",
        "/incidents/{id}",
        "/incidents/{id}/acknowledge",
        "/incidents/{id}/comments",
        "/incidents/{id}/resolve",
        "/incidents/{id}/silence",
        "/silences",
        "/silences/{id}/end",
        "/deliveries",
        "/deliveries/resend",
        "/deliveries/{id}/resend",
        "/deployments",
        "/hooks/mlflow",
        "/retraining",
        "/retraining/{id}",
        "/retraining/{id}/approve",
        "/retraining/{id}/reject",
        "/retraining/{id}/report",
        "/retraining/{id}/retry",
        "/accounting",
        "/budget",
        "/digest",
        "/dead-letters",
        "/dead-letters/{id}",
        "/dead-letters/replay",
        "/references",
        "/references/{hash}",
        "/events",
    }
    for operation in operations.values():
        assert operation["summary"]
        done = operation["responses"].get("200") or operation["responses"]["201"]
        assert "$ref" in done["content"]["application/json"]["schema"]
        for status in ("422", "503"):
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
        assert all(parameter["description"] for parameter in operation.get("parameters", []))
    assert "HTTPValidationError" not in json.dumps(document)
    assert client.get("/api/v1/openapi.json").json() == document
