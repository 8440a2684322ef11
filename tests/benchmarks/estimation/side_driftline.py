"""Driftline's side: estimates, bands and realised metrics of the chunks that NannyML was given.

Everything is computed from records, as in the product: rows become counts by predicted class and score cell,
or by prediction cell, and rows are not looked at again. Realised metrics, which both sides are measured
by, are computed from the rows themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from detectors.calibrator import Calibrator
from detectors.conformal import Bands, Estimate, Judge, held_out, least_off
from detectors.estimation import estimate, judge_classes
from detectors.expected_loss import ExpectedLoss, estimate_loss, judge_numbers
from detectors.outcomes import Records
from tests.benchmarks.estimation.datasets import DataSet
from tests.detectors.outcome_rows import POSITIVE, Outcomes, of_classes, of_numbers

LEAST_WINDOWS = 20
"""Windows that the reference is cut into at least, to learn from how far estimates are off."""


@dataclass
class Series:
    """One metric of one data set, chunk by chunk.

    Parameters
    ----------
    realised : list of float
    estimates, bands : list of Estimate
        With the normal interval of the sampling error, and with the conformal band, given before labels came.
    peer, peer_error, peer_low, peer_high : array
        NannyML's estimate, its sampling error, and its band.
    """

    realised: list[float] = field(default_factory=list)
    estimates: list[Estimate] = field(default_factory=list)
    bands: list[Estimate] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    peer_error: list[float] = field(default_factory=list)
    peer_low: list[float] = field(default_factory=list)
    peer_high: list[float] = field(default_factory=list)


def compare(data: DataSet, work: Path, *, by_features: bool = False) -> dict[str, Series]:
    """Estimate a data set's chunks, with bands that learn from one chunk before the next is estimated.

    Parameters
    ----------
    data : DataSet
    work : Path
        Where NannyML's side left the rows and its numbers.
    by_features : bool
        Use bands of the features as segments.
    """
    rows = _read(data, work)
    reference = _windows(data, rows, "reference", _cuts(rows), by_features)
    columns = _columns(rows) if by_features else []
    estimator, judge = _estimator(data, np.concatenate([w.labelled for w in reference]), columns)
    errors = held_out([window.labelled for window in reference], judge)
    bands = {name: Bands.start(errors[name]) for name in data.metrics}
    found = {name: Series() for name in data.metrics}
    starts = rows["starts"]
    windows = _windows(data, rows, "after", starts, by_features)
    ends = np.append(starts[1:], len(rows["after/label"]))
    for i, (window, begin, end) in enumerate(zip(windows, starts, ends, strict=True)):
        truths = _realised(data, rows, slice(begin, end))
        guesses = estimator(window.predicted)
        for name, series in found.items():
            guess, truth = guesses[name], truths[name]
            if guess is None or not np.isfinite(truth):
                continue
            series.realised.append(truth)
            series.estimates.append(guess)
            series.bands.append(bands[name].band(guess))
            bands[name] = bands[name].updated(guess, truth)
            series.peer.append(rows[f"{name}/value"][i])
            series.peer_error.append(rows[f"{name}/sampling_error"][i])
            series.peer_low.append(rows[f"{name}/lower_confidence_boundary"][i])
            series.peer_high.append(rows[f"{name}/upper_confidence_boundary"][i])
    return found


def chooses_features(data: DataSet, work: Path) -> bool:
    """Say whether the reference's own windows are estimated better with the features; no others are seen."""
    rows = _read(data, work)
    reference = [window.labelled for window in _windows(data, rows, "reference", _cuts(rows), True)]
    joint = np.concatenate(reference)
    judges = [_estimator(data, joint, columns)[1] for columns in ([], _columns(rows))]
    return bool(least_off(reference, judges))


def _read(data: DataSet, work: Path) -> dict[str, Any]:
    with np.load(work / f"{data.name}.npz") as kept:
        return {name: kept[name] for name in kept.files}


def _estimator(
    data: DataSet, reference: Records, columns: list[list[int]]
) -> tuple[Callable[[Records], dict[str, Estimate | None]], Judge]:
    if data.task == "regression":
        model = ExpectedLoss.fit(reference, columns)
        return lambda window: estimate_loss(model, window, with_columns=bool(columns)), judge_numbers(columns)
    positive = (POSITIVE,) if data.task == "binary" else ()
    calibrator = Calibrator.fit(reference, positive, columns)
    return lambda window: estimate(calibrator, window, with_columns=bool(columns)), judge_classes(
        positive, columns
    )


def _cuts(rows: dict[str, Any]) -> Any:
    """Where windows of the reference begin: its chunks, each cut so often that there are enough of them."""
    starts, total = rows["reference_starts"], len(rows["reference/label"])
    parts = -(-LEAST_WINDOWS // len(starts))
    return np.linspace(0, total, len(starts) * parts + 1)[:-1].astype(int)


def _columns(rows: dict[str, Any]) -> list[list[int]]:
    return [np.unique(column).tolist() for column in rows["reference/segments"].T]


def _windows(
    data: DataSet, rows: dict[str, Any], period: str, starts: Any, by_features: bool
) -> list[Outcomes]:
    ends = np.append(starts[1:], len(rows[f"{period}/label"]))
    return [
        _outcomes(data, rows, period, slice(begin, end), by_features)
        for begin, end in zip(starts, ends, strict=True)
    ]


def _outcomes(data: DataSet, rows: dict[str, Any], period: str, at: slice, by_features: bool) -> Outcomes:
    predicted, label = rows[f"{period}/predicted"][at], rows[f"{period}/label"][at]
    segments = rows[f"{period}/segments"][at] if by_features else None
    if data.task == "regression":
        return of_numbers(predicted, label, segments=segments)
    score = rows[f"{period}/score"][at]
    if data.task == "multiclass":
        score = np.take_along_axis(score, predicted[:, None], axis=1)[:, 0]
    return of_classes(predicted, label, score, segments=segments, is_of_predicted=data.task == "multiclass")


def _realised(data: DataSet, rows: dict[str, Any], at: slice) -> dict[str, float]:
    """Metrics of the rows of a chunk; nan where there is none."""
    predicted, label = rows["after/predicted"][at], rows["after/label"][at]
    if data.task == "regression":
        off = predicted - label
        return {"mae": float(np.abs(off).mean()), "rmse": float(np.sqrt((off**2).mean()))}
    found = {"accuracy": float((predicted == label).mean())}
    return found if data.task == "multiclass" else found | _binary(predicted, label, rows["after/score"][at])


def _binary(predicted: Any, label: Any, score: Any) -> dict[str, float]:
    right, positives, chosen = (predicted * label).sum(), label.sum(), predicted.sum()
    negatives = len(label) - positives
    below = stats.rankdata(score)[label == 1].sum() - positives * (positives + 1) / 2
    nan = float("nan")
    return {
        "precision": right / chosen if chosen else nan,
        "recall": right / positives if positives else nan,
        "f1": 2 * right / (positives + chosen) if positives + chosen else nan,
        "roc_auc": below / positives / negatives if positives and negatives else nan,
    }
