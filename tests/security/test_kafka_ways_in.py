"""One configuration lets every part of the service into Kafka, whatever way in the brokers offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.kit.secured_kafka import SecuredKafka
from tests.kit.service import Service
from tests.kit.waiting import wait_for
from tests.security.service_world import EVENTS, Installation, send

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1_200), pytest.mark.xdist_group("secured")]

FEW = ("mutual", "oauth")
WAYS = [
    pytest.param(way, marks=() if way in FEW else pytest.mark.full)
    for way in ("tls", "mutual", "plain", "scram-256", "scram-512", "scram-open", "oauth")
]


def ways_in(broker: SecuredKafka, folder: Path) -> dict[str, tuple[str, dict[str, str], str]]:
    """Listener, options and name of the user, for every way in."""
    trust = {"ssl.ca.location": str(broker.authority.certificate)}
    client = broker.authority.issue("ways-client", password="key-geheim")
    secrets = {}
    for name, secret in {
        "key": "key-geheim",
        "plain": broker.passwords["plain-user"],
        "scram": "scram-geheim",
        "oauth": "oauth-geheim",
    }.items():
        secrets[name] = folder / f"{name}.secret"
        secrets[name].write_text(f"{secret}\n")
    broker.add_user("ways-user", "scram-geheim")
    broker.provider.clients["ways-oauth"] = "oauth-geheim"

    def scram(bits: int, protocol: str) -> dict[str, str]:
        return {
            "security.protocol": protocol,
            "sasl.mechanism": f"SCRAM-SHA-{bits}",
            "sasl.username": "ways-user",
            "sasl.password_file": str(secrets["scram"]),
        }

    return {
        "tls": ("TLS", {"security.protocol": "ssl", **trust}, "ANONYMOUS"),
        "mutual": (
            "MUTUAL",
            {
                "security.protocol": "SSL", **trust, "ssl.certificate.location": str(client.certificate),
                "ssl.key.location": str(client.key), "ssl.key.password_file": str(secrets["key"]),
            },
            "ways-client",
        ),
        "plain": (
            "PASSWORD",
            {
                "security.protocol": "sasl_ssl", **trust, "sasl.mechanisms": "PLAIN",
                "sasl.username": "plain-user", "sasl.password_file": str(secrets["plain"]),
            },
            "plain-user",
        ),
        "scram-256": ("SCRAM", {**trust, **scram(256, "sasl_ssl")}, "ways-user"),
        "scram-512": (
            "SCRAM",
            {**scram(512, "SASL_SSL"), "ssl.ca.pem_file": str(broker.authority.certificate)},
            "ways-user",
        ),
        "scram-open": ("OPEN", scram(512, "sasl_plaintext"), "ways-user"),
        "oauth": (
            "OAUTH",
            {
                "security.protocol": "sasl_ssl", **trust, "sasl.mechanism": "OAUTHBEARER",
                "sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.client.id": "ways-oauth",
                "sasl.oauthbearer.client.secret_file": str(secrets["oauth"]),
                "sasl.oauthbearer.scope": "kafka",
                "sasl.oauthbearer.token.endpoint.url": broker.provider.token_url,
                "https.ca.location": str(broker.authority.certificate),
            },
            "ways-oauth",
        ),
    }  # fmt: skip


@dataclass
class Ways:
    """All services at once, as each takes seconds to start."""

    installations: dict[str, Installation] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)


@pytest.fixture(scope="module")
def ways(
    secured_kafka: SecuredKafka, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Ways]:
    folder, found = tmp_path_factory.mktemp("ways"), Ways()
    parameters = (getattr(item, "callspec", None) for item in request.session.items)
    wanted = {found.params.get("way") for found in parameters if found is not None}
    for way, (listener, options, user) in ways_in(secured_kafka, folder).items():
        if way not in wanted:
            continue
        made = found.installations[way] = Installation(
            secured_kafka, folder, f"ways.{way}", listener, options
        )
        for topic in (made.topic, *made.settings()["topics"].values()):
            secured_kafka.create_topic(topic)
        everything = [("topic", f"{made.name}*", "all"), ("group", f"{made.name}*", "all")]
        secured_kafka.allow(user, everything)
        send(secured_kafka, made.topic)
        found.services[way] = made.service()
    try:
        for service in found.services.values():
            service.start()
        yield found
    finally:
        for service in found.services.values():
            if service.is_running:
                service.kill()


@pytest.mark.parametrize("way", WAYS)
def test_every_event_is_counted_and_faust_has_heard_of_it(ways: Ways, way: str):
    installation, service = ways.installations[way], ways.services[way]
    installation.wait_for("SELECT sum(counted) FROM partition_state", EVENTS, "counts", service)
    installation.wait_for("SELECT count(*) FROM judgement", 1, "judges", service)
    wait_for(installation.control_messages_read, what=f"{way}: the Faust app has read nothing")
    assert installation.rows("SELECT sum(counted) FROM partition_state") == [(EVENTS,)]
    assert "by the sweep alone" not in service.log
    assert service.terminate() == 0
