"""Columns of an event agree with each other: a condition about several of them holds."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from schemas.checks.base import Check, Columns, Example, Mask, some
from schemas.checks.example_batches import batch
from schemas.contract import AGREEMENT_PREFIX, Agreement, Contract, Rule, listed, terms_of
from schemas.expressions.evaluating import evaluate
from schemas.expressions.expression import Expression
from schemas.expressions.truth import Truth

SHOWN = 60


class AgreementCheck(Check):
    """Counts events for which a condition about several columns is false.

    Events of which that is not known, because a value is missing, are not held against the rule.
    """

    name: ClassVar[str] = "agreement"
    formula: ClassVar[str] = (
        "rows for which the expression is false, of those where it is known, against the limit"
    )

    def columns(self, contract: Contract) -> tuple[str, ...]:
        """Names of the rules; each is judged like a column."""
        return tuple(agreement.column for agreement in contract.agreements)

    def rule(self, column: str, contract: Contract) -> Rule | None:
        """Return the rule of a name."""
        agreement = contract.agreement(column)
        if agreement is None:
            return None
        source = agreement.expression.source
        shown = source if len(source) <= SHOWN else source[: SHOWN - 1] + "…"
        return Rule(
            terms_of(source), f"break {shown}", agreement.policy, f"{listed(agreement.shown)} break {shown}"
        )

    def masks(self, columns: Columns, contract: Contract) -> dict[str, Mask | None]:
        """Evaluate every rule."""
        return {one.column: _broken(_truth(columns, one)) for one in contract.agreements}

    def skipped(self, columns: Columns, contract: Contract) -> dict[str, Mask]:
        """Find the rows for which a rule is neither true nor false."""
        found = {one.column: _truth(columns, one).known for one in contract.agreements}
        return {name: ~known for name, known in found.items() if known is not None}

    def shown(self, column: str, contract: Contract) -> tuple[str, ...]:
        """Return the columns that the rule is about, or that it says."""
        agreement = contract.agreement(column)
        return () if agreement is None else agreement.shown

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return a rule about two numbers, and one about a number and a name."""
        delays = Agreement("delays", Expression("dep <= arr + 120 or cancelled == 1"))
        named = Agreement("named", Expression("carrier in ['UA', 'AA'] and not seats > 500"))
        return (
            Example(
                Contract(agreements=(delays,)),
                batch({"dep": [1, 500, None], "arr": [1, 1, 1], "cancelled": [0, 1, 0]}),
                batch({"dep": [1, 500, None, 500], "arr": [1, 1, 1, 1], "cancelled": [0, 0, 0, None]}),
                {f"{AGREEMENT_PREFIX}delays": [False, True, False, False]},
            ),
            Example(
                Contract(agreements=(named,)),
                batch({"seats": [100, None]}, {"carrier": ["UA", "AA"]}),
                batch({"seats": [100, 501, None, None]}, {"carrier": ["UA", "AA", "XX", None]}),
                {f"{AGREEMENT_PREFIX}named": [False, True, True, False]},
            ),
        )


def _truth(columns: Columns, agreement: Agreement) -> Truth:
    known = columns.truths.get(agreement.expression.source)
    if known is None:
        known = columns.truths[agreement.expression.source] = evaluate(agreement.expression.tree, columns)
    return known


def _broken(truth: Truth) -> Mask | None:
    wrong = ~truth.holds if truth.known is None else truth.known & ~truth.holds
    return some(np.asarray(wrong))
