"""Names match a regular expression as a whole."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from schemas.checks.base import ColumnCheck, Example, Mask, Values
from schemas.checks.example_batches import WRONG, batch
from schemas.contract import ColumnRules, Contract, Rule, terms_of

SHOWN = 60


class PatternCheck(ColumnCheck):
    """Counts names that do not match. RE2 takes time linear in the length of a name, whatever the pattern."""

    name: ClassVar[str] = "pattern"
    formula: ClassVar[str] = "rows with a value that the pattern does not match whole, against the limit"

    def applies(self, rules: ColumnRules) -> bool:
        """Whether the contract has a pattern."""
        return rules.pattern is not None

    def agreed(self, rules: ColumnRules) -> Rule | None:
        """Return the rule on a column."""
        if rules.pattern is None:
            return None
        shown = rules.pattern if len(rules.pattern) <= SHOWN else rules.pattern[: SHOWN - 1] + "…"
        policy = rules.policy_of(self.name)
        return Rule(terms_of(rules.pattern), f"do not match {shown}", policy, f"does not match {shown}")

    def mask(self, rules: ColumnRules, values: Values) -> Mask | None:
        """Look at the distinct values, then at the rows that hold a wrong one."""
        if values.categories is None or rules.pattern is None:
            return None
        matches = pc.match_substring_regex(values.categories.values, pattern=whole(rules.pattern))
        return values.among(~matches.to_numpy(zero_copy_only=False))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return alternatives, which are easily matched in part."""
        return (
            Example(
                Contract((ColumnRules("tail", pattern="N[0-9]+|X"),)),
                batch(categorical={"tail": ["N1", None, WRONG, "X"]}),
                batch(categorical={"tail": ["N1", None, WRONG, "N1a", "aX", "", "N1\n"]}),
                {"tail": [False, False, False, True, True, True, True]},
            ),
        )


def whole(pattern: str) -> str:
    """Make a pattern match whole values only."""
    return rf"\A(?:{pattern})\z"


def problem_of(pattern: str) -> str | None:
    """Say what is wrong with a pattern; None if it can be used.

    Examples
    --------
    >>> problem_of("N[0-9]+"), problem_of("N[0-9")
    (None, 'missing ]: [0-9')
    """
    for form in (pattern, whole(pattern)):
        try:
            pc.match_substring_regex(pa.array([""]), pattern=form)
        except pa.ArrowInvalid as problem:
            return str(problem).removeprefix("Invalid regular expression: ")
    return None
