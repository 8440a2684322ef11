"""Numbers lie between the smallest and the largest valid one."""

from __future__ import annotations

import math
from typing import ClassVar

from schemas.checks.base import ColumnCheck, Example, Mask, Values
from schemas.checks.example_batches import WRONG, batch
from schemas.contract import ColumnRules, Contract, Rule, terms_of


class RangeCheck(ColumnCheck):
    """Counts numbers below `min` or above `max`."""

    name: ClassVar[str] = "range"
    formula: ClassVar[str] = "rows with a number below min or above max, against the limit"

    def applies(self, rules: ColumnRules) -> bool:
        """Whether the contract has bounds."""
        return rules.has_bounds

    def agreed(self, rules: ColumnRules) -> Rule | None:
        """Return the rule on a column."""
        if not rules.has_bounds:
            return None
        words, policy = _words(rules), rules.policy_of(self.name)
        return Rule(terms_of(rules.low, rules.high), f"are {words}", policy, f"is {words}")

    def mask(self, rules: ColumnRules, values: Values) -> Mask | None:
        """Find numbers outside; the extremes tell first whether there can be any."""
        numbers = values.numbers
        if numbers is None or not len(numbers):
            return None
        low = -math.inf if rules.low is None else rules.low
        high = math.inf if rules.high is None else rules.high
        if numbers.min() >= low and numbers.max() <= high:
            return None
        return values.valid((numbers < low) | (numbers > high))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return bounds on both sides and on one."""
        both = Contract((ColumnRules("age", low=18.0, high=120.0),))
        return (
            Example(
                both,
                batch({"age": [18, None, 120, WRONG]}),
                batch({"age": [17.5, None, 120.5, WRONG, 60]}),
                {"age": [True, False, True, False, False]},
            ),
            Example(
                Contract((ColumnRules("age", high=-1.0),)),
                batch({"age": [-5, None, WRONG]}),
                batch({"age": [-5, None, 0]}),
                {"age": [False, False, True]},
            ),
            Example(
                Contract((ColumnRules("age", low=1.0),)),
                batch({"age": [1, None]}),
                batch({"age": [0, None]}),
                {"age": [True, False]},
            ),
        )


def _words(rules: ColumnRules) -> str:
    if rules.low is None:
        return f"above {rules.high:g}"
    if rules.high is None:
        return f"below {rules.low:g}"
    return f"outside {rules.low:g} to {rules.high:g}"
