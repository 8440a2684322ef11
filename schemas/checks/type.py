"""Values are of the type that the contract names."""

from __future__ import annotations

from typing import ClassVar

from schemas.checks.base import ColumnCheck, Example, Mask, Values
from schemas.checks.example_batches import WRONG, batch
from schemas.column import Kind
from schemas.contract import ColumnRules, Contract, Rule, terms_of


class TypeCheck(ColumnCheck):
    """Counts values of another type: text where numbers are agreed, lists where names are."""

    name: ClassVar[str] = "type"
    formula: ClassVar[str] = "rows whose value is of another type than agreed, against the limit"

    def applies(self, rules: ColumnRules) -> bool:
        """Whether the contract says what values are."""
        return rules.kind is not None or rules.values is not None

    def agreed(self, rules: ColumnRules) -> Rule | None:
        """Return the rule on a column."""
        if not self.applies(rules):
            return None
        expected = "" if rules.kind is None else f" ({rules.kind} is agreed)"
        policy, fault = rules.policy_of(self.name), f"is of another type{expected}"
        return Rule(terms_of(rules.kind), f"are of another type{expected}", policy, fault)

    def mask(self, rules: ColumnRules, values: Values) -> Mask | None:
        """Find invalid values; in a column of another kind all values are."""
        if values.kind is not None and rules.kind is not None and values.kind is not rules.kind:
            return values.present()
        return values.invalid()

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return invalid values, and a column of another kind."""
        numeric = Contract((ColumnRules("age", Kind.NUMERIC),))
        return (
            Example(
                numeric,
                batch({"age": [1, 2, 3, 4]}),
                batch({"age": [1, None, WRONG, 4]}),
                {"age": [False, False, True, False]},
            ),
            Example(
                numeric,
                batch({"age": [1, None]}),
                batch(categorical={"age": ["a", None, WRONG]}),
                {"age": [True, False, True]},
            ),
        )
