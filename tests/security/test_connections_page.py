"""The examples of docs/connections.md are configurations, and what was read as a secret is masked."""

from __future__ import annotations

import io
import re

import pytest
from ruamel.yaml import YAML

from monitor import logs
from monitor.config.loader import examine_text
from monitor.faust_credentials import unsupported
from monitor.oauth_tokens import TokenSource
from tests.security.connections_page import blocks

REST = {
    "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
    "database_url": "sqlite:///driftline.db",
    "streams": [{"topic": "flights", "kind": "predictions"}],
}


@pytest.mark.parametrize("example", blocks("yaml"))
def test_every_example_is_right(example: str):
    found = YAML(typ="safe").load(example)
    rest = {name: value for name, value in REST.items() if name not in found and f"{name}_file" not in found}
    whole = io.StringIO()
    YAML(typ="safe").dump({**rest, **found}, whole)
    configuration, problems = examine_text(whole.getvalue(), "example")
    assert problems == []
    assert unsupported(configuration.kafka.options) is None


def test_there_are_examples_of_every_way_in():
    examples = "".join(blocks("yaml"))
    assert len(re.findall("security.protocol", examples)) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"security.protocol": "sasl_ssl"}, "GSSAPI"),
        ({"security.protocol": "ssl", "ssl.keystore.location": "x.p12"}, "ssl.keystore.location"),
        ({"security.protocol": "sasl_ssl", "sasl.mechanism": "OAUTHBEARER"}, "the method oidc alone"),
        ({"security.protocol": "quic"}, "quic"),
    ],
)
def test_what_faust_cannot_do_is_named(options: dict[str, str], said: str):
    assert said in str(unsupported(options))


def test_the_address_of_a_token_endpoint_is_no_secret_and_the_client_secret_is():
    text = """
kafka:
  bootstrap_servers: 127.0.0.1:9092
  options: {sasl.oauthbearer.token.endpoint.url: "https://login/token", sasl.oauthbearer.client.secret: x}
database_url: sqlite:///driftline.db
streams: [{topic: flights, kind: predictions}]
"""
    _, problems = examine_text(text, "file.yaml")
    assert [problem.path[-1] for problem in problems] == ["sasl.oauthbearer.client.secret"]


def test_the_client_secret_is_no_part_of_what_a_source_of_tokens_shows():
    source = TokenSource({"sasl.oauthbearer.client.secret": "marked-secret", "https.ca.location": "probe"})
    assert "marked-secret" not in repr(source)


def test_hidden_texts_are_masked_as_they_are_and_escaped():
    logs.hide('mark"ed/secret-é')
    for form in (
        'mark"ed/secret-é',
        'mark\\"ed/secret-é',
        "mark%22ed%2Fsecret-%C3%A9",
        'mark\\"ed/secret-\\u00e9',
    ):
        assert logs.mask(f"a {form} b") == "a (hidden) b"
    logs.hide("short")
    assert logs.mask("a short text") == "a short text"
