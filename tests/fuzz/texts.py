"""Targets that read texts: contracts of other tools, and the configuration."""

from __future__ import annotations

import json
import re
from typing import Any

from monitor.config.loader import examine_text
from monitor.contracts.catalog import contract_of, importers
from monitor.contracts.contract import problem_of
from monitor.contracts.document import parse
from monitor.contracts.yaml_text import block
from schemas.errors import ConfigurationError, UsageError
from tests.fuzz.target import Target

_FILE = "hostile.yaml"
_CONFIGURATION = """\
kafka: {bootstrap_servers: "127.0.0.1:9092"}
database_url: sqlite:///driftline.db
registry: {url: "https://registry:8081"}
http: {port: 8420}
streams:
  - {topic: p, kind: predictions, format: auto, model: m, fields: {prediction: y}, inputs: [a, b]}
  - {topic: l, kind: labels}
defaults:
  slice: 1m
  windows: [1h, 1h/15m]
models:
  flight-delay:
    task: regression
    columns:
      t: {kind: numeric, min: 0, max: 5}
alerts:
  budget: 1 per week
  routes:
    - {match: {}, to: [hook]}
receivers:
  hook: {type: webhook, url: "https://example.org/x", secret_env: HOOK}
"""


def contract_targets() -> tuple[Target, ...]:
    """Make a target for each importer; its documents come as JSON and as YAML."""
    return tuple(
        Target(
            f"contract-{name}", tuple(_seeds([one.document for one in importer.examples()])), _check_contract
        )
        for name, importer in importers().items()
    )


def configuration_target() -> Target:
    """Make the target of ``driftline.yaml``."""
    return Target("configuration", (_CONFIGURATION.encode(),), _check_configuration)


def _seeds(documents: list[Any]) -> list[bytes]:
    return [text.encode() for one in documents for text in (json.dumps(one), "\n".join(block(one)))]


def _check_contract(data: bytes) -> None:
    """A document becomes a contract whose options the configuration takes, or a message with its file."""
    text = data.decode("utf-8", "replace")
    said = _FILE
    try:
        contract = contract_of(parse(text, _FILE))
    except (UsageError, ConfigurationError) as refused:
        said = str(refused)
    else:
        assert all(problem_of(options) is None for options in contract.columns.values())
    assert said.startswith(_FILE), said


def _check_configuration(data: bytes) -> None:
    """A text becomes a configuration, or problems with their lines."""
    configuration, problems = examine_text(data.decode("utf-8", "replace"))
    assert (configuration is None) == bool(problems)
    for problem in problems:
        assert re.match(r"driftline\.yaml:\d+: .", str(problem)), problem
        assert "\n" not in str(problem)
