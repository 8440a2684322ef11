"""More values are missing than in the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from detectors.base import Moment
from detectors.quality.facts import Example, Facts
from detectors.quality.planted import of_some, planted_facts, planted_reference
from detectors.quality.rates import BinRateWatch
from detectors.quality.rows import always_there
from detectors.reference import Reference
from detectors.tensor import FloatArray, IntArray
from schemas.batch import MISSING, Batch
from schemas.column import ColumnSpec, Source


class MissingWatch(BinRateWatch):
    """Watches the share of rows without a value.

    Notes
    -----
    A window in which a column has vanished altogether is left to `detectors.quality.schema`: it counts as one
    without rows.
    """

    name: ClassVar[str] = "missing"
    label: ClassVar[str] = "missing"
    words: ClassVar[str] = "have no value"

    def is_watched(self, spec: ColumnSpec) -> bool:
        """Whether it is normal that rows have a value: not so of errors."""
        return spec.source is not Source.ERROR

    def of_window(self, reference: Reference, facts: Facts, moment: Moment) -> IntArray:
        """Rows of a window without a value, and the others."""
        window = self.picked(reference, facts.counts)
        with np.errstate(divide="ignore"):
            gone = self.log_vanished(reference, facts, moment.start_ms) < np.log(moment.budget[0])
        return np.where(gone[:, None], 0, window)

    def log_vanished(self, reference: Reference, facts: Facts, start_ms: int) -> FloatArray:
        """Say how improbable it is that no row of a window has a value in a column.

        Returns
        -------
        FloatArray
            ``[C]``: logarithm of the probability that all rows lack a value, at the rate that is allowed; 0
            where some row has one, and for columns that the reference's rows did not nearly all have.

        Notes
        -----
        ``c^n`` for n rows, or Student's distribution where the reference's windows vary by more than chance;
        the larger one. See `detectors.rate_evidence.RateLimit.log_tail`.
        """
        names = self.columns(reference)
        counted, others = self.picked(reference, facts.counts)[0].T
        binning = reference.binning
        always = {binning.columns[at].name for at in always_there(binning, reference.counts[0]).tolist()}
        is_gone = np.array([name in always for name in names]) & (counted > 0) & (others == 0)
        if not is_gone.any():
            return np.zeros(len(names))
        streams = len(names) * len(binning.groups)
        x, n = np.zeros(streams), np.ones(streams)
        x[: len(names)], n[: len(names)] = counted, counted
        tail = self.limit(reference, start_ms).log_tail(x, np.maximum(n, 1))
        return np.where(is_gone, tail[: len(names)], 0.0)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Eight percent are missing where it were two."""
        reference = planted_reference(seed=1)
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=100),
                planted_facts(reference, seed=3, windows=4, fault=_fault),
                column="amount",
                delay=1,
            ),
        )


def _fault(batch: Batch) -> Batch:
    status = batch.status.copy()
    status[0, of_some(4, share=0.06)] = MISSING
    return replace(batch, status=status, numbers=np.where(status == MISSING, 0.0, batch.numbers))
