"""Every section of the runbook was rehearsed, and every command in it is one that there is."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from monitor.attention import problem as problems
from monitor.cli import driftline
from monitor.config import Configuration
from tests.kit.prometheus import check_configuration

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
HERE = "tests/operations/test_rehearsals.py"

# The condition comes about, and what the section says to do is done.
REHEARSED = {
    "DriftlineModelAlert": [f"{HERE}::test_windows_wait_and_a_model_drifts"],
    "DriftlineManyModels": [f"{HERE}::test_many_models_page"],
    "DriftlineDown": [
        "tests/monitor/test_cli.py::test_errors_become_exit_codes",
        "tests/recovery/test_moves.py::test_three_members_share_the_partitions_and_take_over_from_each_other",
    ],
    "DriftlineDatabaseUnreadable": [
        f"{HERE}::test_the_database_is_away",
        "tests/recovery/test_away.py::test_a_server_that_is_killed_and_comes_back_is_waited_for",
    ],
    "DriftlineNothingIsRead": [f"{HERE}::test_nothing_is_read"],
    "DriftlineNoData": [f"{HERE}::test_no_data"],
    "DriftlineLagGrows": [f"{HERE}::test_lag_grows"],
    "DriftlineWatermarkStands": [f"{HERE}::test_a_partition_holds_event_time_back"],
    "DriftlinePartitionStopped": [
        f"{HERE}::test_a_partition_is_stopped",
        "tests/monitor/test_status.py::test_lag_and_resuming_with_a_real_broker",
    ],
    "DriftlineDeadLetters": [
        f"{HERE}::test_dead_letters",
        "tests/monitor/test_replay.py::test_the_command_marks_letters",
        "tests/monitor/test_replay.py::test_a_replayed_message_is_counted_with_all_its_events",
    ],
    "DriftlineLateEvents": [f"{HERE}::test_late_events"],
    "DriftlineCommitSlow": [f"{HERE}::test_slow_commits"],
    "DriftlineJudgingSlow": [f"{HERE}::test_windows_wait_and_a_model_drifts"],
    "DriftlineDeliveryFailing": [f"{HERE}::test_a_receiver_is_away"],
    "DriftlineDeliveryStands": [f"{HERE}::test_nobody_sends"],
    "DriftlineMessagesGivenUp": [
        f"{HERE}::test_a_message_is_given_up_and_sent_again",
        "tests/monitor/console/test_deliveries_pages.py::test_dead_messages_are_sent_again_one_or_all",
    ],
    "DriftlineReceiverDisabled": [
        f"{HERE}::test_a_receiver_wants_nothing_any_more",
        "tests/monitor/test_deliver.py::test_a_disabled_receiver_gets_nothing_more_until_its_options_change",
    ],
    "DriftlineBudgetSpent": [f"{HERE}::test_the_budget_is_overspent"],
    "DriftlineRetrainingFailed": [
        "tests/monitor/test_retraining.py::test_a_target_that_refuses_is_not_asked_again",
        "tests/monitor/test_retraining.py::test_a_person_asks_whatever_the_evidence",
    ],
    "DriftlineSeriesDropped": [
        "tests/monitor/test_web_metrics.py::test_label_sets_are_capped_and_the_rest_is_counted"
    ],
    "DriftlineMixedVersions": [
        f"{HERE}::test_two_versions_run_beside_each_other",
        "tests/upgrades/test_rolling.py::test_two_versions_read_one_topic_while_the_tables_are_expanded",
    ],
}


def sections(level: str) -> dict[str, str]:
    """Text of the sections of a level, by heading."""
    parts = re.split(rf"^{level} (\w+)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_section_was_rehearsed() -> None:
    assert list(sections("###")) == list(REHEARSED)


@pytest.mark.parametrize("node", sorted({node for nodes in REHEARSED.values() for node in nodes}))
def test_the_rehearsals_are_there(node: str) -> None:
    file, name = node.split("::")
    tree = ast.parse((ROOT / file).read_text())
    found = {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}
    assert name in found


def commands_in(text: str) -> list[str]:
    """Commands between backticks, or in blocks."""
    inline = re.findall(r"`(driftline [^`\n]+)`", text)
    blocks = re.findall(r"^(driftline .+)$", text, re.MULTILINE)
    return [one for one in [*inline, *blocks] if not one.startswith("driftline-")]


def parsed(command: str) -> str:
    """Let the real command line read a command, without running it; returns its name."""
    words = shlex.split(command)[1:]
    named = {"T": "topic", "N": "0", "MODEL": "m", "FILE": str(PAGE), "position|earliest|latest": "earliest"}
    words = [named.get(word, word) for word in words]
    context = driftline.make_context("driftline", words)
    group: click.Command = driftline
    names = []
    rest = [*getattr(context, "_protected_args", ()), *context.args]
    while isinstance(group, click.Group) and rest:
        name, found, rest = group.resolve_command(context, rest)
        assert found is not None, command
        names.append(str(name))
        if isinstance(found, click.Group):
            group = found
            continue
        found.make_context(str(name), list(rest), parent=context)
        break
    return " ".join(names)


def test_every_command_of_the_page_is_one() -> None:
    found = {parsed(command) for command in commands_in(PAGE.read_text())}
    wanted = {"status", "check", "partitions resume", "partitions list", "replay", "explain-event", "run"}
    assert wanted | {"db upgrade", "reference list"} <= found


def test_every_problem_has_a_section_and_its_commands_are_ones() -> None:
    folder = Path(problems.__file__).parent
    text = "".join(path.read_text() for path in sorted(folder.glob("*.py")))
    names = set(re.findall(r'Problem\("(\w+)"', text))
    assert len(names) > 15
    assert names <= {*sections("###"), *sections("####")}
    assert set(sections("####")) <= names
    filled = re.sub(r"\{[^{}]*\}", "0", text)
    for command in re.findall(r"(driftline (?:check|run|replay|partitions|reference|db)[^\";()]*)", filled):
        if not command.endswith("?"):  # a question about it
            assert parsed(command)


def test_the_example_of_tracing_is_a_configuration() -> None:
    block = re.search(r"```yaml\n(tracing: .+)\n```", PAGE.read_text())
    assert block is not None
    options = YAML(typ="safe").load(block[1])
    needed = {
        "kafka": {"bootstrap_servers": "a:1"},
        "database_url": "sqlite:///x.db",
        "streams": [{"topic": "p", "kind": "predictions"}],
    }
    made = Configuration.model_validate({**needed, **options})
    assert made.tracing is not None
    named = re.findall(r"(\w+)", block[1].partition("#")[2].replace("0.01", ""))
    assert set(named) <= set(type(made.tracing).model_fields)


def test_the_example_of_a_collector_hangs_together(tmp_path: Path) -> None:
    document = YAML(typ="safe").load(ROOT / "deploy" / "opentelemetry" / "collector.yaml")
    pipelines = document["service"]["pipelines"]
    assert set(pipelines) == {"traces", "metrics"}
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines.values() for name in pipeline[kind]}
        assert used == set(document[kind])
    scraped = document["receivers"]["prometheus"]["config"]
    assert re.fullmatch(
        ".*driftline.*", scraped["scrape_configs"][0]["job_name"]
    )  # what DriftlineDown asks for
    file = tmp_path / "prometheus.yml"
    with file.open("w") as out:
        YAML(typ="safe").dump(scraped, out)
    check_configuration(file)
