"""Values occur that the reference never saw."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from detectors.quality.facts import Example
from detectors.quality.planted import of_some, planted_facts, planted_reference
from detectors.quality.rates import BinRateWatch
from schemas.batch import Batch, Categories


class UnseenWatch(BinRateWatch):
    """Watches the share of rows whose category the reference does not know."""

    name: ClassVar[str] = "unseen"
    label: ClassVar[str] = "(unseen)"
    words: ClassVar[str] = "have a value that the reference never saw"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Three percent are of a carrier that did not fly before."""
        reference = planted_reference(seed=1)
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=100),
                planted_facts(reference, seed=3, windows=4, fault=_fault),
                column="carrier",
                delay=1,
            ),
        )


def _fault(batch: Batch) -> Batch:
    carrier = batch.categories[0]
    new = Categories(np.where(of_some(6, share=0.03), np.int32(4), carrier.codes), carrier.values)
    return replace(batch, categories=(new,), segments={"carrier": new})
