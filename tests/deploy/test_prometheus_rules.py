"""The rules for Prometheus: each fires when it should, asks for what is exported, and has a runbook."""

import re
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from ruamel.yaml import YAML

from monitor.telemetry import Telemetry
from monitor.web.gauges import Snapshot, families
from tests.kit.prometheus import check_rules, run_rule_tests

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "deploy" / "prometheus" / "driftline.rules.yml"
CASES = sorted((Path(__file__).parent / "rules").glob("*.yml"))
NAME = re.compile(r"\bdriftline_[a-z0-9_]+")


def rules(kind):
    groups = YAML(typ="safe").load(RULES)["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def exported():
    """Names of all samples that the service writes."""
    found: list[Metric] = [*Telemetry().registry.collect(), *families(Snapshot())]
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {one.name + suffix for one in found for suffix in suffixes[one.type]}


def test_the_rules_are_well_formed():
    check_rules(RULES)


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_the_rules_say_what_they_should(case):
    run_rule_tests(case)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not():
    fires: set[str] = set()
    rests: set[str] = set()
    for case in CASES:
        for test in YAML(typ="safe").load(case)["tests"]:
            for expected in test["alert_rule_test"]:
                (fires if expected["exp_alerts"] else rests).add(expected["alertname"])
    names = {rule["alert"] for rule in rules("alert")}
    assert fires == names
    assert rests == names


def test_rules_ask_for_what_the_service_exports():
    recorded = {part for rule in rules("record") for part in NAME.findall(rule["record"])}
    recorded |= {"driftline_commit_seconds", "driftline_judge_delay_seconds"}
    asked = {
        name for kind in ("alert", "record") for rule in rules(kind) for name in NAME.findall(rule["expr"])
    }
    assert asked - exported() - recorded == set()


def test_every_alert_has_a_section_in_the_runbook():
    headings = re.findall(r"^### (\w+)$", (REPOSITORY / "docs" / "operations.md").read_text(), re.MULTILINE)
    alerts = [rule["alert"] for rule in rules("alert")]
    assert headings == alerts
    for rule in rules("alert"):
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["labels"]["severity"]
