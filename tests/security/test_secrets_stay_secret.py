"""Every secret of a service is marked, every connection fails for a while: no mark shows up anywhere."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from monitor import cli
from tests.alerting.servers import Answer, LocalServer, Request
from tests.alerting.smtp_server import SmtpServer
from tests.kit.ports import free_port
from tests.kit.secured_kafka import SecuredKafka
from tests.kit.secured_postgres import SecuredPostgres
from tests.kit.service import Service
from tests.kit.waiting import wait_for
from tests.security.service_world import EVENTS, Installation, send

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1_200), pytest.mark.xdist_group("secured")]

NAME = "secrets"
MARKS = {
    "kafka": "marked-kafka-password", "key": "marked-key-password",
    "slack": "xoxb-marked-slack-token", "mail": "marked-mail-password", "events": "marked-events-token",
    "sign_in": "marked-sign-in-secret", "mlflow": "marked-mlflow-secret",
    "pages": "markedroutingkey0000000000000000", "wrong": "marked-wrong-database-password",
    "hook": "whsec_" + base64.b64encode(b"marked-webhook-secret-of-32-bytes").decode(),
}  # fmt: skip


class Echo(LocalServer):
    """Refuses everything, and repeats what it was sent."""

    def respond(self, request: Request) -> Answer:
        sent = f"{request.headers} {request.body.decode(errors='replace')}"
        return Answer(403, {"error": sent, "message": sent, "detail": sent})


@dataclass
class World:
    """Where a mark could show up."""

    installation: Installation
    service: Service
    port: int
    dsn: str
    marks: dict[str, str]
    capture: pytest.CaptureFixture[str]
    said: dict[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, list[str]]:
        """Names of the secrets that are found, by place; as they are, or as hexadecimal of bytes."""
        return {
            place: found
            for place, text in self.said.items()
            if (
                found := [
                    name for name, mark in self.marks.items() if mark in text or mark.encode().hex() in text
                ]
            )
        }

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something to happen while the service runs."""

        def has_happened() -> object:
            assert self.service.is_running, (self.service.exit_code, self.service.log[-4_000:])
            return condition()

        wait_for(has_happened, what=what, ignoring=(psycopg.Error,))

    def command(self, *arguments: str) -> str:
        """Run a command, and keep what it says, on either stream."""
        self.capture.readouterr()
        cli.run(["--log-level", "debug", *arguments, "-c", str(self.installation.path)])
        out, err = self.capture.readouterr()
        self.said[" ".join(arguments)] = out + err
        return out

    def get(self, path: str, token: str) -> httpx.Response:
        """Ask the service, and keep what it answers."""
        url = f"http://127.0.0.1:{self.port}{path}"
        answer = httpx.get(url, headers={"authorization": f"Bearer {token}"}, timeout=120)
        self.said[f"GET {path} {answer.status_code}"] = f"{answer.headers} {answer.text}"
        return answer

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database as its superuser."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode()).fetchall()

    def read_database(self) -> None:
        """Keep every column of every row of every table."""
        names = self.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        for (name,) in names:
            rows = self.rows(f'SELECT "{name}"::text FROM "{name}"')
            self.said[f"table {name}"] = "\n".join(row[0] for row in rows)


def configuration(folder: Path, port: int, echo: str, mail: SmtpServer, trust: Path) -> dict[str, Any]:
    """All sections that hold a secret."""
    private = {"allow_private": True}
    files = {name: str(folder / name) for name in MARKS}
    return {
        "http": {
            "host": "127.0.0.1", "port": port, "public_url": f"http://127.0.0.1:{port}",
            "events": {"predictions": f"{NAME}.in", "token_file": files["events"]},
            "mlflow": {"secret_file": files["mlflow"]},
            "sign_in": {
                "type": "oidc", "issuer": "https://127.0.0.1:1/realm", "client_id": "driftline",
                "client_secret_file": files["sign_in"], "roles": {"viewer": ["*"]},
            },
        },
        "alerts": {"routes": [{"match": {}, "to": ["slack", "hook", "mail", "pages"]}]},
        "receivers": {
            "slack": {
                "type": "slack", "channel": "#ml", "token_file": files["slack"], "base_url": f"{echo}/api/",
            },
            "hook": {"type": "webhook", "url": f"{echo}/hook", "secret_file": files["hook"], **private},
            "pages": {
                "type": "pagerduty", "routing_key_file": files["pages"], "base_url": echo, **private,
            },
            "mail": {
                "type": "email", "host": "127.0.0.1", "port": mail.port, "security": "tls",
                "username": "driftline", "password_file": files["mail"],
                "from": "d@example.org", "to": ["a@example.org"],
                "ca_file": str(trust), **private,
            },
        },
    }  # fmt: skip


@pytest.fixture
def world(
    secured_kafka: SecuredKafka, secured_postgres: SecuredPostgres, database_passwords: dict[str, str],
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> Iterator[World]:  # fmt: skip
    broker, marks = secured_kafka, {**MARKS, "database": database_passwords["driftline_service"]}
    for name, mark in marks.items():
        (tmp_path / name).write_text(mark)
    with secured_postgres.connect() as connection:
        connection.execute("CREATE DATABASE secrets OWNER driftline_service")
    client = secured_postgres.authority.issue("driftline_service")
    client.key.chmod(0o600)
    (tmp_path / "url").write_text(
        secured_postgres.address(
            "driftline_service", marks["database"], "secrets", sslmode="verify-full",
            sslcert=str(client.certificate), sslkey=str(client.key),
            sslrootcert=str(secured_postgres.authority.certificate),
        )
    )  # fmt: skip
    own = broker.authority.issue("secrets-client", password=marks["key"])
    options = {
        "security.protocol": "sasl_ssl", "ssl.ca.location": str(broker.authority.certificate),
        "ssl.certificate.location": str(own.certificate), "ssl.key.location": str(own.key),
        "ssl.key.password_file": str(tmp_path / "key"), "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "secrets-user", "sasl.password_file": str(tmp_path / "kafka"),
        "debug": "security,broker,conf",
    }  # fmt: skip
    context = mail_context(broker)
    port = free_port()
    environment = {**os.environ, "DRIFTLINE_LOG_LEVEL": "debug", "DRIFTLINE_LOG_FORMAT": "json"}
    with Echo() as echo, SmtpServer({"driftline": "another"}, context, is_tls_first=True) as mail:
        made = Installation(
            broker, tmp_path, NAME, "SCRAM", options, {"database_url_file": str(tmp_path / "url")},
            configuration(tmp_path, port, echo.address, mail, broker.authority.certificate),
        )  # fmt: skip
        for topic in (made.topic, *made.settings()["topics"].values()):
            broker.create_topic(topic)
        broker.allow("secrets-user", [("topic", f"{NAME}*", "all"), ("group", f"{NAME}*", "all")])
        send(broker, made.topic, broken=2)
        dsn = secured_postgres.url("secrets").replace("+psycopg", "")
        with made.service(environment=environment) as service:
            yield World(made, service, port, dsn, marks, capfd)


def mail_context(broker: SecuredKafka):
    """What the mail server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(broker.authority.issue("mail").both)
    return context


def test_no_secret_shows_up_anywhere(world: World, secured_kafka: SecuredKafka):
    # Kafka refuses the password, as it knows another.
    secured_kafka.add_user("secrets-user", "another-password")
    world.wait_for(
        lambda: "SASL authentication error" in world.service.log, what="Kafka refuses the password"
    )
    secured_kafka.add_user("secrets-user", world.marks["kafka"])
    counted = "SELECT sum(counted) FROM partition_state"
    world.wait_for(lambda: world.rows(counted)[0][0] == EVENTS, what="events are counted")
    # The receivers refuse what they are sent; the database ends all connections.
    tried = "SELECT count(DISTINCT receiver) FROM outbox WHERE attempts > 0"
    world.wait_for(lambda: world.rows(tried)[0][0] == 4, what="every receiver was tried")
    world.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'driftline_service'")
    token = world.command("token", "create", "tests", "--role", "admin").strip().split()[-1]
    world.said.clear()
    world.marks["api token"] = token
    look_everywhere(world, token)
    assert "GET /api/v1/models 200" in world.said
    assert world.said["table outbox"]
    assert world.shown() == {}


def look_everywhere(world: World, token: str) -> None:
    """Keep what every surface shows."""
    pid = world.service.pid
    described = world.get("/api/v1/openapi.json", token).json()
    plain = [path for path, item in described["paths"].items() if "get" in item and "{" not in path]
    pages = ["/", "/alerts", "/events", "/receivers", "/configuration", "/configuration/audit", "/sign-in"]
    for path in [*plain, *pages, "/metrics", "/readyz", "/nothing"]:
        world.get(path, token)
    world.get("/api/v1/models", "dl_wrong")
    url = f"http://127.0.0.1:{world.port}/api/v1/events"
    for given in ("wrong", world.marks["events"]):
        answer = httpx.post(url, content=b"{", headers={"authorization": f"Bearer {given}"}, timeout=60)
        world.said[f"POST {given}"] = answer.text
    world.read_database()
    for arguments in (("check", "--live", "--no-messages"), ("check",), ("status",), ("token", "list")):
        world.command(*arguments)
    (world.installation.folder / "url").write_text(
        f"postgresql+psycopg://driftline_service:{world.marks['wrong']}@127.0.0.1:1/x?sslpassword={world.marks['wrong']}"
    )
    for arguments in (("db", "upgrade"), ("status", "--json")):
        world.command(*arguments)
    world.said["cmdline"] = Path(f"/proc/{pid}/cmdline").read_text()
    world.said["log"] = world.service.log
