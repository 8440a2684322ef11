"""A column that nearly all rows of the reference had is gone; a new one is told, and is no incident."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from detectors.base import Moment, Step
from detectors.quality.facts import Example, Facts
from detectors.quality.missing import MissingWatch
from detectors.quality.planted import planted_facts, planted_reference
from detectors.quality.rows import always_there
from detectors.quality.surprises import Look, SurpriseWatch
from detectors.reference import Reference
from schemas.batch import MISSING, Batch
from schemas.column import ColumnSpec, Kind

NEWS = "(new columns)"
"""Stands for columns that the reference does not know: its verdicts name them and are never an alarm.

What the budget gives to this stream is spent on silence, which has no verdicts of windows; see
`detectors.quality.gaps`.
"""
_MOST_NAMED = 20
_MISSING = MissingWatch()


class SchemaWatch(SurpriseWatch):
    """Watches whether the columns that the reference always had are there at all."""

    name: ClassVar[str] = "schema"
    formula: ClassVar[str] = (
        "ln(b/P), b the budget and P the probability that none of the n rows has a value: cⁿ, c the rate of "
        "missing values that the reference allows, or more where its windows vary; an alarm above 0."
    )

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """Columns that nearly all rows of the reference have, and `NEWS`."""
        binning = reference.binning
        always = always_there(binning, reference.counts[0]).tolist()
        return (*(binning.columns[at].name for at in always), NEWS) if binning.columns else ()

    def look(self, reference: Reference, facts: Facts, moment: Moment) -> Look:
        """Say how probable it is that no row has a value."""
        vanished = dict(
            zip(
                _MISSING.columns(reference),
                _MISSING.log_vanished(reference, facts, moment.start_ms).tolist(),
                strict=True,
            )
        )
        names, binning = self.columns(reference), reference.binning
        rows = int(facts.counts[0, : binning.offsets[1]].sum())
        there = np.array([_values(facts, reference, name) > 0 for name in names])
        log_p = np.array([vanished.get(name, 0.0) for name in names])
        return Look(log_p, there, np.full(len(names), rows))

    def words(self, reference: Reference, facts: Facts, column: str, rows: int) -> str:
        """Say that a column is gone."""
        return f"{column}: vanished, none of {rows:,} rows has it; nearly all of the reference had"

    def step(self, reference: Reference, facts: Facts, state: bytes, moment: Moment) -> Step:
        """Judge the next window; news of new columns is no finding."""
        found = super().step(reference, facts, state, moment)
        if not facts.unknown:
            return found
        *others, last = found.verdicts
        return found._replace(verdicts=[*others, replace(last, explanation=_news(facts.unknown))])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Nobody sends the age any more, but something else."""
        reference = planted_reference(seed=1)
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=60),
                planted_facts(reference, seed=3, windows=4, fault=_fault),
                column="age",
                delay=1,
            ),
        )


def _news(unknown: frozenset[str]) -> str:
    names = sorted(unknown)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"not in the reference: {', '.join(names[:_MOST_NAMED])}{more}"


def _values(facts: Facts, reference: Reference, name: str) -> int:
    """Rows that have a column, right or wrong."""
    binning = reference.binning
    at = binning.index.get(name, 0)
    first, end = int(binning.offsets[at]), int(binning.offsets[at + 1])
    return int(facts.counts[0, first:end].sum() - (facts.counts[0, end - 2] if name != NEWS else 0))


def _fault(batch: Batch) -> Batch:
    numeric = (batch.numeric[0], ColumnSpec("years", Kind.NUMERIC))
    status = batch.status.copy()
    status[1, ::2] = MISSING
    return replace(batch, numeric=numeric, status=status)
