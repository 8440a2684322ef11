"""Measures of scores: log loss and Brier score from sums, the rest from counts on the cells of scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

import numpy as np

from detectors.calibration_error import calibration_error
from detectors.classification_metrics import class_name
from detectors.intervals import Measure, bounded, mean
from detectors.outcomes import (
    LEAST_PROBABILITY,
    NO_SCORE,
    SCORE_CELLS,
    UNIT,
    Records,
    score_edges,
)
from detectors.ranking import average_precision, roc_auc
from detectors.tensor import BoolArray, FloatArray, HashArray, IntArray

_ROUNDING = 1 / UNIT  # of a log loss, twice over


@dataclass(frozen=True)
class ScoreCounts:
    """Rows on the cells of the scores of one class.

    Parameters
    ----------
    positives, negatives : int64 array [SCORE_CELLS]
        Rows with and without that label.
    score : float64 array [SCORE_CELLS]
        Mean score of the rows of each cell.
    tied : bool array [SCORE_CELLS]
        Cells whose rows all have one score, as far as is known.
    within : float64 array [2, SCORE_CELLS], optional
        Mean place of the negatives and of the positives in their cell, from 0 at its lower to 1 at its upper
        edge; None where records do not tell.
    """

    positives: IntArray
    negatives: IntArray
    score: FloatArray
    tied: BoolArray
    within: FloatArray | None = None

    @classmethod
    def against_rest(cls, records: Records) -> ScoreCounts:
        """Count records of the family `ONE_AGAINST_REST`; scores lie in the middle of their cells."""
        edges = score_edges()
        negatives, positives = _by_label(records, records["b"] == 1, records["n"])
        middle: FloatArray = (edges[:-1] + edges[1:]) / 2
        return cls(positives, negatives, middle, np.zeros(SCORE_CELLS, np.bool_))

    @classmethod
    def of_positive(cls, labelled: Records, positive: HashArray) -> ScoreCounts:
        """Count records of the family `LABELLED` whose scores are P(positive).

        Notes
        -----
        The squared errors of the rows of a cell are p² or (1 − p)²; their mean tells the mean score better
        than the cell does, and exactly where all rows have one score. Mean log losses, −ln p and −ln(1 − p),
        tell the places of positives and negatives in the cell: they are as precise for scores near 0 as for
        others, which squares are not. Where both tell the same, all rows have one score. A cell of only one
        kind counts as tied if most rows of the mixed cells are.
        """
        is_label = np.isin(labelled["b"].view(np.uint64), positive)
        n = _by_label(labelled, is_label, labelled["n"])
        squared, loss = (
            _by_label(labelled, is_label, labelled[name]) / UNIT / np.maximum(n, 1) for name in ("s1", "s2")
        )
        root = np.sqrt(squared).clip(0, 1)
        rows = n.sum(axis=0)
        score = (n[0] * root[0] + n[1] * (1 - root[1])) / np.maximum(rows, 1)
        apart = np.stack((-np.expm1(-loss[0]), np.exp(-loss[1])))
        mixed = n.min(axis=0) > 0
        tied = mixed & (np.abs(apart[1] - apart[0]) <= _ROUNDING)
        mostly = 2 * rows[tied].sum() > rows[mixed].sum()
        return cls(n[1], n[0], score, np.where(mixed, tied, mostly), _places(apart))


def _places(scores: FloatArray) -> FloatArray:
    """Place of scores in the cell that each is of, ``[..., SCORE_CELLS]``; the cell of ½ has but one."""
    edges = score_edges()
    low, width = edges[:-1], np.diff(edges)
    found: FloatArray = np.where(width > 0, (scores - low) / np.where(width > 0, width, 1), 0.5)
    return found.clip(0, 1)


def _by_label(records: Records, is_label: BoolArray, what: IntArray) -> IntArray:
    """Sum of something by label (0: another one, 1: this) and cell."""
    found = np.zeros((2, SCORE_CELLS), np.int64)
    known = records["cell"] != NO_SCORE
    np.add.at(found, (is_label[known].astype(np.int64), records["cell"][known]), what[known])
    return found


def binary_score_measures(
    labelled: Records, against_rest: Records, positive: HashArray, level: float
) -> dict[str, Measure | None]:
    """Measures of scores of a positive class; None, or absent, where undefined.

    Parameters
    ----------
    labelled, against_rest : records
        Of the families `LABELLED` and `ONE_AGAINST_REST`.
    positive : uint64 array
        Hashes under which the positive class is known.
    level : float
        Coverage of the intervals.

    Notes
    -----
    If the classes have scores of their own, P(positive) is the score of the positive class, and the Brier
    score is half of the sum over the classes, so that it means the same in both cases.
    """
    scored = labelled[labelled["cell"] != NO_SCORE]
    of_positive = against_rest[np.isin(against_rest["a"].view(np.uint64), positive)]
    has_own = len(against_rest) > 0
    own, joint = ScoreCounts.against_rest(of_positive), ScoreCounts.of_positive(scored, positive)
    counts = own if has_own else joint
    return {
        "roc_auc": roc_auc(counts.positives, counts.negatives, level),
        "pr_auc": average_precision(counts.positives, counts.negatives, counts.tied, level, counts.within),
        "log_loss": log_loss(scored, level),
        "brier": brier(scored, level, most=2.0 if has_own else 1.0, scale=0.5 if has_own else 1.0),
        "ece": calibration_error(counts.positives, counts.negatives, counts.score, level),
    }


def multiclass_score_measures(
    labelled: Records, against_rest: Records, names: Mapping[int, str], level: float
) -> dict[str, Measure | None]:
    """Measures of classes that have scores of their own; nothing if they have none.

    Parameters
    ----------
    labelled, against_rest : records
        Of the families `LABELLED` and `ONE_AGAINST_REST`.
    names : mapping of int to str
        Name of each class by its hash.
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict of str to (Measure or None)
        ``roc_auc[name]`` is of one class against the rest, ``roc_auc`` the unweighted mean of those defined.
    """
    if not len(against_rest):
        return {}
    scored = labelled[labelled["cell"] != NO_SCORE]
    found = {
        "log_loss": log_loss(scored, level, _squares_of_log_loss(scored, against_rest)),
        "brier": brier(scored, level, most=2.0),
    }
    called = np.array([class_name(h, names) for h in against_rest["a"].view(np.uint64).tolist()])
    areas = {
        name: roc_auc(counts.positives, counts.negatives, level)
        for name in np.unique(called).tolist()
        for counts in [ScoreCounts.against_rest(against_rest[called == name])]
    }
    found["roc_auc"] = _macro([area for area in areas.values() if area is not None], level)
    return found | {f"roc_auc[{name}]": area for name, area in areas.items()}


def log_loss(scored: Records, level: float, squares: float | None = None) -> Measure | None:
    """Mean −ln of the probability that was given to the label.

    Parameters
    ----------
    scored : records
        Of the family `LABELLED`, all with a score.
    level : float
        Coverage of the interval.
    squares : float, optional
        Sum of the squares of the losses; default: as if all rows of a record had the same loss.
    """
    n = int(scored["n"].sum())
    if n == 0:
        return None
    loss = scored["s2"] / UNIT
    total = float(loss.sum())
    own = float((loss**2 / scored["n"]).sum())
    return mean(total, own if squares is None else max(squares, own), n, level, least=0.0)


def brier(scored: Records, level: float, *, most: float = 1.0, scale: float = 1.0) -> Measure | None:
    """Mean squared error of the scores.

    Parameters
    ----------
    scored : records
        Of the family `LABELLED`, all with a score.
    level : float
        Coverage of the interval.
    most : float
        The largest squared error that is possible.
    scale : float
        What the result is multiplied with.
    """
    n = int(scored["n"].sum())
    if n == 0:
        return None
    error = scored["s1"] / UNIT * scale
    value = float(error.sum()) / n
    variance = max(float((error**2 / scored["n"]).sum()) / n - value**2, 0.0) / n
    return bounded(value, variance, n, level, most=most * scale)


def _squares_of_log_loss(scored: Records, against_rest: Records) -> float:
    """Sum of the squared log losses, from the cells of the scores that the labels were given."""
    counts = ScoreCounts.against_rest(against_rest[against_rest["b"] == 1])
    # The middle of the lowest cell stands for scores down to 0: whatever is lower counts as its middle.
    squares = float((counts.positives * np.log(np.maximum(counts.score, LEAST_PROBABILITY)) ** 2).sum())
    missed = max(int(scored["n"].sum()) - int(counts.positives.sum()), 0)
    return squares + missed * log(LEAST_PROBABILITY) ** 2


def _macro(areas: list[Measure], level: float) -> Measure | None:
    """Mean of areas; its interval allows for areas that err together."""
    if not areas:
        return None
    k, n = len(areas), max(area.n for area in areas)
    low, high = (
        sum(x for x in limits if x is not None) / k
        for limits in ([a.low for a in areas], [a.high for a in areas])
    )
    return Measure(sum(area.value for area in areas) / k, low, high, n)
