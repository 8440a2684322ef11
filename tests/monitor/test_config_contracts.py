"""What a contract may say of a column, what is refused, and which rules it becomes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from monitor.config.columns import ColumnContract, contract_of
from schemas.column import Kind
from schemas.contract import ColumnRules
from schemas.policy import Action, Brake, Limit, Policy


def rules(**options: Any) -> ColumnRules:
    return ColumnContract.model_validate(options).hard_rules("x")


def test_a_column_that_is_only_named_has_to_be_there_and_nothing_else() -> None:
    assert rules() == ColumnRules("x")
    assert rules(required=False) == ColumnRules("x", required=False)


def test_options_become_rules() -> None:
    made = rules(kind="numeric", min=0, max=5.5, nullable=False, limit=0.1, severity="page")
    assert made == ColumnRules(
        "x", Kind.NUMERIC, 0.0, 5.5, counts_missing=True, policy=Policy(Limit(0.1), "page")
    )


def test_missing_values_have_a_limit_of_their_own() -> None:
    made = rules(max_missing=0.2, limit=0.5)
    assert (made.counts_missing, made.policy.limit) == (True, Limit(0.5))
    assert made.policy_of("missing").limit == Limit(0.2)
    assert made.policy_of("range").limit == Limit(0.5)
    assert rules(nullable=False, max_missing="20 rows").policy_of("missing").limit == Limit(rows=20)
    assert not rules(limit=0.5).counts_missing


def test_bounds_are_for_numbers_and_patterns_for_names() -> None:
    assert rules(min=0).kind is Kind.NUMERIC
    assert rules(pattern="a+").kind is Kind.CATEGORICAL
    assert rules(values=["a"]).kind is None


def test_values_are_named_as_events_name_them() -> None:
    made = rules(values=["UA", 1, 2.0, True, 0.5])
    assert made.values == ("UA", "1", "2", "true", "0.5")
    assert made.numbers == (1.0, 2.0, 1.0, 0.5)


def test_single_rules_differ_from_what_the_column_says() -> None:
    made = rules(
        values=["UA"], limit="1 %", severity="info", max_missing=0.3,
        rules={
            "allowed": {"limit": "5 rows", "action": "quarantine", "stop": {"share": 0.2}},
            "missing": {"severity": "page"},
            "type": {"action": "stop"},
        },
    )  # fmt: skip
    assert made.policy == Policy(Limit(0.01), "info")
    assert made.policy_of("allowed") == Policy(Limit(rows=5), "info", Action.QUARANTINE, Brake(0.2, 1_000))
    assert made.policy_of("missing") == Policy(Limit(0.3), "page")
    assert made.policy_of("type") == Policy(Limit(0.01), "info", Action.COUNT, Brake())
    assert made.policy_of("pattern") == made.policy
    assert made.acts
    assert not rules(values=["UA"], rules={"allowed": {"severity": "page"}}).acts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "N[0-9"}, "is not a regular expression of RE2: missing ]"),
        ({"pattern": r"(a)\1"}, "is not a regular expression of RE2"),
        ({"pattern": "a)|(b"}, "is not a regular expression of RE2"),
        ({"pattern": "a(?=b)"}, "is not a regular expression of RE2"),
        ({"pattern": "a", "kind": "numeric"}, "is for categorical columns"),
        ({"pattern": "a", "min": 1}, "is for categorical columns"),
        ({"pattern": ""}, "at least 1"),
        ({"limit": 1.1}, "1.1 is no limit (use a share from 0 to 1, a percentage such as 1 %"),
        ({"limit": -0.1}, "-0.1 is no limit"),
        ({"limit": "5"}, "'5' is no limit"),
        ({"limit": "101 %"}, "'101 %' is no limit"),
        ({"limit": True}, "True is no limit"),
        ({"max_missing": "many rows"}, "is no limit"),
        ({"rules": {"range": {"limit": 2}}}, "2 is no limit"),
        ({"rules": {"sorted": {}}}, "Input should be 'type', 'missing'"),
        ({"rules": {"type": {"stop": {}}}}, "needs an action"),
        ({"rules": {"required": {"action": "quarantine"}}}, "is about windows"),
        ({"severity": "loud"}, "'info', 'warn' or 'page'"),
        ({"nullable": "no"}, "boolean"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        ColumnContract.model_validate(options)


def test_a_pattern_takes_time_linear_in_the_value() -> None:
    from schemas.checks.base import Columns
    from schemas.checks.catalog import checks
    from schemas.checks.example_batches import batch

    contract = contract_of({"x": ColumnContract.model_validate({"pattern": "(a+)+"})}, None)
    bad = batch(categorical={"x": ["a" * 50_000 + "b", "a" * 50_000]})
    mask = checks()["pattern"].masks(Columns(bad), contract)["x"]
    assert mask is not None
    assert mask.tolist() == [True, False]


def test_scores_of_a_regression_need_not_be_probabilities() -> None:
    assert contract_of({}, "binary_classification").probabilities
    assert contract_of({}, None).probabilities
    assert not contract_of({}, "regression").probabilities
