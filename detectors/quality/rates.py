"""Watches of a rate: the share of rows that are in one bin of a column, of which only a rise is wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from detectors.base import Moment, Step
from detectors.moved import percent
from detectors.quality.base import Watch
from detectors.quality.facts import Facts
from detectors.rate import RateEDetector
from detectors.reference import Reference
from detectors.tensor import IntArray, ReferenceCounts, TensorLayout
from schemas.column import ColumnSpec
from schemas.verdict import Decision, Lane, Verdict

MARGIN, RELATIVE_MARGIN = 0.002, 0.1
_COUNTED = "counted"
_DETECTOR = RateEDetector(counted=_COUNTED, margin=MARGIN, relative_margin=RELATIVE_MARGIN)
_WIDTH = 2


class RateWatch(Watch):
    """Watches the share of one bin of every column that has it.

    Notes
    -----
    `detectors.rate.RateEDetector` with ``c = u + max(0.002, 0.1·u)``, u the upper limit of the reference's
    share at that time of the day or week, on a tensor of two bins: the rows that are counted, and the others.
    """

    label: ClassVar[str]
    """Of the bin that is counted."""
    words: ClassVar[str]
    """What is wrong with its rows: ``have no value``."""

    formula: ClassVar[str] = (
        f"{RateEDetector.formula} c = u + max({MARGIN}, {RELATIVE_MARGIN}·u), u the upper limit of the "
        "reference's share"
    )

    def is_watched(self, spec: ColumnSpec) -> bool:
        """Whether a column of the reference with such a bin is watched."""
        return True

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """Names of the columns with such a bin."""
        return tuple(name for name, _ in self._places(reference))

    def step(self, reference: Reference, facts: Facts, state: bytes, moment: Moment) -> Step:
        """Judge the next window."""
        known = _reduced(_Key(self, reference))
        window = self.picked(reference, facts.counts)
        found = _DETECTOR.step(known, window, state, moment)
        return found._replace(verdicts=[self._told(verdict) for verdict in found.verdicts])

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

    def reduced(self, reference: Reference) -> ReferenceCounts:
        """Counts of a reference in two bins."""
        names = self.columns(reference)
        shape = (len(names), _WIDTH)
        return ReferenceCounts(
            layout=TensorLayout(
                columns=names,
                lanes=(Lane.QUALITY,) * len(names),
                labels=((_COUNTED, "others"),) * len(names),
                valid=np.ones(shape, bool),
                ordered=np.zeros(shape, bool),
                positions=np.full(shape, np.nan),
                widths=np.full(shape, np.nan),
            ),
            segments=reference.binning.groups,
            counts=self.picked(reference, reference.counts),
            windows=self.picked(reference, reference.group_windows),
            sd=np.full(len(names), np.nan),
            starts_ms=reference.window_starts,
            window_ms=reference.window_ms,
        )

    def _told(self, verdict: Verdict) -> Verdict:
        """Say it in the words of data quality."""
        told = replace(verdict, detector=self.detector, lane=Lane.QUALITY)
        if verdict.decision is not Decision.DRIFT or verdict.effects is None:
            return told
        moved = next(bin_ for bin_ in verdict.moved if bin_.label == _COUNTED)
        where = f" ({verdict.segment})" if verdict.segment else ""
        text = (
            f"{verdict.column}{where}: {percent(moved.share)} of {verdict.n:,} rows {self.words}, "
            f"{percent(moved.reference_share)} in the reference"
        )
        return replace(told, explanation=text)


class _Key:
    """A watch and a reference as a key of the cache; references are compared by identity."""

    def __init__(self, watch: RateWatch, reference: Reference) -> None:
        self.watch, self.reference = watch, reference

    def __hash__(self) -> int:
        return hash((self.watch.name, id(self.reference)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Key)
            and other.reference is self.reference
            and other.watch.name == self.watch.name
        )


@lru_cache(maxsize=192)
def _reduced(key: _Key) -> ReferenceCounts:
    """Reduce a reference once: what is learned of it is kept by its identity."""
    return key.watch.reduced(key.reference)
