"""More events come twice than in the reference."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from detectors.base import Moment
from detectors.quality.facts import Example, Facts
from detectors.quality.planted import Traffic, planted_facts, planted_reference
from detectors.quality.rates import RateWatch
from detectors.reference import Reference
from detectors.tensor import IntArray

COLUMN = "event_id"


class DuplicatesWatch(RateWatch):
    """Watches the share of events whose id was seen before in their partition; they are no rows."""

    name: ClassVar[str] = "duplicates"
    words: ClassVar[str] = "came once more"
    unit: ClassVar[str] = "events"
    by_segment: ClassVar[bool] = False

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """The id of events, where the reference knows how its events arrived."""
        known = reference.quality
        return (COLUMN,) if known is not None and known.knows_arrivals else ()

    def of_reference(self, reference: Reference) -> tuple[IntArray, IntArray]:
        """Repeated events of the reference, and its rows."""
        arrivals = np.zeros((0, 3), np.int64) if reference.quality is None else reference.quality.arrivals
        windows = arrivals[:, [1, 0]][:, None, None, :]
        return windows.sum(axis=0), windows

    def of_window(self, reference: Reference, facts: Facts, moment: Moment) -> IntArray:
        """Repeated events of a window, and its rows."""
        return np.array([[[facts.arrivals.repeated, facts.arrivals.told]]], np.int64)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A producer that sends every twentieth event again, where it were one in two hundred."""
        reference = planted_reference(seed=1, traffic=Traffic())
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=100, traffic=Traffic()),
                planted_facts(reference, seed=3, windows=4, traffic=Traffic(repeated=0.05)),
                column=COLUMN,
                delay=1,
            ),
        )
