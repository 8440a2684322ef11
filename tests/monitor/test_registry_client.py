"""Asking a schema registry: what it knows, what it does not, and when it is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from monitor.clock import ManualClock
from monitor.config import Configuration, load
from monitor.decode.registry import Schema
from monitor.decode.registry_client import RegistryClient, connect
from schemas.errors import ConfigurationError, EventError, Unavailable
from tests.kit.ports import LOOPBACK, free_ports
from tests.kit.waiting import wait_for
from tests.monitor.registry_world import FakeRegistry, fake_registry


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        yield made


def client(registry: FakeRegistry, clock: Any = None, **options: Any) -> RegistryClient:
    """A client with a clock of its own."""
    transport = httpx.HTTPTransport(trust_env=False)
    return RegistryClient(registry.url, transport, **{"timeout_s": 5.0, "clock": clock, **options})


def test_a_schema_is_asked_for_once(registry: FakeRegistry) -> None:
    guid = registry.add_avro(7, "long")
    one = client(registry)
    assert one.schema(7) == one.schema(guid) == Schema("AVRO", '"long"')
    assert one.schema(7) is one.schema(7)
    assert registry.asked == ["/schemas/ids/7", f"/schemas/guids/{guid}"]


def test_references_come_with_it(registry: FakeRegistry) -> None:
    registry.add_avro(1, {"type": "fixed", "name": "a.F", "size": 2})
    registry.versions["a/b c", 3] = 1
    reference = {"name": "a.F", "subject": "a/b c", "version": 3}
    for id_ in (2, 3):
        registry.add_avro(id_, ["null", "a.F"], [reference])
    one = client(registry)
    for id_ in (2, 3):
        [found] = one.schema(id_).references
        assert (found.name, found.schema.text) == ("a.F", '{"type": "fixed", "name": "a.F", "size": 2}')
    assert registry.asked == [
        "/schemas/ids/2", "/subjects/a%2Fb%20c/versions/3?deleted=true", "/schemas/ids/3"
    ]  # fmt: skip


def test_protobuf_is_asked_for_in_serialised_form(registry: FakeRegistry) -> None:
    registry.add(1, "message A {}", "PROTOBUF", serialised="AAAA")
    registry.versions["a", 1] = 1
    reference = {"name": "a.proto", "subject": "a", "version": 1}
    registry.add(2, "message B {}", "PROTOBUF", serialised="BBBB", references=[reference])
    found = client(registry).schema(2)
    assert (found.text, found.references[0].schema.text) == ("BBBB", "AAAA")
    assert registry.asked == [
        "/schemas/ids/2",
        "/schemas/ids/2?format=serialized",
        "/subjects/a/versions/1?deleted=true",
        "/subjects/a/versions/1?deleted=true&format=serialized",
    ]


def test_what_it_does_not_know_is_the_fault_of_the_message(registry: FakeRegistry) -> None:
    clock = ManualClock()
    one = client(registry, clock)
    for _ in range(3):
        with pytest.raises(EventError, match=r"^registry: the schema registry knows no schema 9$"):
            one.schema(9)
    assert registry.asked == ["/schemas/ids/9"]
    with pytest.raises(EventError, match="knows no schema 00000000-0000-0000-0000-000000000005"):
        one.schema(UUID(int=5))
    registry.add_avro(9, "int")
    clock.advance(61_000)
    assert one.schema(9).text == '"int"'


@pytest.mark.parametrize("known", [False, True])
def test_a_reference_that_is_gone_is_too(registry: FakeRegistry, *, known: bool) -> None:
    if known:
        registry.versions["a", 1] = 1
    registry.add_avro(2, "a.F", [{"name": "a.F", "subject": "a", "version": 3}])
    with pytest.raises(EventError, match="a schema refers to 'a' version 3, which is not there"):
        client(registry).schema(2)


def test_references_in_a_circle_end(registry: FakeRegistry) -> None:
    registry.versions["a", 1] = 1
    registry.add_avro(1, "a.F", [{"name": "a.F", "subject": "a", "version": 1}])
    with pytest.raises(EventError, match="references too deeply nested"):
        client(registry).schema(1)


def test_schemas_of_other_kinds_cannot_be_read(registry: FakeRegistry) -> None:
    registry.add(1, "…", "THRIFT")
    with pytest.raises(EventError, match="type 'THRIFT' cannot be read"):
        client(registry).schema(1)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"status": 500}, "answered 500"),
        ({"status": 404}, "answered 404 to a path that every registry has"),
        ({"status": 301, "location": "http://elsewhere/"}, "answered 301: redirects are not followed"),
        ({"login": "u:secret"}, r"refuses the user name or password \(401\)"),
        ({"body": b"<html>"}, "no schema"),
        ({"body": b'{"schema": 5}'}, "no schema"),
        ({"body": b"[" * 100_000}, "no schema"),
        ({"body": b'{"schema": "1", "references": [{"name": "x"}]}'}, "no schema"),
        ({"body": b" " * (17 << 20)}, "more than 16 MiB"),
        ({"wait_s": 1.0}, r"no answer \(timed out\)"),
        ({"drip": True}, r"no answer \(timed out\)"),
    ],
)
def test_a_registry_that_is_not_well_says_nothing_about_the_message(
    registry: FakeRegistry, behaviour: dict[str, Any], reason: str
) -> None:
    registry.add_avro(7, "long")
    for name, value in behaviour.items():
        setattr(registry, name, value)
    one = client(registry, timeout_s=0.3 if "timed out" in reason else 60.0)
    with pytest.raises(Unavailable, match=f"^schema registry: .*{reason}") as caught:
        one.schema(7)
    assert LOOPBACK not in str(caught.value)
    assert len(registry.asked) == 1
    for name, value in vars(FakeRegistry()).items():
        if name in behaviour:
            setattr(registry, name, value)
    recovered = wait_for(lambda: one.schema(7), what="it does not recover", ignoring=(Unavailable,))
    assert recovered.text == '"long"'


def test_nobody_there() -> None:
    [port] = free_ports(1)
    one = connect(f"http://{LOOPBACK}:{port}", ("u", "hidden"), 60.0)
    with pytest.raises(Unavailable, match=r"^schema registry: no answer \(ConnectError\)$"):
        one.schema(1)


def test_what_was_known_stays_known_while_it_is_away(registry: FakeRegistry) -> None:
    registry.add_avro(7, "long")
    one = client(registry)
    one.schema(7)
    registry.status = 500
    recovered = wait_for(lambda: one.schema(7), what="it does not recover", ignoring=(Unavailable,))
    assert recovered.text == '"long"'


def configured(registry: FakeRegistry, **options: Any) -> Configuration:
    """A configuration with a stream that needs the registry, and one that does not."""
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "x"},
            "database_url": "sqlite:///unused.db",
            "registry": {"url": registry.url, **options},
            "streams": [
                {"topic": "p", "kind": "predictions", "format": "registry"},
                {"topic": "l", "kind": "labels", "format": "auto"},
                {"topic": "j", "kind": "predictions"},
            ],
        }
    )


def test_streams_share_what_the_configuration_names(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.login = "u:päss"
    registry.add_avro(7, "long")
    monkeypatch.setenv("REGISTRY_PASSWORD", "päss")
    found = configured(registry, username="u", password_env="REGISTRY_PASSWORD", timeout="2s")
    one, two, three = (stream.reading().registry for stream in found.streams)
    assert one is not None
    assert one is two
    assert three is None
    recovered = wait_for(lambda: one.schema(7), what="it does not recover", ignoring=(Unavailable,))
    assert recovered.text == '"long"'


def test_a_missing_password_is_found_before_anything_starts(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REGISTRY_PASSWORD", raising=False)
    found = configured(registry, username="u", password_env="REGISTRY_PASSWORD")
    reason = "registry.password_env: environment variable REGISTRY_PASSWORD is not set"
    assert [text.endswith(reason) for text in found.secrets_missing()] == [True]
    with pytest.raises(ConfigurationError, match=reason):
        found.streams[0].reading()
    assert found.streams[2].reading().registry is None


def test_certificates_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(ConfigurationError, match=r"registry.ca_file: .* cannot be used: No such file"):
        connect("https://r", None, 1.0, str(file))
    file.write_text("junk")
    with pytest.raises(ConfigurationError, match=r"registry.ca_file: .* cannot be used"):
        connect("https://r", None, 1.0, str(file))


@pytest.mark.parametrize(
    ("registry_", "problem"),
    [
        ("{url: 'ftp://x'}", "registry.url: is not the address of a schema registry"),
        ("{url: 'http://u:geheim@x'}", "registry.url: holds credentials"),
        ("{url: 'http://x:geheim'}", "registry.url: is not the address of a schema registry"),
        ("{url: 'http://x', username: u}", "registry: username goes with a password"),
        ("{url: 'http://x', password_env: P}", "registry: username goes with a password"),
        ("{url: 'http://x', username: u, password_env: P, password_file: f}", "stands beside password_env"),
        ("{url: 'http://x', timeout: 2m}", "'2m' is out of range"),
        ("{}", "registry.url"),
        ("null", "registry"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path: Path, registry_: str, problem: str) -> None:
    path = tmp_path / "driftline.yaml"
    path.write_text(
        "kafka: {bootstrap_servers: x}\ndatabase_url: sqlite:///d.db\n"
        f"registry: {registry_}\nstreams: [{{topic: p, kind: predictions}}]\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load(str(path))
    assert problem in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_stream_of_this_format_needs_a_registry(tmp_path: Path) -> None:
    path = tmp_path / "driftline.yaml"
    path.write_text(
        "kafka: {bootstrap_servers: x}\ndatabase_url: sqlite:///d.db\n"
        "streams: [{topic: p, kind: predictions, format: registry}]\n"
    )
    with pytest.raises(ConfigurationError, match=r":3: streams\[0\].format: 'registry' needs a schema reg"):
        load(str(path))
