"""Metrics of classes as functions of expected successes, each with its derivative.

A row here stands for all predictions of one class whose scores share a cell. With ``n`` its predictions and
``y`` its *successes* (labels of the positive class; right predictions where there are more than two
classes), every metric is a function of y; given labels it is the realised metric, given n·P(success) the
estimate, and its gradient tells how an error of y carries over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from detectors.score_curve import PLACES
from detectors.tensor import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Rows:
    """Predictions by class and score cell.

    Parameters
    ----------
    n : FloatArray
        ``[r]``: predictions.
    is_positive : BoolArray
        ``[r]``: the positive class was predicted; true throughout where successes are right predictions.
    place : IntArray
        ``[r]``: of the score, as in `detectors.score_curve`; 0 without one.
    losses : FloatArray
        ``[2, 2, PLACES]``: mean squared error and log loss of failures and of successes, by place.
    """

    n: FloatArray
    is_positive: BoolArray
    place: IntArray
    losses: FloatArray


class Metric(NamedTuple):
    """Value of a metric, and its derivative by y, ``[r]``."""

    value: float
    gradient: FloatArray


MetricFunction: TypeAlias = Callable[[Rows, FloatArray], Metric | None]


def accuracy(rows: Rows, y: FloatArray) -> Metric | None:
    """Share of right predictions.

    Examples
    --------
    >>> rows = Rows(np.array([4.0, 6.0]), np.array([True, False]), np.array([300, 50]), np.zeros((2, 2, 356)))
    >>> accuracy(rows, np.array([3.0, 1.0])).value
    0.8
    """
    total = rows.n.sum()
    if total <= 0:
        return None
    right = np.where(rows.is_positive, y, rows.n - y).sum()
    return Metric(float(right / total), np.where(rows.is_positive, 1.0, -1.0) / total)


def precision(rows: Rows, y: FloatArray) -> Metric | None:
    """Share of positives among those predicted."""
    predicted = rows.n[rows.is_positive].sum()
    if predicted <= 0:
        return None
    return Metric(float(y[rows.is_positive].sum() / predicted), rows.is_positive / predicted)


def recall(rows: Rows, y: FloatArray) -> Metric | None:
    """Share of positives that were predicted."""
    positives = y.sum()
    if positives <= 0:
        return None
    value = float(y[rows.is_positive].sum() / positives)
    return Metric(value, (rows.is_positive - value) / positives)


def f1(rows: Rows, y: FloatArray) -> Metric | None:
    """Harmonic mean of precision and recall: 2·TP/(predicted positives + positives)."""
    both = rows.n[rows.is_positive].sum() + y.sum()
    if both <= 0:
        return None
    value = float(2 * y[rows.is_positive].sum() / both)
    return Metric(value, (2 * rows.is_positive - value) / both)


def roc_auc(rows: Rows, y: FloatArray) -> Metric | None:
    """Chance that a positive has the larger score than a negative; those in one cell count one half."""
    scored = rows.place > 0
    positive, negative = (_by_place(rows.place, np.where(scored, x, 0.0)) for x in (y, rows.n - y))
    positives, negatives = positive.sum(), negative.sum()
    if positives <= 0 or negatives <= 0:
        return None
    below = np.cumsum(negative) - negative / 2
    above = positives - np.cumsum(positive) + positive / 2
    value = float((positive * below).sum() / positives / negatives)
    gradient = (below - above) / positives / negatives - value / positives + value / negatives
    return Metric(value, np.where(scored, gradient[rows.place], 0.0))


def brier(rows: Rows, y: FloatArray) -> Metric | None:
    """Mean squared error of the scores."""
    return _mean_loss(rows, y, rows.losses[0])


def log_loss(rows: Rows, y: FloatArray) -> Metric | None:
    """Mean of −ln of the probability given to the label."""
    return _mean_loss(rows, y, rows.losses[1])


BINARY: dict[str, MetricFunction] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "roc_auc": roc_auc,
    "brier": brier,
    "log_loss": log_loss,
}
MULTICLASS: dict[str, MetricFunction] = {"accuracy": accuracy}


def _mean_loss(rows: Rows, y: FloatArray, losses: FloatArray) -> Metric | None:
    scored = rows.place > 0
    total = rows.n[scored].sum()
    if total <= 0:
        return None
    failure, success = losses[:, rows.place]
    value = ((rows.n - y) * failure + y * success)[scored].sum() / total
    return Metric(float(value), np.where(scored, success - failure, 0.0) / total)


def _by_place(place: IntArray, values: FloatArray) -> FloatArray:
    return np.asarray(np.bincount(place, values, PLACES), np.float64)
