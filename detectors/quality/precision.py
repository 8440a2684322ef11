"""Numbers are rounded otherwise than those of the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from detectors.quality.distributions import DistributionWatch
from detectors.quality.facts import Example, Facts
from detectors.quality.planted import planted_facts, planted_reference
from detectors.quality.rows import DECIMALS, numeric_columns, roundings
from detectors.quality.tensors import counts_of
from detectors.reference import Reference
from detectors.tensor import IntArray, ReferenceCounts
from schemas.batch import Batch


class PrecisionWatch(DistributionWatch):
    """Watches how many decimals the numbers of each column have, or of which power of ten they are multiples.

    Notes
    -----
    Counted on sampled rows, of the reference as of windows; zeros and numbers beyond 10¹² count for none.
    """

    name: ClassVar[str] = "precision"
    tolerance: ClassVar[float] = 0.1
    words: ClassVar[str] = "numbers are rounded otherwise"

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """Columns of numbers of which the reference has sampled any."""
        if reference.quality is None:
            return ()
        specs, known = reference.binning.columns, reference.quality.decimals.sum(axis=(0, 2)) > 0
        places = numeric_columns(reference.binning)
        return tuple(specs[at].name for at in places[known].tolist())

    def of_reference(self, reference: Reference) -> ReferenceCounts:
        """Roundings of the reference and of its windows."""
        places = numeric_columns(reference.binning)
        none = np.zeros((0, len(places), len(DECIMALS)), np.int64)
        every = none if reference.quality is None else reference.quality.decimals
        windows = every[:, None, every.sum(axis=(0, 2)) > 0]
        kept = windows if len(windows) == len(reference.window_starts) else windows[:0]
        return counts_of(reference, self.columns(reference), DECIMALS, windows.sum(axis=0), kept)

    def of_window(self, reference: Reference, facts: Facts) -> IntArray:
        """Roundings of a window."""
        found = roundings(reference.binning, facts.sample)
        if reference.quality is None:
            return found[None, :0]
        return found[None, reference.quality.decimals.sum(axis=(0, 2)) > 0]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Amounts come without their cents."""
        reference = planted_reference(seed=1)
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=60),
                planted_facts(reference, seed=3, windows=4, fault=_fault),
                column="amount",
                delay=1,
            ),
        )


def _fault(batch: Batch) -> Batch:
    return replace(batch, numbers=batch.numbers.round(0))
