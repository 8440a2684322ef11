"""Realised performance: what predictions turned out to be worth, from the records of `detectors.outcomes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from detectors.classification_metrics import (
    Confusion,
    binary_counts,
    binary_measures,
    cost_measures,
    multiclass_measures,
)
from detectors.intervals import LEVEL, Measure
from detectors.outcomes import AGE_LIMITS_MS, EVERYTHING, Family, Records, summed
from detectors.regression_metrics import regression_measures
from detectors.score_measures import binary_score_measures, multiclass_score_measures
from detectors.tensor import HashArray
from schemas.errors import UsageError

Task: TypeAlias = Literal["binary_classification", "multiclass_classification", "regression"]
Costs: TypeAlias = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Realised:
    """Performance of predictions whose labels are known.

    Parameters
    ----------
    measures : dict of str to Measure
        By name. Those that are undefined, as a precision where nothing was predicted, are absent.
    confusion : dict of str to int, or list of (str, str, int), or None
        Of a binary classifier the rows ``tp``, ``fp``, ``tn`` and ``fn``; of another (predicted, label, rows)
        of each pair that occurs; None of predicted numbers.
    labelled : int
        Predictions with a label (of numbers: one that has a residual).
    predicted : int
        All predictions that were kept to wait for labels.
    coverage : float or None
        labelled / predicted, 0 to 1; None without predictions.
    effective_n : float
        How many independent labels these are worth: as many as there are. Which predictions are kept is
        decided by their event id, whatever they say, so sampling has no design effect; intervals are
        about the predictions that were kept.
    ages : tuple of int
        Labels by the index of their age among `detectors.outcomes.AGE_LIMITS_MS`; the last one is older.
    unreadable : int
        Labels of predicted numbers that give no finite residual.
    """

    measures: dict[str, Measure]
    confusion: dict[str, int] | list[tuple[str, str, int]] | None
    labelled: int
    predicted: int
    coverage: float | None
    effective_n: float
    ages: tuple[int, ...]
    unreadable: int


def realised(
    records: Records,
    task: Task,
    *,
    positive: HashArray,
    names: Mapping[int, str],
    costs: Costs | None = None,
    segment: int = EVERYTHING,
    until_age: int | None = None,
    level: float = LEVEL,
    with_scores: bool = True,
) -> Realised:
    """Compute the performance of one segment.

    Parameters
    ----------
    records : records
        Sum of any slices, as from `detectors.outcomes.joined`. No count may be below 0.
    task : str
        ``binary_classification``, ``multiclass_classification`` or ``regression``.
    positive : uint64 array
        Hashes under which the positive class is known; used by binary classification only.
    names : mapping of int to str
        Name of each class by its hash; see `detectors.classification_metrics.Confusion.of`.
    costs : mapping of (str, str) to float, optional
        What a prediction costs by the names of (predicted, label), in any currency; pairs that are not named
        cost nothing. None: no measure of cost.
    segment : int
        Hash of ``name=value``; default: all rows.
    until_age : int, optional
        Only labels whose age has at most this index count, to compare at equal age; default: all. Predictions
        count all the same, so `coverage` is that of labels so young.
    level : float
        Coverage of the intervals, between 0 and 1.
    with_scores : bool
        Also what needs scores, as areas under curves and losses, which takes most of the time.

    Returns
    -------
    Realised

    Raises
    ------
    UsageError
        If the task is unknown or the level is out of range.

    Examples
    --------
    >>> from detectors.outcomes import RECORD, Family
    >>> records = np.array(
    ...     [(0, 1, 0, -1, Family.PREDICTED, -1, 20, 0, 0),
    ...      (0, 1, 1, -1, Family.LABELLED, 3, 8, 0, 0),
    ...      (0, 1, 2, -1, Family.LABELLED, 5, 2, 0, 0)], RECORD)
    >>> yes = np.array([1], np.uint64)
    >>> found = realised(records, "binary_classification", positive=yes, names={1: "yes", 2: "no"})
    >>> found.measures["precision"].value, found.coverage, "roc_auc" in found.measures
    (0.8, 0.5, False)
    >>> found.confusion
    {'tp': 8, 'fp': 2, 'tn': 0, 'fn': 0}
    """
    _check(task, level)
    mine = records[(records["segment"] == np.uint64(segment)) & (records["n"] != 0)]
    is_number = task == "regression"
    waiting = _family(mine, Family.ESTIMATED if is_number else Family.PREDICTED)
    predicted = int(waiting["n"].sum())
    if until_age is not None:
        mine = mine[mine["age"] <= until_age]
    labelled = _family(mine, Family.RESIDUAL if is_number else Family.LABELLED)
    rows = int(labelled["n"].sum())
    found, confusion = _measured(
        _of_all_ages(mine), task, positive, names, costs, level, with_scores=with_scores
    )
    return Realised(
        measures={name: one for name, one in found.items() if one is not None},
        confusion=confusion,
        labelled=rows,
        predicted=predicted,
        coverage=rows / predicted if predicted else None,
        effective_n=float(rows),
        ages=_ages(labelled),
        unreadable=int(_family(mine, Family.UNREADABLE)["n"].sum()) if is_number else 0,
    )


def _check(task: str, level: float) -> None:
    if task not in get_args(Task):
        msg = f"task: {task!r} ({', '.join(get_args(Task))} are allowed)"
        raise UsageError(msg)
    if not 0 < level < 1:
        msg = f"level: {level} (a number between 0 and 1 is allowed)"
        raise UsageError(msg)


def _of_all_ages(records: Records) -> Records:
    """Add up what differs in age only, so that measures do not depend on how ages are told apart."""
    found = records.copy()
    found["age"] = 0
    return summed(np.zeros(len(found), np.int64), found)[1]


def _family(records: Records, family: Family) -> Records:
    found: Records = records[records["family"] == family]
    return found


def _ages(labelled: Records) -> tuple[int, ...]:
    found = np.zeros(len(AGE_LIMITS_MS) + 1, np.int64)
    np.add.at(found, labelled["age"], labelled["n"])
    return tuple(found.tolist())


def _measured(
    mine: Records,
    task: Task,
    positive: HashArray,
    names: Mapping[int, str],
    costs: Costs | None,
    level: float,
    *,
    with_scores: bool,
) -> tuple[dict[str, Measure | None], dict[str, int] | list[tuple[str, str, int]] | None]:
    if task == "regression":
        return regression_measures(_family(mine, Family.RESIDUAL), _family(mine, Family.TRUTH), level), None
    labelled = _family(mine, Family.LABELLED)
    against_rest = _family(mine, Family.ONE_AGAINST_REST)
    pairs = Confusion.of(labelled, names)
    costly = {} if costs is None else cost_measures(pairs, costs, level)
    if task == "binary_classification":
        counts = binary_counts(labelled, positive)
        scores = binary_score_measures(labelled, against_rest, positive, level) if with_scores else {}
        return binary_measures(counts, level) | scores | costly, counts
    scores = multiclass_score_measures(labelled, against_rest, names, level) if with_scores else {}
    return multiclass_measures(pairs, level) | scores | costly, pairs.pairs()
