"""Outcomes: what was predicted and what turned out to be true, in sums that can be added to and taken back.

An outcome belongs to the slice of its *prediction*, whenever its label comes. A prediction adds one record at
once (nobody knows the truth yet), its label adds another; a correction subtracts the label's record and adds
a new one. All numbers are integers, so the sum of any records in any order is the same, and what is
subtracted is gone without a trace.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.cells import float_keys, keys_to_floats
from detectors.hashing import combine_hashes
from detectors.tensor import FloatArray, HashArray, IntArray
from schemas.errors import ProfileError

FORMAT = 1
NO_SCORE = -1
SCORE_CELLS = 611
EVERYTHING = 0  # segment of all rows
UNIT = float(2**32)  # of the sums of squared errors and log losses
FINE = float(2**40)  # of scores that are added up
MANTISSA = float(2**31)  # of the sums of residuals and labels, times a power of 2 that their cell tells
LEAST_PROBABILITY = 1e-15
LEAST_NUMBER = 2.0**-1022  # smaller numbers are taken for 0
NUMBER_SHIFT = 48  # low bits of a float's key that a cell leaves out: 16 cells an octave

_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
AGE_LIMITS_MS = (
    _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 3 * _DAY,
    5 * _DAY, 7 * _DAY, 14 * _DAY, 21 * _DAY, 30 * _DAY, 60 * _DAY, 90 * _DAY,
)  # fmt: skip
"""Upper limits of the ages that labels are told apart by; one more age holds the older ones."""

_FINEST = -20  # scores within 2^-20 of 0 or 1 share a cell
_LOWEST_KEY = int(np.float64(2.0**_FINEST).view(np.int64)) >> NUMBER_SHIFT
_HALF_CELL = 305

RECORD = np.dtype(
    [
        ("segment", "<u8"),
        ("a", "<i8"),
        ("b", "<i8"),
        ("cell", "<i2"),
        ("family", "u1"),
        ("age", "i1"),
        ("n", "<i8"),
        ("s1", "<i8"),
        ("s2", "<i8"),
    ]
)
"""One record: what it counts (see `Family`), and its sums.

`segment` is `EVERYTHING` or the hash of ``name=value``; `age` the index of the label's age among
`AGE_LIMITS_MS`, -1 where there is no label.
"""

Records = NDArray[np.void]


class Family(IntEnum):
    """What a record counts.

    Hashes of classes are stored as int64 with the same bits. Numbers are cells: keys of floats
    (`detectors.cells.float_keys`) without their lowest 48 bits.
    """

    PREDICTED = 0
    """Predictions of classes. a: hash of the predicted class, cell: of the score."""
    LABELLED = 1
    """Those with a label. a: predicted, b: label, cell: of the score; s1: Σ squared error, s2: Σ log loss,
    both in units of 2⁻³²."""
    ONE_AGAINST_REST = 2
    """Scores of each class. a: class, b: 1 where it is the label, otherwise 0; cell: of the class's score."""
    ESTIMATED = 3
    """Predictions of numbers. a: cell of the prediction."""
    RESIDUAL = 4
    """Those with a label. a: cell of the prediction, b: cell of prediction − label; s1: Σ |residual|, s2:
    Σ residual², in units that `residual_sums` knows."""
    TRUTH = 5
    """Labels of numbers. b: cell of the label; s1: Σ |label|, s2: Σ label²."""
    UNREADABLE = 6
    """Labels of numbers that have no finite residual."""


def score_cells(scores: FloatArray) -> NDArray[np.int16]:
    """Cells of probabilities: sixteen an octave from 0 and from 1 towards ½; `NO_SCORE` for anything else.

    Examples
    --------
    >>> score_cells(np.array([0.0, 0.25, 0.5, 0.75, 1.0, np.nan, 1.5])).tolist()
    [0, 289, 305, 321, 610, -1, -1]
    """
    with np.errstate(invalid="ignore"):
        is_known = (scores >= 0) & (scores <= 1)
    p = np.where(is_known, scores, 0.0)
    is_low = p < 0.5
    near = np.where(is_low, p, 1.0 - p)
    index = np.maximum((near.view(np.int64) >> NUMBER_SHIFT) - _LOWEST_KEY + 1, 0)
    cell = np.where(is_low, index, 2 * _HALF_CELL - index)
    return np.where(is_known, cell, NO_SCORE).astype(np.int16)


def score_edges() -> FloatArray:
    """Edges of the cells of scores, ``[SCORE_CELLS + 1]``: below ½ of what begins, above ½ of what ends.

    Examples
    --------
    >>> edges = score_edges()
    >>> len(edges), edges[[0, 289, 305, 306, 322, 611]].tolist()
    (612, [0.0, 0.25, 0.5, 0.5, 0.75, 1.0])
    """
    keys = np.arange(_LOWEST_KEY, _LOWEST_KEY + _HALF_CELL, dtype=np.int64)
    low = np.concatenate(([0.0], (keys << NUMBER_SHIFT).view(np.float64)))  # to ½, a cell of its own
    return np.concatenate((low, [0.5], 1.0 - low[-2::-1]))


def number_cells(values: FloatArray) -> IntArray:
    """Cells of finite numbers: sixteen an octave, on both sides of 0."""
    return float_keys(values) >> np.int64(NUMBER_SHIFT)


def number_cell_bounds(cells: IntArray) -> tuple[FloatArray, FloatArray]:
    """Lower bound of cells, which belongs to them, and the lower bound of the next."""
    low = keys_to_floats(cells.astype(np.int64) << np.int64(NUMBER_SHIFT))
    high = keys_to_floats((cells.astype(np.int64) + 1) << np.int64(NUMBER_SHIFT))
    return low, high


def ages(delay_ms: IntArray) -> NDArray[np.int8]:
    """Index of the age of labels that came so long after their predictions; early ones have age 0."""
    return np.searchsorted(AGE_LIMITS_MS, delay_ms, side="left").astype(np.int8)


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model version that wait for labels, in columns.

    Parameters
    ----------
    event_ms : int64 array [n]
    predicted : uint64 array [n]
        Hash of the predicted class; 0 for numbers.
    value : float64 array [n]
        Predicted number; NaN for classes.
    score : float64 array [n]
        P(positive), or the score of the predicted class where each class has a score; NaN: none.
    segments : uint64 array [n, S]
        Hashes of ``name=value``; 0 where a row has no value.
    classes : uint64 array [n, K]
        Classes that have scores of their own; 0 where a row has none.
    scores : float64 array [n, K]
        Their scores.
    """

    event_ms: IntArray
    predicted: HashArray
    value: FloatArray
    score: FloatArray
    segments: HashArray
    classes: HashArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.event_ms)

    def take(self, at: NDArray[np.intp]) -> Predictions:
        """Return some of the rows."""
        return Predictions(*(getattr(self, name)[at] for name in self.__dataclass_fields__))

    @property
    def is_number(self) -> NDArray[np.bool_]:
        """Rows that predict a number."""
        return np.equal(self.predicted, 0)


@dataclass(frozen=True)
class Labels:
    """Labels in columns, aligned with predictions.

    Parameters
    ----------
    label_ms : int64 array [n]
    label : uint64 array [n]
        Hash of the label as a class.
    value : float64 array [n]
        Label as a number; NaN if it is none.
    """

    label_ms: IntArray
    label: HashArray
    value: FloatArray


def predicted_records(rows: Predictions) -> Records:
    """Records of predictions for `EVERYTHING`, one a row; `with_segments` adds the others."""
    found = np.zeros(len(rows), RECORD)
    number = rows.is_number
    found["age"] = -1
    found["family"] = np.where(number, Family.ESTIMATED, Family.PREDICTED)
    finite = np.isfinite(rows.value)
    found["a"] = np.where(
        number, number_cells(np.where(finite, rows.value, 0.0)), rows.predicted.view(np.int64)
    )
    found["cell"] = np.where(number, NO_SCORE, score_cells(rows.score))
    found["n"] = 1
    return found


def labelled_records(
    rows: Predictions, labels: Labels, is_positive: NDArray[np.bool_]
) -> tuple[Records, IntArray]:
    """Records of predictions whose labels are known.

    Parameters
    ----------
    rows : Predictions
    labels : Labels
        One a row.
    is_positive : bool array [n]
        Rows whose label is the positive class: what a `score` without a class is about.

    Returns
    -------
    records [r], int64 array [r]
        Records for `EVERYTHING`, and the row that each comes from.
    """
    age = ages(labels.label_ms - rows.event_ms)
    every = np.arange(len(rows))
    classes = every[~rows.is_number]
    with np.errstate(over="ignore", invalid="ignore"):
        is_readable = np.isfinite(rows.value - labels.value)
    numbers = every[rows.is_number & is_readable]
    unreadable = every[rows.is_number & ~is_readable]
    found = [
        (_of_classes(rows, labels, is_positive, classes), classes),
        (_residuals(rows, labels, numbers), numbers),
        (_truths(labels, numbers), numbers),
        (_records(len(unreadable), Family.UNREADABLE), unreadable),
    ]
    found += [_against_rest(rows, labels, k) for k in range(rows.classes.shape[1])]
    for records, row in found:
        records["age"] = age[row]
    return np.concatenate([records for records, _ in found]), np.concatenate([row for _, row in found])


def _records(n: int, family: Family) -> Records:
    records = np.zeros(n, RECORD)
    records["family"], records["cell"], records["n"] = family, NO_SCORE, 1
    return records


def _of_classes(
    rows: Predictions, labels: Labels, is_positive: NDArray[np.bool_], at: NDArray[np.intp]
) -> Records:
    records = _records(len(at), Family.LABELLED)
    records["a"], records["b"] = rows.predicted[at].view(np.int64), labels.label[at].view(np.int64)
    records["cell"] = score_cells(rows.score[at])
    squared, log_loss = _class_losses(rows, labels, is_positive[at], at)
    records["s1"], records["s2"] = np.rint(squared * UNIT), np.rint(log_loss * UNIT)
    return records


def _class_losses(
    rows: Predictions, labels: Labels, is_positive: NDArray[np.bool_], at: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Squared error and log loss of scores; 0 where there are none."""
    label, score = labels.label[at], rows.score[at]
    known = score_cells(score) != NO_SCORE
    p = np.where(known, score, 0.5)
    squared = np.where(known, (p - is_positive) ** 2, 0.0)
    likelihood = np.where(is_positive, p, 1.0 - p)
    if rows.classes.shape[1]:
        classes, scores = rows.classes[at], rows.scores[at]
        has = (classes != 0).any(axis=1)
        each = np.where((classes != 0) & np.isfinite(scores), scores, 0.0).clip(0, 1)
        is_label = (classes == label[:, None]) & (classes != 0)
        # A label that no score was given for counts as one of probability 0.
        missed = ~is_label.any(axis=1)
        # Whole numbers have the same sum in any order and with any number of zeros behind them.
        squares = np.rint((each - is_label) ** 2 * UNIT).sum(axis=1) / UNIT
        squared = np.where(has, squares + missed, squared)
        total = np.rint(each * FINE).sum(axis=1) / FINE
        share = np.where(is_label, each, 0.0).max(axis=1) / np.where(total > 0, total, 1.0)
        likelihood = np.where(has, share, likelihood)
        known = known | has
    log_loss = -np.log(np.clip(likelihood, LEAST_PROBABILITY, 1.0))
    return squared, np.where(known, log_loss, 0.0)


def _against_rest(rows: Predictions, labels: Labels, k: int) -> tuple[Records, IntArray]:
    at = np.flatnonzero((rows.classes[:, k] != 0) & ~rows.is_number)
    records = _records(len(at), Family.ONE_AGAINST_REST)
    records["a"] = rows.classes[at, k].view(np.int64)
    records["b"] = rows.classes[at, k] == labels.label[at]
    records["cell"] = score_cells(rows.scores[at, k])
    return records, at


def _residuals(rows: Predictions, labels: Labels, at: NDArray[np.intp]) -> Records:
    records = _records(len(at), Family.RESIDUAL)
    residual = rows.value[at] - labels.value[at]
    records["a"], records["b"] = number_cells(rows.value[at]), number_cells(residual)
    records["s1"], records["s2"] = _scaled(residual)
    return records


def _truths(labels: Labels, at: NDArray[np.intp]) -> Records:
    records = _records(len(at), Family.TRUTH)
    records["b"] = number_cells(labels.value[at])
    records["s1"], records["s2"] = _scaled(labels.value[at])
    return records


def _scaled(values: FloatArray) -> tuple[IntArray, IntArray]:
    mantissa, _ = np.frexp(np.where(np.abs(values) < LEAST_NUMBER, 0.0, np.abs(values)))
    return np.rint(mantissa * MANTISSA).astype(np.int64), np.rint(mantissa**2 * MANTISSA).astype(np.int64)


def number_sums(records: Records) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Σx, Σ|x| and Σx² of each record of the families `RESIDUAL` and `TRUTH`; squares may be infinite.

    Examples
    --------
    >>> rows = Predictions(*(np.array([x]) for x in (0, 0, 2.5, np.nan)), *(np.zeros((1, 0)),) * 3)
    >>> labels = Labels(np.array([0]), np.array([0]), np.array([4.0]))
    >>> records, _ = labelled_records(rows, labels, np.array([False]))
    >>> [x.tolist() for x in number_sums(records[:1])]
    [[-1.5], [1.5], [2.25]]
    """
    edge, _ = number_cell_bounds(records["b"])
    _, exponent = np.frexp(edge)
    absolute = np.ldexp(records["s1"] / MANTISSA, exponent)
    with np.errstate(over="ignore"):
        squared = np.ldexp(records["s2"] / MANTISSA, 2 * exponent)
    return np.where(records["b"] < 0, -absolute, absolute), absolute, squared


def with_segments(records: Records, row: IntArray, segments: HashArray) -> tuple[Records, IntArray]:
    """Repeat records for each segment that their rows belong to.

    Parameters
    ----------
    records : records [r]
        For `EVERYTHING`.
    row : int64 array [r]
    segments : uint64 array [n, S]

    Returns
    -------
    records, int64 array
        Those given, followed by those of segments, and the row of each.
    """
    parts, rows = [records], [row]
    for column in segments.T:
        of = column[row]
        at = np.flatnonzero(of)
        part = records[at]
        part["segment"] = of[at]
        parts.append(part)
        rows.append(row[at])
    return np.concatenate(parts), np.concatenate(rows)


def negated(records: Records) -> Records:
    """What takes records back."""
    found = records.copy()
    for name in ("n", "s1", "s2"):
        found[name] = -found[name]
    return found


KEYS = ("segment", "a", "b", "cell", "family", "age")


def summed(group: IntArray, records: Records) -> tuple[IntArray, Records]:
    """Add up records that count the same thing in the same group; sorted by group, then by what they count.

    Parameters
    ----------
    group : int64 array [r]
        For example the slice.
    records : records [r]

    Returns
    -------
    int64 array, records
        Groups and records of what is not 0.
    """
    order = np.lexsort([records[name] for name in reversed(KEYS)] + [group])
    if not len(order):
        return group, records
    group, records = group[order], records[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = group[1:] != group[:-1]
    for name in KEYS:
        is_new[1:] |= records[name][1:] != records[name][:-1]
    first = np.flatnonzero(is_new)
    found = records[first]
    for name in ("n", "s1", "s2"):
        found[name] = np.add.reduceat(records[name], first)
    keep = (found["n"] != 0) | (found["s1"] != 0) | (found["s2"] != 0)
    return group[first][keep], found[keep]


def by_group(group: IntArray, records: Records) -> list[tuple[int, bytes]]:
    """Bytes of the records of each group, of what `summed` returns."""
    if not len(group):
        return []
    bounds = np.concatenate(([0], np.flatnonzero(group[1:] != group[:-1]) + 1, [len(group)])).tolist()
    return [(int(group[low]), records[low:high].tobytes()) for low, high in pairwise(bounds)]


def joined(parts: Iterable[bytes]) -> Records:
    """Add up stored records.

    Raises
    ------
    ProfileError
        If bytes are damaged.
    """
    data = b"".join(parts)
    if len(data) % RECORD.itemsize:
        msg = f"outcomes: {len(data)} bytes are not a whole number of records of {RECORD.itemsize}"
        raise ProfileError(msg)
    records = np.frombuffer(data, RECORD)
    return summed(np.zeros(len(records), np.int64), records)[1]


def class_hash(mixed: HashArray) -> HashArray:
    """Keep hashes of classes away from 0, which stands for none."""
    return np.where(mixed == 0, np.uint64(1), mixed)


def joint(*parts: Predictions) -> Predictions:
    """Put rows below each other; rows with fewer segments or classes are filled up with 0."""
    segments = max(rows.segments.shape[1] for rows in parts)
    classes = max(rows.classes.shape[1] for rows in parts)
    wide = [_widened(rows, segments, classes) for rows in parts]
    return Predictions(
        *(np.concatenate([getattr(rows, name) for rows in wide]) for name in Predictions.__dataclass_fields__)
    )


def _widened(rows: Predictions, segments: int, classes: int) -> Predictions:
    def filled(array: NDArray[Any], width: int) -> NDArray[Any]:
        return np.pad(array, ((0, 0), (0, width - array.shape[1])))

    return Predictions(
        rows.event_ms, rows.predicted, rows.value, rows.score,
        filled(rows.segments, segments), filled(rows.classes, classes), filled(rows.scores, classes),
    )  # fmt: skip


def join_key(model_hash: HashArray, event_hash: HashArray) -> IntArray:
    """Key under which a prediction and its labels meet: of the model and the event id."""
    return combine_hashes(model_hash, event_hash).view(np.int64)
