"""Rules about several columns, unique values and fresh instants, from the configuration to the finding."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.config.loader import examine_text
from tests.monitor.test_judge import MINUTE_MS, START_MS, World

FILE = """\
kafka: {bootstrap_servers: x}
database_url: sqlite:///x.db
streams: [{topic: t, kind: predictions}]
defaults:
  rules:
    shared: {expression: "a <= b"}
models:
  m:
    columns: {carrier: {kind: categorical}, n: {min: 0}}
    rules:
"""


class Ruled(World):
    """A world whose events have two delays, an id and an instant."""

    def emit(self, minute: int, events: list[dict[str, Any]]) -> None:
        """Produce events of a minute."""
        for i, features in enumerate(events):
            event = {
                "event_id": f"e{self.sent}", "model": "churn", "version": "1",
                "timestamp": START_MS + minute * MINUTE_MS + i, "features": features, "prediction": 1,
            }  # fmt: skip
            self.broker.append("pp", 0, json.dumps(event).encode(), timestamp_ms=self.clock.now_ms())
            self.sent += 1
        self.take_in()

    def result(self, detector: str, minute: int = 60) -> tuple[Any, ...]:
        (row,) = self.rows(
            'SELECT "column", decision, n, statistic, explanation FROM result '
            f"WHERE detector = 'contract.{detector}' AND \"window\" = '10m' "
            f"AND start_ms = {START_MS + minute * MINUTE_MS}"
        )
        return row


@pytest.fixture
def made(database_url: str) -> Any:
    worlds: list[Ruled] = []

    def make(**defaults: Any) -> Ruled:
        worlds.append(Ruled(database_url, **defaults))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def good(number: int, **more: Any) -> list[dict[str, Any]]:
    return [{"dep": 5, "arr": 9, "cancelled": 0, **more} for _ in range(number)]


def test_a_rule_about_several_columns_counts_only_rows_that_it_can_say_something_of(made: Any) -> None:
    expression = "dep <= arr + 120 or cancelled == 1"
    world = made(rules={"delays": {"expression": expression, "limit": "2 rows", "severity": "page"}})
    world.emit(0, good(250))
    world.emit(59, good(1))
    late = [{"dep": 500, "arr": 9, "cancelled": 0}] * 3
    unknown = [{"dep": None, "arr": 9, "cancelled": 0}, {"dep": 500, "arr": 9, "cancelled": None}]
    world.emit(61, good(6) + late + unknown)
    world.emit(80, good(1))
    world.judge.sweep()
    column, decision, n, statistic, explanation = world.result("agreement")
    assert (column, decision, n, statistic) == ("rules.delays", "drift", 9, 3.0)
    assert explanation.startswith(
        f"rules.delays: 3 of 9 rows (33.3 %) break {expression}, at most 2 allowed; first 01:01:00"
    )
    assert world.rows(
        "SELECT severity, \"column\" FROM alert WHERE kind = 'quality' AND severity = 'page'"
    ) == [("page", "rules.delays")]
    ((stored,),) = world.rows(
        f"SELECT attribution FROM result WHERE detector = 'contract.agreement' AND \"window\" = '10m' "
        f"AND start_ms = {START_MS + 60 * MINUTE_MS}"
    )
    examples = json.loads(stored)["examples"]
    assert [one["values"] for one in examples] == [{"dep": "500", "arr": "9", "cancelled": "0"}] * 3


def test_rows_that_break_it_can_be_kept_out(made: Any) -> None:
    world = made(
        rules={"delays": {"expression": "dep <= arr", "action": "quarantine"}},
        columns={"dep": {"personal": True}},
    )
    world.emit(0, [{"dep": 1, "arr": 2}, {"dep": 3, "arr": 2}, {"dep": 3, "arr": None}])
    assert world.rows("SELECT kind, reason FROM dead_letter") == [
        ("contract", "contract: rules.delays: dep, arr break dep <= arr")
    ]
    assert world.rows("SELECT counted, dead_lettered FROM partition_state") == [(2, 1)]


def test_instants_may_be_only_so_old(made: Any) -> None:
    world = made(columns={"at": {"freshness": "2h"}})
    world.emit(0, good(250, at="2026-01-01T00:00:00Z"))
    world.emit(59, good(1))
    world.emit(
        61,
        [
            {"at": "2026-01-01T00:30:00.5+00:00"}, {"at": "2025-12-31T23:30:00Z"},
            {"at": "2025-12-31T22:00:00Z"}, {"at": "yesterday"}, {"at": None}, {},
        ],
    )  # fmt: skip
    world.emit(80, good(1))
    world.judge.sweep()
    assert world.result("fresh")[:4] == ("at", "drift", 6, 2.0)
    assert "are older than 2h at the time of the event" in world.result("fresh")[4]


def uniqueness(world: Ruled) -> list[tuple[Any, ...]]:
    return world.rows(
        'SELECT "column", decision, statistic, threshold_source, explanation FROM result '
        f"WHERE detector = 'contract.unique' AND \"window\" = '10m' "
        f'AND start_ms = {START_MS + 60 * MINUTE_MS} ORDER BY "column"'
    )


def test_repeats_of_few_values_are_counted_exactly(made: Any) -> None:
    world = made(
        columns={
            "id": {"unique": True, "severity": "page"}, "never": {"unique": True},
            "some": {"unique": True, "limit": 0.001},
        }
    )  # fmt: skip
    world.emit(0, [{"id": f"i{i}", "never": i, "some": i} for i in range(250)])
    world.emit(59, [{"id": "x", "never": -1, "some": -1}])
    for part in range(2):  # two slices, the second with one value of the first
        world.emit(61 + part, [{"id": f"j{part * 999 + i}", "never": part * 1_000 + i, "some": part * 999 + i}
                               for i in range(1_000)])  # fmt: skip
    world.emit(80, [{"id": "y", "never": -2, "some": -2}])
    world.judge.sweep()
    id_, never, some = uniqueness(world)
    assert id_[:4] == ("id", "drift", 1.0, "contract: unique, and at most 0 % of rows")
    assert id_[4] == "id: 1 of 2,000 rows (0.05 %) repeat a value, at most 0 allowed"
    assert never[:3] == ("never", "ok", 0.0)
    assert some[:3] == ("some", "ok", 1.0)


def test_repeats_of_many_values_are_seen_above_the_error_of_the_estimate(made: Any) -> None:
    world = made(columns={"id": {"unique": True, "severity": "page"}, "few": {"unique": True}})
    world.emit(0, [{"id": f"i{i}", "few": i} for i in range(250)])
    world.emit(59, [{"id": "x", "few": -1}])
    for part in range(2):
        rows = range(part * 3_000, (part + 1) * 3_000)
        world.emit(61 + part, [{"id": f"j{i % 5_000}", "few": i % 5_960} for i in rows])
    world.emit(80, [{"id": "y", "few": -2}])
    world.judge.sweep()
    few, id_ = uniqueness(world)
    assert few[:2] == ("few", "ok")
    assert id_[:2] == ("id", "drift")
    assert abs(id_[2] - 1_000) < 0.0325 * 5_000
    assert id_[3] == "contract: unique, within 3.2 % of the estimate, and at most 0 % of rows"
    assert "different values in 6,000 rows (± 3.2 %)" in id_[4]
    assert "fewer than 3.2 % cannot be seen" in id_[4]


def test_of_lists_it_is_not_known_which_are_the_same(made: Any) -> None:
    world = made(columns={"v": {"unique": True}})
    world.emit(0, good(250, v=[1.0, 2.0]))
    world.emit(61, good(10, v=[1.0, 2.0]))
    world.emit(80, good(1))
    world.judge.sweep()
    assert uniqueness(world) == []


def test_a_silent_model_is_told_of_when_its_contract_says_so(made: Any) -> None:
    world = made(freshness="45m", idle_after="10s")
    world.emit(0, good(250))
    world.emit(5, good(1))
    for minutes in (20, 22):
        world.clock.advance(minutes * MINUTE_MS)
        world.ingest.step()
        world.ingest.commit()
        assert world.silences.sweep() == []
    world.clock.advance(6 * MINUTE_MS)
    world.ingest.step()
    world.ingest.commit()
    assert [change.change for change in world.silences.sweep()] == ["opened"]
    ((summary,),) = world.rows("SELECT summary FROM alert WHERE kind = 'no_data'")
    assert "no events for 45m of event time, longer than the contract allows" in summary


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('{expression: "a <"}', "11: models.m.rules.x.expression: the end at character 4 cannot stand here"),
        ('{expression: "carrier > 1"}', "11: models.m.rules.x.expression: carrier at character 1 is a text"),
        (
            "{expression: \"n == 'UA'\"}",
            "11: models.m.rules.x.expression: == at character 3 compares what is",
        ),
        ('{expression: "a < b", stop: {rows: 5}}', "11: models.m.rules.x.stop: needs an action"),
        ("{limit: 1}", "11: models.m.rules.x.expression: is required"),
    ],
)
def test_what_is_wrong_is_said_with_line_path_and_place(rule: str, message: str) -> None:
    _, problems = examine_text(f"{FILE}      x: {rule}\n")
    assert any(str(problem).startswith(f"driftline.yaml:{message}") for problem in problems), problems


def test_rules_of_defaults_and_of_a_model_hold_together() -> None:
    configuration, problems = examine_text(f'{FILE}      x: {{expression: "a < 1"}}\n')
    assert problems == []
    assert configuration is not None
    contract = configuration.for_model("m").build_contract()
    assert [one.column for one in contract.agreements] == ["rules.shared", "rules.x"]
    assert [one.column for one in configuration.for_model("other").build_contract().agreements] == [
        "rules.shared"
    ]


def test_a_rule_of_a_column_that_has_none_is_refused() -> None:
    text = FILE.replace("n: {min: 0}", "n: {min: 0, rules: {allowed: {limit: 5 rows}}}")
    _, problems = examine_text(f'{text}      x: {{expression: "a < 1"}}\n')
    (problem,) = map(str, problems)
    assert problem == (
        "driftline.yaml:9: models.m.columns.n.rules.allowed: the column has no such rule (give values)"
    )
