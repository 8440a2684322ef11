"""Watches of a rate: a share of the rows of which only a rise is wrong."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from detectors.base import Moment, Step
from detectors.moved import percent
from detectors.quality.base import Watch
from detectors.quality.facts import Facts
from detectors.quality.once import once
from detectors.quality.telling import verdicts_of
from detectors.quality.tensors import counts_of
from detectors.rate import Counting, RateEDetector, counting, slots_of
from detectors.rate_evidence import RateLimit
from detectors.reference import Reference
from detectors.streams import StreamStates
from detectors.tensor import IntArray, ReferenceCounts
from schemas.column import ColumnSpec
from schemas.verdict import Verdict

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
        counts = self._known(reference)
        window = self.of_window(reference, facts, moment)
        streams = window.shape[0] * window.shape[1]
        states = StreamStates.from_bytes(state, streams, 1, moment.start_ms)
        # Without effect sizes, which say nothing of two bins that their shares do not, and take most time.
        collected = _DETECTOR.collect(counts, window, states, moment)
        found, has_data, onset = collected.found, collected.rows > 0, states.quiet_since.copy()
        states.take(
            found.is_alarm,
            collected.is_normal,
            has_data,
            found.evidence_log,
            collected.budget,
            moment.end_ms,
        )
        known, rows = counts.counts[..., 0].ravel(), counts.counts.sum(axis=2).ravel()
        verdicts = verdicts_of(
            self.detector,
            counts.segments,
            counts.layout.columns,
            evidence_log=found.evidence_log,
            is_alarm=found.is_alarm & has_data & (rows > 0),
            is_off=states.is_open & (states.settled_for == 0),
            rows=np.where(rows > 0, collected.rows, 0.0).astype(np.int64),
            known=rows,
            budget=collected.budget,
            sources=[f"false-alarm budget; reference by {slot}" for slot in slots_of(counts, _COUNTED)],
            onset=onset,
            explain=lambda i, verdict: self._words(
                verdict, collected.counted[i] / collected.rows[i], known[i] / rows[i], facts, reference
            ),
        )
        return Step(verdicts, states.to_bytes())

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

    def _words(self, verdict: Verdict, share: float, usual: float, facts: Facts, reference: Reference) -> str:
        """Say what has happened."""
        where = f" ({verdict.segment})" if verdict.segment else ""
        return (
            f"{verdict.column}{where}: {percent(share)} of {verdict.n:,} {self.unit} {self.words}, "
            f"{percent(usual)} in the reference{self.further(reference, facts, verdict)}"
        )


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
