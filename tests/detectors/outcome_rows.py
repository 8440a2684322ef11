"""Records of outcomes from plain columns, for tests and benchmarks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from detectors.outcomes import (
    Labels,
    Predictions,
    Records,
    labelled_records,
    predicted_records,
    summed,
    with_segments,
)

NEGATIVE, POSITIVE = 11, 12  # hashes of two classes


class Outcomes(NamedTuple):
    """Records of the same rows, without and with their labels."""

    predicted: Records
    labelled: Records


def of_classes(predicted, label, score=None, *, segments=None, is_of_predicted=False) -> Outcomes:
    """Records of predicted classes, given by number from 0, and scores: P(1), or of the predicted class."""
    n = len(predicted)
    score = np.full(n, np.nan) if score is None else np.asarray(score, float)
    as_hash = np.asarray([NEGATIVE, POSITIVE, 13, 14, 15], np.uint64)
    rows = _rows(as_hash[np.asarray(predicted, int)], np.full(n, np.nan), score, segments)
    labels = Labels(np.ones(n, np.int64), as_hash[np.asarray(label, int)], np.full(n, np.nan))
    is_positive = np.equal(label, predicted if is_of_predicted else 1)
    return _records(rows, labels, is_positive)


def of_numbers(predicted, label, *, segments=None) -> Outcomes:
    """Records of predicted numbers."""
    n = len(predicted)
    rows = _rows(np.zeros(n, np.uint64), np.asarray(predicted, float), np.full(n, np.nan), segments)
    labels = Labels(np.ones(n, np.int64), np.zeros(n, np.uint64), np.asarray(label, float))
    return _records(rows, labels, np.zeros(n, bool))


def _rows(hashes, value, score, segments) -> Predictions:
    n = len(hashes)
    segments = np.zeros((n, 0), np.uint64) if segments is None else np.asarray(segments, np.uint64)
    none = np.zeros((n, 0))
    return Predictions(
        np.zeros(n, np.int64), hashes, value, score, segments, none.astype(np.uint64), none.astype(float)
    )


def _records(rows, labels, is_positive) -> Outcomes:
    every = np.arange(len(rows))
    found = []
    for records, row in ((predicted_records(rows), every), labelled_records(rows, labels, is_positive)):
        with_values, _ = with_segments(records, row, rows.segments)
        found.append(summed(np.zeros(len(with_values), np.int64), with_values)[1])
    return Outcomes(*found)
