"""Watches of a distribution that is none of a column's values, by the e-detector of columns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from detectors.base import Moment, Step
from detectors.edetector import EDetector
from detectors.moved import percent
from detectors.quality.base import Watch
from detectors.quality.facts import Facts
from detectors.quality.once import once
from detectors.reference import Reference
from detectors.tensor import IntArray, ReferenceCounts
from schemas.verdict import Decision, Lane, Verdict


class DistributionWatch(Watch):
    """Watches counts on bins of its own; see `detectors.edetector.EDetector`."""

    by_segment: ClassVar[bool] = False
    formula: ClassVar[str] = EDetector.formula
    tolerance: ClassVar[float]
    """Population stability index that is worth nobody's time."""
    words: ClassVar[str]
    """What has changed: ``the lag of events``."""

    def __init__(self) -> None:
        self._known: Callable[[Reference], ReferenceCounts] = once(self.of_reference)
        self._detector = EDetector(tolerance=self.tolerance)

    @abstractmethod
    def of_reference(self, reference: Reference) -> ReferenceCounts:
        """Counts of a reference."""

    @abstractmethod
    def of_window(self, reference: Reference, facts: Facts) -> IntArray:
        """Counts of a window, ``[1, columns, bins]``."""

    def step(self, reference: Reference, facts: Facts, state: bytes, moment: Moment) -> Step:
        """Judge the next window."""
        window = self.of_window(reference, facts)
        found = self._detector.step(self._known(reference), window, state, moment)
        return found._replace(verdicts=[self._told(verdict) for verdict in found.verdicts])

    def _told(self, verdict: Verdict) -> Verdict:
        """Say it in the words of data quality."""
        told = replace(verdict, detector=self.detector, lane=Lane.QUALITY)
        if verdict.decision is not Decision.DRIFT:
            return told
        bins = [
            f"{percent(bin_.share)} {bin_.label}, reference {percent(bin_.reference_share)}"
            for bin_ in verdict.moved[:2]
        ]
        return replace(told, explanation=f"{verdict.column}: {self.words}: {'; '.join(bins)}")
