"""Events arrive sooner or later after their own time than those of the reference did."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from detectors.arrivals import LAG_BINS, lag_labels
from detectors.quality.distributions import DistributionWatch
from detectors.quality.facts import Example, Facts
from detectors.quality.planted import Traffic, planted_facts, planted_reference
from detectors.quality.tensors import counts_of
from detectors.reference import Reference
from detectors.tensor import IntArray, ReferenceCounts

COLUMN = "timestamp"
_LIVE = slice(1, LAG_BINS - 1)  # without what is 30 days or more off
_LEAST_LIVE = 0.5


class SkewWatch(DistributionWatch):
    """Watches the lag of events: timestamp of the Kafka record less that of the event.

    Notes
    -----
    Lags lie on fixed bins, log-spaced to both sides of zero. Events that are 30 days or more off are replayed
    ones, or of a clock that is no clock: they are left out, here and in the reference. So a replay of old
    data is no finding about lags, and rows that come live beside it are judged as always. Where less than
    half of the reference came live, nothing is known of how events usually come, and nothing is watched.
    """

    name: ClassVar[str] = "skew"
    tolerance: ClassVar[float] = 0.05
    words: ClassVar[str] = "events arrive at other times"

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """The time of events, where most of the reference's arrived live."""
        if reference.quality is None:
            return ()
        lags = reference.quality.lags.sum(axis=0)
        return (COLUMN,) if lags.any() and lags[_LIVE].sum() >= _LEAST_LIVE * lags.sum() else ()

    def of_reference(self, reference: Reference) -> ReferenceCounts:
        """Lags of the reference and of its windows."""
        lags = np.zeros((0, LAG_BINS), np.int64) if reference.quality is None else reference.quality.lags
        windows = lags[:, None, None, _LIVE]
        positions = np.arange(float(windows.shape[-1]))
        labels = lag_labels()[_LIVE]
        return counts_of(reference, (COLUMN,), labels, windows.sum(axis=0), windows, positions=positions)

    def of_window(self, reference: Reference, facts: Facts) -> IntArray:
        """Lags of a window."""
        return facts.arrivals.lags[None, None, _LIVE]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Events are late by twenty seconds instead of two."""
        reference = planted_reference(seed=1, traffic=Traffic())
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=60, traffic=Traffic()),
                planted_facts(reference, seed=3, windows=4, traffic=Traffic(late_ms=20_000.0)),
                column=COLUMN,
                delay=1,
            ),
        )
