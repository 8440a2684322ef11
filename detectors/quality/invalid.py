"""More values are of another type than in the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from detectors.quality.facts import Example
from detectors.quality.planted import of_some, planted_facts, planted_reference
from detectors.quality.rates import BinRateWatch
from schemas.batch import INVALID, Batch


class InvalidWatch(BinRateWatch):
    """Watches the share of rows whose value is of another type than the column."""

    name: ClassVar[str] = "invalid"
    label: ClassVar[str] = "invalid"
    words: ClassVar[str] = "have a value of another type"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Three percent are text instead of numbers."""
        reference = planted_reference(seed=1)
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=100),
                planted_facts(reference, seed=3, windows=4, fault=_fault),
                column="age",
                delay=1,
            ),
        )


def _fault(batch: Batch) -> Batch:
    status = batch.status.copy()
    status[1, of_some(5, share=0.03)] = INVALID
    return replace(batch, status=status, numbers=np.where(status == INVALID, 0.0, batch.numbers))
