"""Scores are probabilities: between 0 and 1, and those of an event add up to 1."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from schemas.batch import INVALID, OK
from schemas.checks.base import Check, Columns, Example, Mask, some
from schemas.checks.example_batches import WRONG, batch
from schemas.column import SCORE, Source
from schemas.contract import SCORE_SUMS, ColumnRules, Contract, Rule
from schemas.policy import Policy

TOLERANCE = 1e-3
ROUNDED = 5e-4  # what a score may lose that is written with three digits
_ROUNDING = 1e-9  # of the sum itself
MOST_CLASSES = 50  # of more classes not all scores are kept


class ProbabilityCheck(Check):
    """Counts scores outside 0 to 1, and events whose scores by class do not add up to 1.

    Scores with bounds of their own in the contract are left to those.
    """

    name: ClassVar[str] = "probability"
    formula: ClassVar[str] = (
        "rows with a score outside 0 to 1, or whose scores do not add up to 1 but for rounding "
        f"(the larger of {TOLERANCE} and {ROUNDED} for each class), against the limit"
    )

    def rule(self, column: str, contract: Contract) -> Rule | None:
        """Return the rule on a score, or on the sum of all."""
        rules = contract.of(column)
        if not contract.probabilities or (rules is not None and rules.has_bounds):
            return None
        plural, singular = ("do", "does") if column == SCORE_SUMS else ("are", "is")
        words = "not add up to 1" if column == SCORE_SUMS else "not between 0 and 1"
        policy = Policy(severity=None) if rules is None else rules.policy_of(self.name)
        return Rule("", f"{plural} {words}", policy, f"{singular} {words}")

    def masks(self, columns: Columns, contract: Contract) -> dict[str, Mask | None]:
        """Look at all scores."""
        found: dict[str, Mask | None] = {}
        if not contract.probabilities:
            return found
        numeric = columns.batch.numeric
        scores = {spec.name: i for i, spec in enumerate(numeric) if spec.source is Source.SCORE}
        for name in scores:
            if self.rule(name, contract) is not None:
                found[name] = _outside(columns, name)
        classes = [name for name in scores if name != SCORE]
        if 1 < len(classes) < MOST_CLASSES and all(name in found for name in classes):
            found[SCORE_SUMS] = _sums(columns, [scores[name] for name in classes])
        return found

    def shown(self, column: str, _contract: Contract) -> tuple[str, ...]:
        """Return the score; for the sum of all, no column shows what is wrong."""
        return () if column == SCORE_SUMS else (column,)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return one score, scores by class, and a score that is none by its contract."""
        return (
            Example(
                Contract(probabilities=True),
                batch({"score": [0, 1, None, WRONG]}),
                batch({"score": [0, 1.01, None, -0.5, WRONG]}),
                {"score": [False, True, False, True, False]},
            ),
            Example(
                Contract((ColumnRules("score", low=-9.0),), probabilities=True),
                batch({"score": [-5.0], "score.a": [0.3], "score.b": [0.701]}),
                batch(
                    {
                        "score": [-5.0, 7.0, 0.0, 0.0],
                        "score.a": [0.3, 1.5, None, 0.3],
                        "score.b": [0.8, -0.5, None, WRONG],
                    }
                ),
                {
                    "score.a": [False, True, False, False],
                    "score.b": [False, True, False, False],
                    SCORE_SUMS: [True, False, False, False],
                },
            ),
        )


def _outside(columns: Columns, name: str) -> Mask | None:
    values = columns.values(name)
    numbers = values.numbers
    if numbers is None or not len(numbers) or (numbers.min() >= 0 and numbers.max() <= 1):
        return None
    return values.valid((numbers < 0) | (numbers > 1))


def _sums(columns: Columns, at: list[int]) -> Mask | None:
    """Events with scores, all of them numbers, that do not add up; numbers that are missing are 0."""
    numbers, status = columns.batch.numbers[at], columns.batch.status[at]
    is_off = np.abs(numbers.sum(axis=0) - 1) > max(TOLERANCE, ROUNDED * len(at)) + _ROUNDING
    if not is_off.any():
        return None
    return some(is_off & (status == OK).any(axis=0) & ~(status == INVALID).any(axis=0))
