"""Values are there."""

from __future__ import annotations

from typing import ClassVar

from schemas.checks.base import ColumnCheck, Example, Mask, Values
from schemas.checks.example_batches import WRONG, batch
from schemas.contract import ColumnRules, Contract, Rule


class MissingCheck(ColumnCheck):
    """Counts missing values, where a column is not nullable or only so many may be missing."""

    name: ClassVar[str] = "missing"
    formula: ClassVar[str] = "rows without a value, against the limit (max_missing, or limit without one)"

    def applies(self, rules: ColumnRules) -> bool:
        """Whether missing values break the contract."""
        return rules.counts_missing

    def agreed(self, rules: ColumnRules) -> Rule | None:
        """Return the rule on a column."""
        if not rules.counts_missing:
            return None
        return Rule("", "are without a value", rules.policy_of(self.name), "is missing")

    def mask(self, rules: ColumnRules, values: Values) -> Mask | None:
        """Find rows without a value."""
        return values.missing()

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return a few missing values, and a column that is not there at all."""
        contract = Contract((ColumnRules("age", counts_missing=True),))
        return (
            Example(
                contract,
                batch({"age": [1, WRONG, 3]}),
                batch({"age": [None, 2, 3]}),
                {"age": [True, False, False]},
            ),
            Example(
                contract,
                batch(categorical={"age": ["a", WRONG]}),
                batch(categorical={"age": ["a", WRONG, None]}),
                {"age": [False, False, True]},
            ),
            Example(contract, batch({"age": [1]}), batch({"other": [1, 2]}), {"age": [True, True]}),
        )
