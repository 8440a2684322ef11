"""Watches of a rate: a share of the rows of which only a rise is wrong."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np

from detectors.base import Moment, Step
from detectors.moved import percent
from detectors.quality.base import Watch
from detectors.quality.facts import Facts
from detectors.quality.once import once
from detectors.quality.tensors import counts_of
from detectors.rate import Counting, RateEDetector, counting
from detectors.rate_evidence import RateLimit
from detectors.reference import Reference
from detectors.tensor import IntArray, ReferenceCounts
from schemas.column import ColumnSpec
from schemas.verdict import Decision, Lane, Verdict

MARGIN, RELATIVE_MARGIN = 0.002, 0.1
_COUNTED = "counted"
_DETECTOR = RateEDetector(counted=_COUNTED, margin=MARGIN, relative_margin=RELATIVE_MARGIN)


class RateWatch(Watch):
    """Watches a share of the rows.

    Notes
    -----
    `detectors.rate.RateEDetector` with ``c = u + max(0.002, 0.1·u)``, u the upper limit of the reference's
    share at that time of the day or week, on a tensor of two bins: the rows that are counted, and the others.
    """

    words: ClassVar[str]
    """What is wrong with rows that are counted: ``have no value``."""
    unit: ClassVar[str] = "rows"

    formula: ClassVar[str] = (
        f"{RateEDetector.formula} c = u + max({MARGIN}, {RELATIVE_MARGIN}·u), u the upper limit of the "
        "reference's share"
    )

    def __init__(self) -> None:
        self._known: Callable[[Reference], ReferenceCounts] = once(self._reduced)

    @abstractmethod
    def of_reference(self, reference: Reference) -> tuple[IntArray, IntArray]:
        """Rows that are counted and the others, ``[segments, columns, 2]``, and those of its windows."""

    @abstractmethod
    def of_window(self, reference: Reference, facts: Facts, moment: Moment) -> IntArray:
        """Rows of a window that are counted, and the others, ``[segments, columns, 2]``."""

    def step(self, reference: Reference, facts: Facts, state: bytes, moment: Moment) -> Step:
        """Judge the next window."""
        window = self.of_window(reference, facts, moment)
        found = _DETECTOR.step(self._known(reference), window, state, moment)
        return found._replace(verdicts=[self._told(verdict, facts, reference) for verdict in found.verdicts])

    def limit(self, reference: Reference, start_ms: int) -> RateLimit:
        """Return what the reference allows at an instant, of all streams."""
        known: Counting = counting(self._known(reference), _COUNTED)
        return known.limit(start_ms, _DETECTOR.z_reference, MARGIN, RELATIVE_MARGIN)

    def further(self, reference: Reference, facts: Facts, verdict: Verdict) -> str:
        """Say more of an alarm; nothing unless a watch knows more."""
        return ""

    def _reduced(self, reference: Reference) -> ReferenceCounts:
        names = self.columns(reference)
        return counts_of(reference, names, (_COUNTED, "others"), *self.of_reference(reference))

    def _told(self, verdict: Verdict, facts: Facts, reference: Reference) -> Verdict:
        """Say it in the words of data quality."""
        told = replace(verdict, detector=self.detector, lane=Lane.QUALITY)
        if verdict.decision is not Decision.DRIFT or verdict.effects is None:
            return told
        moved = next(bin_ for bin_ in verdict.moved if bin_.label == _COUNTED)
        where = f" ({verdict.segment})" if verdict.segment else ""
        text = (
            f"{verdict.column}{where}: {percent(moved.share)} of {verdict.n:,} {self.unit} {self.words}, "
            f"{percent(moved.reference_share)} in the reference"
        )
        return replace(told, explanation=text + self.further(reference, facts, verdict))


class BinRateWatch(RateWatch):
    """Watches the share of one bin of every column that has it."""

    label: ClassVar[str]
    """Of the bin that is counted."""

    def is_watched(self, spec: ColumnSpec) -> bool:
        """Whether a column of the reference with such a bin is watched."""
        return True

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """Names of the columns with such a bin."""
        return tuple(name for name, _ in self._places(reference))

    def of_reference(self, reference: Reference) -> tuple[IntArray, IntArray]:
        """Rows of the reference in the bin, and the others."""
        return self.picked(reference, reference.counts), self.picked(reference, reference.group_windows)

    def of_window(self, reference: Reference, facts: Facts, moment: Moment) -> IntArray:
        """Rows of a window in the bin, and the others."""
        return self.picked(reference, facts.counts)

    def picked(self, reference: Reference, counts: IntArray) -> IntArray:
        """Rows that are counted, and the others: ``[…, groups, columns, 2]`` of ``[…, groups, bins]``."""
        places = self._places(reference)
        offsets, index = reference.binning.offsets, reference.binning.index
        at = np.array([index[name] for name, _ in places], np.int64)
        rows = np.add.reduceat(counts, offsets[:-1], axis=-1)[..., at]
        counted = counts[..., offsets[at] + np.array([bin_ for _, bin_ in places], np.int64)]
        return np.stack([counted, rows - counted], axis=-1)

    def _places(self, reference: Reference) -> list[tuple[str, int]]:
        """Columns that are watched, and the bin of each that is counted."""
        binning = reference.binning
        found = []
        for spec, labels in zip(binning.columns, binning.layout.labels, strict=True):
            if self.label in labels and self.is_watched(spec):
                last = len(labels) - 1 - labels[::-1].index(self.label)  # a value may be called so too
                found.append((spec.name, last))
        return found
