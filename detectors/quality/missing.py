"""More values are missing than in the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from detectors.quality.facts import Example
from detectors.quality.planted import of_some, planted_facts, planted_reference
from detectors.quality.rates import RateWatch
from schemas.batch import MISSING, Batch
from schemas.column import ColumnSpec, Source


class MissingWatch(RateWatch):
    """Watches the share of rows without a value."""

    name: ClassVar[str] = "missing"
    label: ClassVar[str] = "missing"
    words: ClassVar[str] = "have no value"

    def is_watched(self, spec: ColumnSpec) -> bool:
        """Whether it is normal that rows have a value: not so of errors."""
        return spec.source is not Source.ERROR

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Eight percent are missing where it were two."""
        reference = planted_reference(seed=1)
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=100),
                planted_facts(reference, seed=3, windows=4, fault=_fault),
                column="amount",
                delay=1,
            ),
        )


def _fault(batch: Batch) -> Batch:
    status = batch.status.copy()
    status[0, of_some(4, share=0.06)] = MISSING
    return replace(batch, status=status, numbers=np.where(status == MISSING, 0.0, batch.numbers))
