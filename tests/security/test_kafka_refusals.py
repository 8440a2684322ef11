"""Whoever is not let into Kafka is told by ``check --live`` what is wrong, and never shown the secret."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitor import cli
from tests.kit.certificates import Authority
from tests.kit.secured_kafka import SecuredKafka
from tests.security.service_world import Installation

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("secured")]

SECRET = "marked-secret-of-kafka"


@dataclass(frozen=True)
class Refusal:
    """A listener, what is wrong with the options, and what is said of it."""

    listener: str
    options: dict[str, str]
    said: tuple[str, ...]


PASSWORD = {"security.protocol": "sasl_ssl", "sasl.username": "refused", "sasl.password_file": "{secret}"}
TOKENS = {
    "security.protocol": "sasl_ssl", "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.client.id": "refused", "sasl.oauthbearer.client.secret_file": "{secret}",
    "sasl.oauthbearer.token.endpoint.url": "{tokens}", "https.ca.location": "{ca}",
}  # fmt: skip
REFUSALS = {
    "password of SCRAM": Refusal(
        "SCRAM", {**PASSWORD, "sasl.mechanism": "SCRAM-SHA-512"}, ("SCRAM-SHA-512", "invalid credentials")
    ),
    "password of PLAIN": Refusal(
        "PASSWORD",
        {**PASSWORD, "sasl.mechanism": "PLAIN"},
        ("mechanism PLAIN", "Invalid username or password"),
    ),
    "mechanism": Refusal(
        "SCRAM", {**PASSWORD, "sasl.mechanism": "PLAIN"}, ("PLAIN", "Unsupported SASL mechanism")
    ),
    "client secret": Refusal("OAUTH", TOKENS, ("OAUTHBEARER", "{tokens}", "invalid_client")),
    "authority": Refusal(
        "TLS", {"security.protocol": "ssl", "ssl.ca.location": "{other}"}, ("ssl.ca.location", "verif")
    ),
    "no certificate": Refusal(
        "MUTUAL", {"security.protocol": "ssl"}, ("client's certificate", "ssl.certificate.location")
    ),
    "expired certificate": Refusal(
        "MUTUAL",
        {"security.protocol": "ssl", "ssl.certificate.location": "{expired}", "ssl.key.location": "{key}"},
        ("client's certificate", "ssl.certificate.location"),
    ),
    "no TLS": Refusal("TLS", {}, ("security.protocol is plaintext",)),
    "nothing but TLS": Refusal("OPEN", {"security.protocol": "ssl"}, ("security.protocol is ssl",)),
}


# These say nothing until the time is up.
SILENT = ("no TLS", "nothing but TLS", "no certificate", "expired certificate")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.full if case in SILENT else ()) for case in REFUSALS]
)
def test_what_is_wrong_is_named_and_the_secret_is_not(
    secured_kafka: SecuredKafka, tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr("monitor.reachable_kafka.TIMEOUT_S", 2.0)
    broker, refusal = secured_kafka, REFUSALS[case]
    broker.add_user("refused", "the-right-password")
    expired = broker.authority.issue("expired", is_expired=True)
    (tmp_path / "secret").write_text(SECRET)
    names = {
        "secret": tmp_path / "secret", "tokens": broker.provider.token_url,
        "ca": broker.authority.certificate,
        "other": Authority(tmp_path, "other").certificate, "expired": expired.certificate, "key": expired.key,
    }  # fmt: skip
    given = {"ssl.ca.location": str(broker.authority.certificate)} if refusal.options else {}
    given |= {name: value.format(**names) for name, value in refusal.options.items()}
    installation = Installation(broker, tmp_path, "refused", refusal.listener, given)
    code = cli.run(["check", "--live", "--json", "-c", str(installation.path)])
    out, err = capfd.readouterr()
    (kafka,) = [item for item in json.loads(out)["live"] if item["what"] == "kafka"]
    assert code == cli.UNAVAILABLE
    assert kafka["detail"].startswith(f"{broker.address(refusal.listener)}: ")
    for part in refusal.said:
        assert part.format(**names) in kafka["detail"], kafka["detail"]
    assert SECRET not in out + err


def test_a_key_that_cannot_be_opened_is_a_problem_of_the_file(
    secured_kafka: SecuredKafka, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    client = secured_kafka.authority.issue("closed", password="key-geheim")
    (tmp_path / "secret").write_text(SECRET)
    options = {
        "security.protocol": "ssl", "ssl.certificate.location": str(client.certificate),
        "ssl.key.location": str(client.key), "ssl.key.password_file": str(tmp_path / "secret"),
    }  # fmt: skip
    installation = Installation(secured_kafka, tmp_path, "closed", "MUTUAL", options)
    for command in (["check", "--live"], ["run"]):
        assert cli.run([*command, "-c", str(installation.path)]) == cli.USAGE
        said = capfd.readouterr().err
        assert "kafka.options: " in said
        assert "ssl.key.location failed" in said
        assert SECRET not in said
