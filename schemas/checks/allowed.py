"""Values are among those that the contract lists."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow.compute as pc

from schemas.checks.base import ColumnCheck, Example, Mask, Values
from schemas.checks.example_batches import WRONG, batch
from schemas.contract import ColumnRules, Contract, Rule, listed, terms_of


class AllowedCheck(ColumnCheck):
    """Counts values that are not in the list."""

    name: ClassVar[str] = "allowed"
    formula: ClassVar[str] = "rows with a value that is not among the agreed ones, against the limit"

    def applies(self, rules: ColumnRules) -> bool:
        """Whether the contract lists values."""
        return rules.values is not None

    def agreed(self, rules: ColumnRules) -> Rule | None:
        """Return the rule on a column."""
        if rules.values is None:
            return None
        terms = terms_of(sorted(rules.values), sorted(rules.numbers))
        return Rule(
            terms, f"are none of {listed(rules.values)}", rules.policy_of(self.name), "is not allowed"
        )

    def mask(self, rules: ColumnRules, values: Values) -> Mask | None:
        """Look at the distinct values, then at the rows that hold a wrong one."""
        if values.categories is not None:
            known = pc.is_in(values.categories.values, value_set=rules.value_set)
            return values.among(~known.to_numpy(zero_copy_only=False))
        if values.numbers is not None:
            return values.valid(~np.isin(values.numbers, rules.numbers))
        return None

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return names, and numbers that were not declared as names."""
        named = Contract((ColumnRules("carrier", values=("UA", "AA")),))
        numbered = Contract((ColumnRules("grade", values=("1", "2"), numbers=(1.0, 2.0)),))
        return (
            Example(
                named,
                batch(categorical={"carrier": ["UA", None, WRONG, "AA"]}),
                batch(categorical={"carrier": ["UA", None, WRONG, "ua", "AA", "XX"]}),
                {"carrier": [False, False, False, True, False, True]},
            ),
            Example(
                numbered,
                batch({"grade": [1, None, 2]}),
                batch({"grade": [1, None, 3, WRONG]}),
                {"grade": [False, False, True, False]},
            ),
        )
