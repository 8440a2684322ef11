"""What fairness compares: the rows of which groups, and what is averaged over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.calibrator import successes
from detectors.disparity import Values
from detectors.outcome_reference import OutcomeReference
from detectors.outcomes import Family, Records
from detectors.score_curve import middles
from detectors.tensor import BoolArray, FloatArray, IntArray
from schemas.column import fairness_column

MEASURES = ("demographic_parity", "equal_opportunity", "equalised_odds", "calibration")
MOST_GROUPS = 8
DEFAULT_LIMIT = 0.1
DEFAULT_LEAST_ROWS = 30


@dataclass(frozen=True)
class FairnessRule:
    """How differently the values of a segment column may be treated.

    Parameters
    ----------
    segment : str
        The column.
    limits : mapping of str to float
        By measure: the largest allowed difference between two groups, 0 to 1. Measures that are not named are
        not watched.
    least_rows : int
        Rows of a group below which a window says nothing of it.
    """

    segment: str
    limits: Mapping[str, float]
    least_rows: int = DEFAULT_LEAST_ROWS


class Part(NamedTuple):
    """Something that is averaged over rows of groups.

    Parameters
    ----------
    name : str
        For people: "… are predicted positive".
    values : Values
    is_rate : bool
    """

    name: str
    values: Values
    is_rate: bool = True

    @property
    def means(self) -> FloatArray:
        """Mean of each group, ``[G]``; 0 of nothing."""
        n, total, _ = self.values.sums.T
        found: FloatArray = total / np.maximum(n, 1.0)
        return found


class Stream(NamedTuple):
    """One measure of one segment column, and the groups that are compared."""

    rule: FairnessRule
    measure: str
    groups: tuple[tuple[int, str], ...]

    @property
    def column(self) -> str:
        """Name in results."""
        return fairness_column(self.rule.segment, self.measure)

    @property
    def limit(self) -> float:
        """Largest allowed difference."""
        return self.rule.limits[self.measure]


def fairness_streams(rules: Sequence[FairnessRule], reference: OutcomeReference) -> tuple[Stream, ...]:
    """Streams that are watched: none of a column with fewer than two groups in the reference.

    Parameters
    ----------
    rules : sequence of FairnessRule
    reference : OutcomeReference
        Of a binary classifier; nothing is watched of others. Groups are its segments, at most `MOST_GROUPS`
        of a column: those with the most labels.
    """
    found = []
    for rule in rules if reference.positive else ():
        start = f"{rule.segment}="
        named = [(hash_, name) for hash_, name in reference.segments.items() if name.startswith(start)]
        groups = tuple((hash_, name.removeprefix(start)) for hash_, name in named[:MOST_GROUPS])
        if len(groups) > 1:
            found += [Stream(rule, measure, groups) for measure in MEASURES if measure in rule.limits]
    has_scores = reference.calibrator is not None
    return tuple(one for one in found if has_scores or one.measure != "calibration")


def fairness_parts(stream: Stream, reference: OutcomeReference, records: Records) -> list[Part]:
    """Collect what a measure compares.

    Parameters
    ----------
    stream : Stream
    reference : OutcomeReference
        Scores are halved at its median.
    records : records
        Outcomes of some predictions, all segments.
    """
    hashes = np.array([hash_ for hash_, _ in stream.groups], np.int64)
    order = np.argsort(hashes)
    segment = records["segment"].view(np.int64)
    at = order[np.minimum(np.searchsorted(hashes[order], segment), len(hashes) - 1)]
    is_ours = hashes[at] == segment
    predicted = is_ours & (records["family"] == Family.PREDICTED)
    known = is_ours & (records["family"] == Family.LABELLED)
    grouped = _Grouped(records, at.astype(np.int64), len(hashes), tuple(reference.positive))
    if stream.measure == "demographic_parity":
        return [Part("are predicted positive", grouped.chosen(predicted if predicted.any() else known))]
    truth = np.zeros(len(records), bool)
    truth[known] = successes(records[known], reference.positive)
    of_positives = Part("of the positives are found", grouped.chosen(known & truth))
    if stream.measure == "equal_opportunity":
        return [of_positives]
    if stream.measure == "equalised_odds":
        return [of_positives, Part("of the negatives are taken for positive", grouped.chosen(known & ~truth))]
    split = _middle_cell(reference, hashes)
    scored = known & (records["cell"] >= 0)
    of_scores = (
        ("more are positive than the scores say", scored),
        ("more are positive than the lower scores say", scored & (records["cell"] < split)),
        ("more are positive than the higher scores say", scored & (records["cell"] >= split)),
    )
    return [Part(name, grouped.surprise(which, truth), is_rate=False) for name, which in of_scores]


class _Grouped(NamedTuple):
    """Records, and the group that each belongs to."""

    records: Records
    group: IntArray
    groups: int
    positive: tuple[int, ...]

    def chosen(self, which: BoolArray) -> Values:
        """Positive predictions, as ones among zeros."""
        is_chosen = np.isin(self.records["a"][which], self.positive).astype(np.int64)
        return Values(np.array([0.0, 1.0]), self._rows(which, is_chosen, 2))

    def surprise(self, which: BoolArray, truth: BoolArray) -> Values:
        """Label less score: the score is the middle of its cell."""
        score, good = middles(), truth[which].astype(np.int64)
        values = np.concatenate((-score, 1.0 - score))
        return Values(values, self._rows(which, self.records["cell"][which] + good * len(score), len(values)))

    def _rows(self, which: BoolArray, at: IntArray, width: int) -> FloatArray:
        flat = self.group[which] * width + at
        rows = np.bincount(flat, self.records["n"][which], self.groups * width)
        return np.asarray(rows.reshape(self.groups, width))


def _middle_cell(reference: OutcomeReference, hashes: IntArray) -> int:
    """Cell of the median score of the reference's labels in all groups."""
    every = reference.records
    known = every[(every["family"] == Family.LABELLED) & np.isin(every["segment"].view(np.int64), hashes)]
    n = np.bincount(known["cell"][known["cell"] >= 0], known["n"][known["cell"] >= 0])
    return int(np.searchsorted(np.cumsum(n), n.sum() / 2)) if len(n) else 0
