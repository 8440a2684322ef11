"""More events come after newer ones of their partition than in the reference."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from detectors.base import Moment
from detectors.quality.facts import Example, Facts
from detectors.quality.planted import Traffic, planted_facts, planted_reference
from detectors.quality.rates import RateWatch
from detectors.reference import Reference
from detectors.tensor import IntArray

COLUMN = "timestamp"


class OrderWatch(RateWatch):
    """Watches the share of events that are out of order.

    Notes
    -----
    An event is out of order if, in its partition, an earlier one of the same model was newer by more than the
    allowed lateness. The newest time of each model and partition is stored with the offsets, so that the same
    log gives the same answer however it is cut into batches.
    """

    name: ClassVar[str] = "order"
    words: ClassVar[str] = "came after newer ones, by more than the allowed lateness"
    by_segment: ClassVar[bool] = False

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """The time of events, where the reference knows how its events arrived."""
        known = reference.quality
        return (COLUMN,) if known is not None and known.knows_arrivals else ()

    def of_reference(self, reference: Reference) -> tuple[IntArray, IntArray]:
        """Rows of the reference that were out of order, and the others."""
        known = np.zeros((0, 3), np.int64) if reference.quality is None else reference.quality.arrivals
        windows = np.stack([known[:, 2], known[:, 0] - known[:, 2]], axis=1)[:, None, None, :]
        return windows.sum(axis=0), windows

    def of_window(self, reference: Reference, facts: Facts, moment: Moment) -> IntArray:
        """Rows of a window that were out of order, and the others."""
        behind = facts.arrivals.behind
        return np.array([[[behind, facts.arrivals.told - behind]]], np.int64)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Six in a hundred events come out of order, where it was one."""
        reference = planted_reference(seed=1, traffic=Traffic())
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=100, traffic=Traffic()),
                planted_facts(reference, seed=3, windows=4, traffic=Traffic(behind=0.06)),
                column=COLUMN,
                delay=1,
            ),
        )
