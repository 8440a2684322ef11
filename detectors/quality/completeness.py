"""More events lack a value that the reference's events always had."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from detectors.base import Moment
from detectors.moved import percent
from detectors.quality.facts import Example, Facts
from detectors.quality.planted import of_some, planted_facts, planted_reference
from detectors.quality.rates import RateWatch
from detectors.quality.rows import features_always_there, lacking
from detectors.reference import Reference
from detectors.tensor import IntArray
from schemas.batch import MISSING, Batch
from schemas.verdict import Verdict

COLUMN = "features"
_MOST_NAMED = 3


class CompletenessWatch(RateWatch):
    """Watches the share of rows in which a feature is missing that at least 99 % of the reference's rows had.

    Notes
    -----
    Which values go missing together is known of sampled rows alone: these are counted, of the reference as of
    windows, and `n` is their number. Rows are picked by a hash of their event's id, whatever is in them, so
    that they are as good as a sample at random. A feature that no row of the window has is left out:
    it has vanished, which `detectors.quality.schema` says.
    """

    name: ClassVar[str] = "completeness"
    words: ClassVar[str] = "lack a value that nearly all had"
    unit: ClassVar[str] = "sampled rows"

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """All features together, where rows of the reference were sampled."""
        known = reference.quality
        is_known = known is not None and known.complete.any() and len(_always(reference))
        return (COLUMN,) if is_known else ()

    def of_reference(self, reference: Reference) -> tuple[IntArray, IntArray]:
        """Sampled rows of the reference that lack a value, and the others."""
        groups = len(reference.binning.groups)
        if reference.quality is None:
            return np.zeros((groups, 1, 2), np.int64), np.zeros((0, groups, 1, 2), np.int64)
        known = reference.quality.complete
        padded = np.pad(known, ((0, 0), (0, groups - known.shape[1]), (0, 0)))[:, :, None]
        windows = padded if len(padded) == len(reference.window_starts) else padded[:0]
        return padded.sum(axis=0), windows

    def of_window(self, reference: Reference, facts: Facts, moment: Moment) -> IntArray:
        """Sampled rows of a window that lack a value, and the others."""
        return lacking(reference.binning, self._expected(reference, facts), facts.sample)[0][:, None]

    def further(self, reference: Reference, facts: Facts, verdict: Verdict) -> str:
        """Name the columns that are missing most in all rows that lack a value."""
        columns = self._expected(reference, facts)
        rows, by_column = lacking(reference.binning, columns, facts.sample)
        most = np.argsort(-by_column, kind="stable")[:_MOST_NAMED]
        named = [
            f"{reference.binning.columns[columns[i]].name} in {percent(by_column[i] / rows[0, 0])}"
            for i in most.tolist()
            if by_column[i]
        ]
        return f"; of those, missing {', '.join(named)}" if named else ""

    def _expected(self, reference: Reference, facts: Facts) -> IntArray:
        """Features that were always there, and that some row of the window has."""
        columns, offsets = _always(reference), reference.binning.offsets
        if not len(columns):
            return columns
        rows = np.add.reduceat(facts.counts[0], offsets[:-1])
        missing = facts.counts[0, offsets[columns + 1] - 2]
        return np.asarray(columns[missing < np.maximum(rows[columns], 1)])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Three in a hundred rows come without an age or a carrier."""
        reference = planted_reference(seed=1)
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=60),
                planted_facts(reference, seed=3, windows=4, fault=_fault),
                column=COLUMN,
                delay=1,
            ),
        )


def _always(reference: Reference) -> IntArray:
    return features_always_there(reference.binning, reference.counts[0])


def _fault(batch: Batch) -> Batch:
    status = batch.status.copy()
    status[1, of_some(7, share=0.02)] = MISSING
    categories = tuple(
        replace(known, codes=np.where(of_some(8, share=0.015), np.int32(-1), known.codes))
        for known in batch.categories
    )
    return replace(batch, status=status, categories=categories)
