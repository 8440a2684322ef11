"""``check --live`` tries what the configuration names, and says of each thing whether it is there."""

import http.server
import json
import logging
import threading
import uuid

import pytest

from monitor import cli, reachable
from monitor.store import schema
from monitor.store.engine import create
from tests.kit.otlp import otlp_receiver
from tests.kit.ports import free_port
from tests.monitor.registry_world import fake_registry
from tests.monitor.sign_in.provider_server import Provider, ProviderServer

SECRET = "whsec_" + "k" * 32


class Server(http.server.ThreadingHTTPServer):
    """Keeps the messages that came."""

    def __init__(self, came):
        super().__init__(("127.0.0.1", 0), Answer)
        self.came = came


class Answer(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(405)
        self.end_headers()

    def do_POST(self):
        assert isinstance(self.server, Server)
        self.server.came.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """Stay quiet."""


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def came():
    return []


@pytest.fixture
def hook(came):
    server = Server(came)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("HOOK", SECRET)

    def run(kafka, url, hook, options="{}", more=(), topic="live-none"):
        file = tmp_path / "driftline.yaml"
        file.write_text(f"""\
kafka: {{bootstrap_servers: "{kafka}", options: {options}}}
database_url: "{url}"
streams: [{{topic: {topic}, kind: predictions}}]
topics: {{control: live-control}}
receivers:
  hook: {{type: webhook, url: "{hook}", secret_env: HOOK, allow_private: true, timeout_s: 20}}
""")
        code = cli.run(["check", "--live", "--json", "-c", str(file), *more])
        out, err = capfd.readouterr()
        live = {item["what"]: item for item in json.loads(out)["live"]} if out else {}
        return code, live, err

    return run


@pytest.mark.acceptance
def test_everything_is_there(run, kafka, hook, came, database_url):
    topic = kafka.create_topic(f"live-{uuid.uuid4().hex}", 3)
    engine = create(database_url)
    schema.upgrade(engine)
    engine.dispose()
    code, live, _ = run(kafka.bootstrap, database_url, hook, topic=topic)
    assert {what: item["detail"] for what, item in live.items()} == {
        "kafka": kafka.bootstrap,
        f"topic {topic}": "3 partitions",
        "topic live-control": "does not exist yet; can be created",
        "database": live["database"]["detail"],
        "receiver hook": "answers with 405; a test message was sent",
    }
    (message,) = came
    assert (message["type"], message["data"]["model"]) == ("driftline.alert.resolved", "driftline-test")
    assert "a test of the receiver hook" in message["data"]["summary"]
    assert live["database"]["detail"].endswith(f"revision {schema.head()}")
    assert code == 0


@pytest.mark.acceptance
def test_a_topic_that_is_missing(run, kafka, hook, came, sqlite_url):
    code, live, _ = run(kafka.bootstrap, sqlite_url, hook, more=["--no-messages"])
    assert (came, live["receiver hook"]["detail"]) == ([], "answers with 405")
    missing = live["topic live-none"]
    assert (missing["reachable"], missing["detail"]) == (False, "does not exist")
    assert code == 3


@pytest.mark.acceptance
def test_a_database_without_tables(run, kafka, hook, bare_database_url):
    code, live, _ = run(kafka.bootstrap, bare_database_url, hook)
    assert "run: driftline db upgrade" in live["database"]["detail"]
    assert code == 3


def test_nothing_is_there(run, bare_sqlite_url, monkeypatch):
    monkeypatch.setattr("monitor.reachable_kafka.TIMEOUT_S", 4.0)
    port = free_port()
    code, live, err = run(f"127.0.0.1:{port}", bare_sqlite_url, f"http://127.0.0.1:{free_port()}/hook")
    assert {what: item["reachable"] for what, item in live.items()} == {
        "kafka": False,
        "database": False,
        "receiver hook": False,
    }
    assert f"127.0.0.1:{port}" in live["kafka"]["detail"]
    assert "refused" in live["kafka"]["detail"]
    assert err == ""
    assert code == 3


@pytest.fixture
def rest(monkeypatch):
    """What is tried beside Kafka, database and receivers, all of it there."""
    monkeypatch.setenv("REGISTRY_PASSWORD", "gehe1m")
    monkeypatch.setenv("OIDC_SECRET", "gehe1m")
    monkeypatch.setenv("SPANS", "authorization=Bearer gehe1m")
    provider = Provider(lambda: 1_767_225_600)
    server = ProviderServer(provider)
    with fake_registry() as registry, otlp_receiver() as spans:
        registry.login = "drift:gehe1m"
        yield registry, provider, spans
    server.stop()


@pytest.fixture
def try_rest(tmp_path, sqlite_url, kafka, capfd):
    def try_rest(registry, provider, spans):
        file = tmp_path / "driftline.yaml"
        file.write_text(f"""\
kafka: {{bootstrap_servers: "{kafka.bootstrap}"}}
database_url: "{sqlite_url}"
streams: [{{topic: p, kind: labels, format: registry}}]
registry: {{url: "{registry}", username: drift, password_env: REGISTRY_PASSWORD}}
http:
  public_url: http://127.0.0.1:8420
  sign_in:
    {{type: oidc, issuer: "{provider}", client_id: a, client_secret_env: OIDC_SECRET, roles: {{viewer: [b]}}}}
tracing: {{endpoint: "{spans}", headers_env: SPANS}}
""")
        cli.run(["check", "--live", "--json", "-c", str(file)])
        out, err = capfd.readouterr()
        assert "gehe1m" not in out + err
        found = {item["what"]: item for item in json.loads(out)["live"]}
        return [found[what] for what in ("schema registry", "sign-in", "tracing")], err

    return try_rest


@pytest.mark.acceptance
def test_the_rest_is_there(rest, try_rest):
    registry, provider, spans = rest
    found, _ = try_rest(registry.url, provider.url, spans.address)
    assert [(item["reachable"], item["detail"]) for item in found] == [
        (True, f"{registry.url} answers"),
        (True, f"{provider.url}: 2 keys"),
        (True, f"{spans.address}/v1/traces takes spans"),
    ]
    assert spans.headers[0]["authorization"] == "Bearer gehe1m"
    assert spans.spans == []


@pytest.mark.acceptance
def test_the_rest_is_away(rest, try_rest):
    away = f"http://127.0.0.1:{free_port()}"
    found, err = try_rest(away, away, away)
    assert [item["reachable"] for item in found] == [False] * 3
    assert [item["detail"] for item in found] == [
        "no answer (ConnectError)",
        "the provider cannot be reached: ConnectError (see http.sign_in.issuer)",
        f"{away}/v1/traces takes no spans: Connection refused",
    ]
    assert err == ""  # nothing is said twice


@pytest.mark.acceptance
def test_tracing_without_its_packages(rest, try_rest, monkeypatch):
    monkeypatch.setattr("monitor.config.tracing.find_spec", lambda _: None)
    registry, provider, spans = rest
    found, _ = try_rest(registry.url, provider.url, spans.address)
    assert (found[2]["reachable"], "install driftline[otel]" in found[2]["detail"]) == (False, True)


@pytest.mark.acceptance
def test_the_rest_refuses(rest, try_rest):
    registry, provider, _ = rest
    registry.login, provider.fail["/.well-known/openid-configuration"] = "drift:other", 403
    found, _ = try_rest(registry.url, provider.url, f"{registry.url}/nothing")
    assert [item["reachable"] for item in found] == [False] * 3
    details = [item["detail"] for item in found]
    assert details[0] == "refuses the user name or password (401)"
    assert "403" in details[1]
    assert "/v1/traces takes no spans: Failed to export spans batch code: 501" in details[2]


def test_an_option_that_librdkafka_does_not_know(run, sqlite_url):
    code, _, err = run("127.0.0.1:1", sqlite_url, "https://example.org", "{no.such.option: 1}")
    assert code == 2
    assert 'driftline.yaml:1: kafka.options: No such configuration property: "no.such.option"' in err


def test_a_secret_that_is_not_set_is_a_problem(run, sqlite_url, monkeypatch, tmp_path):
    monkeypatch.delenv("HOOK")
    file = tmp_path / "driftline.yaml"
    file.write_text(
        f'kafka: {{bootstrap_servers: "127.0.0.1:1"}}\ndatabase_url: "{sqlite_url}"\n'
        "streams: [{topic: p, kind: labels}]\nreceivers:\n"
        "  hook: {type: webhook, url: https://example.org, secret_env: HOOK}\n"
    )
    assert cli.run(["check", "--live", "-c", str(file)]) == 2


def test_what_nobody_has_foreseen_of_one_receiver_hides_no_other(caplog):
    def broken():
        raise KeyError(SECRET)

    found = reachable._tried("receiver hook", broken)
    assert found.as_dict() == {
        "what": "receiver hook",
        "reachable": False,
        "detail": "unexpected KeyError, see the log",
    }
    assert "receiver hook failed with KeyError" in caplog.text
    assert SECRET not in caplog.text
