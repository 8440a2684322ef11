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
from tests.kit.ports import free_port

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
