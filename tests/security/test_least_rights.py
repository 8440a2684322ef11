"""With exactly the rights that docs/connections.md lists everything works; without one, it is said which."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from monitor import cli
from monitor.config import load
from tests.kit.ports import free_port
from tests.kit.secured_kafka import SecuredKafka
from tests.kit.secured_postgres import SecuredPostgres
from tests.kit.service import Service
from tests.kit.waiting import wait_for
from tests.security.connections_page import Right, blocks, rights, statements
from tests.security.service_world import EVENTS, Installation, event, send

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1_200), pytest.mark.xdist_group("secured")]

ROLES = ("ingest", "evaluate", "web")
NAME = "least"
BROKEN = 5
HOUR = 1_800


@dataclass
class Limited:
    """Three processes, one a role, each with a user of its own that may do what its role needs."""

    broker: SecuredKafka
    postgres: SecuredPostgres
    installations: dict[str, Installation]
    services: dict[str, Service]
    ports: dict[str, int]
    sent: int = 0

    def user(self, role: str) -> str:
        return f"{NAME}-{role}"

    def number(self, statement: str) -> int:
        with self.postgres.connect("driftline") as connection:
            ((found,),) = connection.execute(statement.encode()).fetchall()
        return int(found or 0)

    def failures(self, role: str) -> dict[tuple[str, str], float]:
        """What a process counts as refused, by part and reason."""
        shown = httpx.get(f"http://127.0.0.1:{self.ports[role]}/metrics").text
        return {
            (sample.labels["client"], sample.labels["reason"]): sample.value
            for family in text_string_to_metric_families(shown)
            for sample in family.samples
            if sample.name == "driftline_kafka_failures_total"
        }

    def messages(self, topic: str) -> int:
        """Messages that a topic has had."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "look"})
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=60)[1])
        finally:
            consumer.close()

    def post(self) -> httpx.Response:
        """Send one event by HTTP."""
        url = f"http://127.0.0.1:{self.ports['web']}/api/v1/events"
        return httpx.post(url, json=event(self.sent), timeout=120)

    def happen(self, *, refuses_http: bool) -> None:
        """Send an hour of events and a message that is none, and one event by HTTP."""
        send(self.broker, f"{NAME}.in", HOUR, first=self.sent, broken=1)
        self.sent += HOUR
        if refuses_http:
            answer = self.post()
            assert (answer.status_code, f"{NAME}.in" in answer.text) == (503, True), answer.text

    def wait_for_counts(self) -> None:
        def are_counted() -> bool:
            for service in self.services.values():
                assert service.is_running, service.log[-4_000:]
            return self.number("SELECT sum(counted) FROM partition_state") >= self.sent

        wait_for(are_counted, what=f"{self.sent} events are counted")
        assert self.number("SELECT sum(counted) FROM partition_state") == self.sent


def limited_to_its_role(
    broker: SecuredKafka,
    postgres: SecuredPostgres,
    folder: Path,
    role: str,
    port: int,
    passwords: dict[str, str],
) -> Installation:
    """Write the configuration of a role; all read one topic and write one database."""
    client = postgres.authority.issue("driftline_service")
    client.key.chmod(0o600)
    (folder / f"{role}.secret").write_text("kafka-geheim")
    (folder / f"{role}.url").write_text(
        postgres.address(
            "driftline_service", passwords["driftline_service"], "driftline", sslmode="verify-full",
            sslrootcert=str(postgres.authority.certificate), sslcert=str(client.certificate),
            sslkey=str(client.key),
        )
    )  # fmt: skip
    options = {
        "security.protocol": "sasl_ssl", "ssl.ca.location": str(broker.authority.certificate),
        "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": f"{NAME}-{role}",
        "sasl.password_file": str(folder / f"{role}.secret"),
    }  # fmt: skip
    more: dict[str, Any] = {
        "http": {"host": "127.0.0.1", "port": port, "events": {"predictions": f"{NAME}.in"}},
        "dead_letters": {"topic": f"{NAME}.letters"},
    }
    database = {"database_url_file": str(folder / f"{role}.url")}
    own = folder / role
    return Installation(broker, own, NAME, "SCRAM", options, database=database, more=more)


def upgrade_as_owner(postgres: SecuredPostgres, folder: Path, password: str) -> int:
    """Make the tables, as an operator would; then take from the others what they need not have."""
    url = postgres.address(
        "driftline_owner", password, "driftline", sslmode="verify-full",
        sslrootcert=str(postgres.authority.certificate),
    )  # fmt: skip
    (folder / "owner.url").write_text(url)
    path = folder / "owner.yaml"
    path.write_text(f"""
kafka: {{bootstrap_servers: "127.0.0.1:1"}}
database_url_file: {folder}/owner.url
streams: [{{topic: {NAME}.in, kind: predictions}}]
""")
    code = cli.run(["db", "upgrade", "-c", str(path)])
    with postgres.connect("driftline") as connection:
        for statement in statements(blocks("sql")[2]):
            connection.execute(statement.encode())
    return code


@pytest.fixture(scope="module")
def limited(
    secured_kafka: SecuredKafka, secured_postgres: SecuredPostgres, tmp_path_factory: pytest.TempPathFactory,
    database_passwords: dict[str, str],
) -> Iterator[Limited]:  # fmt: skip
    folder = tmp_path_factory.mktemp("least")
    assert upgrade_as_owner(secured_postgres, folder, database_passwords["driftline_owner"]) == cli.FINE
    ports = {role: free_port() for role in ROLES}
    installations = {
        role: limited_to_its_role(
            secured_kafka, secured_postgres, folder, role, ports.get(role, 0), database_passwords
        )
        for role in (*ROLES, "all")
    }
    settings = installations["ingest"].settings()
    for topic in (f"{NAME}.in", f"{NAME}.letters", *settings["topics"].values()):
        secured_kafka.create_topic(topic)
    for role in (*ROLES, "all"):
        secured_kafka.add_user(f"{NAME}-{role}", "kafka-geheim")
    for right in rights():
        for role in (right.role, "all"):
            secured_kafka.allow(f"{NAME}-{role}", right.grants(settings))
    services = {role: installations[role].service("--role", role) for role in ROLES}
    found = Limited(secured_kafka, secured_postgres, installations, services, ports)
    try:
        for service in services.values():
            service.start()
        send(secured_kafka, f"{NAME}.in", EVENTS, broken=BROKEN)
        found.sent = EVENTS
        for service in services.values():
            service.wait_until_ready()
        yield found
    finally:
        for service in services.values():
            if service.is_running:
                service.kill()


def test_the_listed_rights_are_enough_for_everything(limited: Limited):
    limited.wait_for_counts()
    assert limited.number("SELECT sum(dead_lettered) FROM partition_state") == BROKEN
    answer = limited.post()
    assert answer.is_success, answer.text
    limited.sent += 1
    limited.wait_for_counts()
    wait_for(lambda: limited.number("SELECT count(*) FROM judgement"), what="windows are judged")
    control_read = limited.installations["evaluate"].control_messages_read
    wait_for(control_read, what="the Faust app has read control messages")
    for topic in (f"{NAME}.results", f"{NAME}.alerts"):
        wait_for(partial(limited.messages, topic), what=f"{topic} is told")
    wait_for(lambda: limited.messages(f"{NAME}.letters") == BROKEN, what="dead letters are sent on")
    replay = httpx.post(
        f"http://127.0.0.1:{limited.ports['web']}/api/v1/dead-letters/replay", json={"topic": f"{NAME}.in"}
    )
    assert replay.json()["marked"] == BROKEN
    wait_for(
        lambda: limited.number("SELECT count(*) FROM dead_letter WHERE status = 'marked'") == 0,
        what="letters are tried again",
    )
    assert {role: limited.failures(role) for role in ROLES} == {role: {} for role in ROLES}


def check_live(limited: Limited, capfd: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    """Exit code of ``check --live``, and what it says of everything that is not there."""
    path = limited.installations["all"].path
    code = cli.run(["check", "--live", "--json", "-c", str(path)])
    live = json.loads(capfd.readouterr().out)["live"]
    return code, {item["what"]: item["detail"] for item in live if not item["reachable"]}


def test_check_is_content_with_the_listed_rights(limited: Limited, capfd: pytest.CaptureFixture[str]):
    assert check_live(limited, capfd) == (cli.FINE, {})


def test_commands_of_operators_need_the_rights_of_ingest(limited: Limited, capfd: pytest.CaptureFixture[str]):
    path = str(limited.installations["ingest"].path)
    limited.wait_for_counts()

    def said(*command: str) -> tuple[int, Any]:
        code = cli.run([*command, "-c", path, "--json"])
        out, err = capfd.readouterr()
        assert out, err
        return code, json.loads(out)

    code, status = said("status")
    assert code in (cli.FINE, cli.FINDINGS)
    assert "DriftlineKafkaUnreachable" not in [problem["name"] for problem in status["problems"]]
    assert [(one["topic"], one["lag"]) for one in status["partitions"]] == [(f"{NAME}.in", 0)]
    code, listed = said("partitions", "list")
    assert (code, [one["topic"] for one in listed["items"]]) == (cli.FINE, [f"{NAME}.in"])
    rows = [f"{one['event_id']},{one['features']['age']}" for one in map(event, range(50))]
    table = limited.installations["ingest"].path.with_name("training.csv")
    table.write_text("\n".join(["event_id,age", *rows]))
    code, skew = said("skew", "churn", str(table))
    assert (code, skew["keys"]["compared"]) == (cli.FINE, 50)
    drafted = str(table.with_name("drafted.yaml"))
    assert cli.run(["init", "--topic", f"{NAME}.in", "-c", path, "-o", drafted]) == cli.FINE
    was, found = load(path), load(drafted)
    assert (found.kafka, found.streams[0].topic, list(found.models)) == (was.kafka, f"{NAME}.in", ["churn"])
    assert found.models["churn"].columns["age"].kind == "numeric"


@pytest.mark.parametrize("right", rights(), ids=lambda right: f"{right.role}-{right.name}-{right.operation}")
def test_check_names_the_right_that_is_missing(
    limited: Limited, right: Right, capfd: pytest.CaptureFixture[str]
):
    (grant,) = right.grants(limited.installations["ingest"].settings())
    resource, name, operation = grant
    limited.broker.take_away(f"{NAME}-all", grant)
    try:
        code, missing = check_live(limited, capfd)
    finally:
        limited.broker.allow(f"{NAME}-all", [grant])
    assert code == cli.UNAVAILABLE
    assert list(missing) == [f"{resource} {name}"]
    assert operation.upper() in missing[f"{resource} {name}"]


# Part that is refused, and the reason that it counts, by row of the list. Nothing is told to the alerts topic
# without a new alert, which takes more events than a test should wait for.
REFUSED = {
    ("ingest", "`streams`"): ("ingest", "TOPIC_AUTHORIZATION_FAILED"),
    ("ingest", "`kafka.group_id`"): ("ingest", "GROUP_AUTHORIZATION_FAILED"),
    ("ingest", "`topics.control`"): ("announce", "TOPIC_AUTHORIZATION_FAILED"),
    ("evaluate", "`topics.control`"): ("faust", "TopicAuthorizationFailedError"),
    ("evaluate", "`kafka.group_id`-evaluate"): ("faust", "GroupAuthorizationFailedError"),
    ("evaluate", "`topics.results`"): ("announce", "TOPIC_AUTHORIZATION_FAILED"),
    ("evaluate", "`dead_letters.topic`"): ("relay", "TOPIC_AUTHORIZATION_FAILED"),
    ("web", "`http.events`"): ("door", "TOPIC_AUTHORIZATION_FAILED"),
}
AT_ONCE = {"`http.events`", "`dead_letters.topic`"}
REFUSALS = [
    pytest.param(
        right, id=f"{right.role}-{right.name}", marks=() if right.name in AT_ONCE else pytest.mark.full
    )
    for right in rights()
    if (right.role, right.name) in REFUSED
]


@pytest.mark.parametrize("right", REFUSALS)
def test_a_right_that_is_taken_away_is_counted_and_named_and_nothing_is_lost(limited: Limited, right: Right):
    client, reason = REFUSED[right.role, right.name]
    service = limited.services[right.role]
    (grant,) = right.grants(limited.installations["ingest"].settings())
    before, logged = limited.failures(right.role).get((client, reason), 0.0), len(service.log)
    letters = limited.messages(f"{NAME}.letters")
    limited.broker.take_away(limited.user(right.role), grant)
    try:

        def is_counted() -> bool:
            limited.happen(refuses_http=right.role == "web")
            return limited.failures(right.role).get((client, reason), 0.0) > before

        wait_for(is_counted, what=f"{client} does not count {reason}", every_s=1.0)
        if client != "door":
            wait_for(lambda: grant[1] in service.log[logged:], what=f"the log does not name {grant[1]}")
    finally:
        limited.broker.allow(limited.user(right.role), [grant])
    limited.wait_for_counts()
    wait_for(lambda: limited.messages(f"{NAME}.letters") >= letters + 1, what="letters are sent on")
    # Clients hear of a right that they have again with the next look at the topics.
    wait_for(lambda: limited.post().is_success, what="the door takes events again", every_s=1.0)
    limited.sent += 1
    limited.wait_for_counts()
