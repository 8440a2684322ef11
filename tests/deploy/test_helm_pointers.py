"""The chart knows every option by which a configuration names a secret, a file or an address."""

import json
import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from monitor.config.options_table import sections
from monitor.config.schema import json_schema
from tests.deploy.helm.chart import CHART, ROLES, of_kind, render_changed, render_with

SECRET_OR_FILE = re.compile(r"(_env|_file|^file)$")
ADDRESS = re.compile(r"(^|_)(url|endpoint|issuer)$")
FOR_PEOPLE = {"public_url", "ui_url"}  # shown, not called
FREE = {  # options of librdkafka are not in the schema
    "kafka.options.sasl.password_env",
    "kafka.options.ssl.key.password_file",
    "kafka.options.ssl.ca.location",
}

FOUND = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: found}
data: {{- include "driftline.config.pointers" . | nindent 2 }}
"""


def mappings() -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Mappings of the file with the keys that lead to them, and their options; lists are told by ``[]``."""
    yield (), json_schema()["properties"]
    for told, schema in sections():
        place, _, kind = told.removesuffix(")").partition(" (type: ")
        named = "webhook".join(place.split("<name>")) if not kind else kind.join(place.split("<name>"))
        keys = tuple(named.split("."))
        yield keys, schema["properties"]
        if keys[0] == "defaults":
            yield ("models", "churn", *keys[1:]), schema["properties"]


def places(wanted: re.Pattern[str]) -> list[tuple[str, ...]]:
    """Keys that lead to the options with a name of a kind."""
    return [(*keys, name) for keys, options in mappings() for name in options if wanted.search(name)]


def filled(values: dict[tuple[str, ...], str]) -> dict[str, Any]:
    """A configuration that holds values at places."""
    made: dict[str, Any] = {}
    for keys, value in values.items():
        inner = made
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
    return made


def bare_chart(folder: Path) -> Path:
    """A copy of the chart that makes nothing but what it found in the configuration."""
    copied = shutil.copytree(CHART, folder / "driftline")
    for template in (copied / "templates").glob("*.yaml"):
        template.unlink()
    (copied / "templates" / "found.yaml").write_text(FOUND)
    return copied


def test_the_schema_names_what_is_looked_for():
    secrets, addresses = ({".".join(keys) for keys in places(kind)} for kind in (SECRET_OR_FILE, ADDRESS))
    assert {
        "database_url_env", "http.events.token_file", "receivers.slack.app_token_env",
        "models.churn.reference.file", "registry.ca_file",
    } <= secrets  # fmt: skip
    assert {"registry.url", "tracing.endpoint", "http.sign_in.issuer", "receivers.dagster.url"} <= addresses


def test_secrets_and_files_are_found_wherever_they_are_named(tmp_path: Path):
    names = {keys: f"/var/run/{'/'.join(keys)}" for keys in places(SECRET_OR_FILE)}
    config = filled(names)
    config["kafka"] = {"options": {name.removeprefix("kafka.options."): "x" for name in FREE}}
    path = tmp_path / "values.yaml"
    (manifest,) = render_with(values_file(path, config), chart=bare_chart(tmp_path))
    found = {one["place"]: one for one in manifest["data"]["found"]}
    wanted = {".".join(keys) for keys in names} | FREE
    assert found.keys() == {f"config.{place}" for place in wanted}
    for place, one in found.items():
        assert one["isFile"] == (not place.endswith("_env"))
        assert one["evaluate"] == place.startswith("config.receivers.")


def values_file(path: Path, config: dict[str, Any]) -> Path:
    """A file of values with a configuration and what is required besides."""
    path.write_text(json.dumps({"image": {"repository": "driftline"}, "config": config}))
    return path


def test_network_policies_open_the_port_of_every_address(tmp_path: Path):
    ports = count(20_000)
    named = {keys: next(ports) for keys in places(ADDRESS) if keys[-1] not in FOR_PEOPLE}
    config = filled({keys: f"https://there.example.org:{port}/path" for keys, port in named.items()})
    config["http"]["host"] = "0.0.0.0"  # noqa: S104
    config["kafka"] = {"bootstrap_servers": "kafka:9092"}
    manifests = render_changed("minimum", tmp_path, config=config)
    opened = {
        name.rpartition("-")[2]: {port["port"] for rule in one["spec"]["egress"] for port in rule["ports"]}
        for name, one in of_kind(manifests, "NetworkPolicy").items()
    }
    missing = {
        ".".join(keys)
        for keys, port in named.items()
        if port not in (opened["evaluate"] if keys[0] == "receivers" else set().union(*opened.values()))
    }
    assert missing == set()


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("postgresql+psycopg://driftline@db.example.org:6432/driftline?sslmode=require", 6432),
        ("postgresql+psycopg://driftline@[fd00::1]:6432/driftline", 6432),
        ("postgresql+psycopg://db/driftline", 5432),
    ],
)
def test_network_policies_open_the_port_of_the_database(url, port, tmp_path):
    config = {"database_url": url, "database_url_env": None}
    manifests = render_changed("minimum", tmp_path, config=config)
    policies = of_kind(manifests, "NetworkPolicy")
    for component in (*ROLES, "migrate"):
        rules = policies[f"models-driftline-{component}"]["spec"]["egress"]
        assert {"protocol": "TCP", "port": port} in [one for rule in rules for one in rule["ports"]]
