"""Performance estimated before labels come: what scores were worth in the reference, applied to a window.

Confidence-based performance estimation on score cells. It tells what performance *would* be if scores were
still worth what they were: a change of the inputs shows, a change of what they mean does not
(`detectors.reconcile` finds that out once labels come). Predictions of numbers: `detectors.expected_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detectors.calibrator import Calibrator, groups, signed, successes
from detectors.conformal import LEVEL, Estimate, Judge
from detectors.expected_metrics import BINARY, MULTICLASS, Rows
from detectors.outcomes import EVERYTHING, UNIT, Family, Records
from detectors.score_curve import PLACES, Curve
from detectors.tensor import FloatArray, IntArray


def estimate(
    calibrator: Calibrator,
    records: Records,
    *,
    segment: int = EVERYTHING,
    family: Family = Family.PREDICTED,
    with_columns: bool = False,
    level: float = LEVEL,
) -> dict[str, Estimate | None]:
    """Estimate the metrics of a window from its predictions alone.

    Parameters
    ----------
    calibrator : Calibrator
    records : records
        Of the window.
    segment : int
        Hash of a segment, or `EVERYTHING`.
    family : Family
        `PREDICTED`, or `LABELLED` for those predictions alone that have labels; the labels are not looked at.
    with_columns : bool
        Tell rows apart by the calibrator's columns beside their scores; `detectors.conformal.least_off` says
        whether that helps. For `EVERYTHING` only: records do not tell the columns of a segment's rows.
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict of str to Estimate or None
        None where a metric is not defined, for example without predictions.

    Notes
    -----
    With g the derivative of the metric by the successes of a row, the variance is Σ n·p(1 − p)·g² for the
    window's labels, and Σ_B (Σ_{rows of B} n·g)²·V_B for the reference, where B are the blocks of the
    isotonic curve: all cells of a block share one estimate and its error. For accuracy and cells that are
    blocks of their own this is Σ (n/N)²·p(1 − p)/m + Σ n·p(1 − p)/N². A column adds the variance of what its
    curves do not share with the common one, times (n_v − n·m_v/m)²: it matters where the column's mix
    changed.

    References
    ----------
    .. [1] J. Białek et al., "Estimating model performance under covariate shift without labels", 2024,
       arXiv:2401.08348 (CBPE).

    Examples
    --------
    >>> from detectors.outcomes import RECORD
    >>> reference = np.zeros(4, RECORD)
    >>> reference["family"] = Family.LABELLED
    >>> reference["a"], reference["b"] = [7, 7, 8, 8], [7, 8, 7, 8]
    >>> reference["cell"], reference["n"] = [300, 300, 50, 50], [900, 100, 200, 800]
    >>> window = reference[[0, 2]]
    >>> window["family"], window["n"] = Family.PREDICTED, [100, 300]
    >>> found = estimate(Calibrator.fit(reference, positive=(7,)), window)
    >>> round(found["accuracy"].value, 6), round(found["recall"].value, 6)
    (0.825, 0.6)
    """
    window = expected(calibrator, records, segment, family, with_columns=with_columns)
    found: dict[str, Estimate | None] = {}
    for name, metric in calibrator.metrics.items():
        result = metric(window.rows, window.y)
        most = float("inf") if name == "log_loss" else 1.0
        found[name] = result and Estimate.of(
            result.value, window.variance(result.gradient), window.rows.n.sum(), level, most
        )
    return found


def realised(
    records: Records, positive: Sequence[int] = (), *, segment: int = EVERYTHING
) -> dict[str, float | None]:
    """Compute the same metrics from labels, on the same score cells.

    Parameters
    ----------
    records : records
        Of a window; `Family.LABELLED` is used.
    positive : sequence of int
        As in `Calibrator.fit`.
    segment : int
    """
    hashes = signed(positive)
    known = records[(records["family"] == Family.LABELLED) & (records["segment"] == segment)]
    rows, at = _rows(known, known["n"].astype(np.float64), hashes, np.zeros((2, 2, PLACES)))
    y = _sums(at, known["n"] * successes(known, hashes), len(rows.n))
    metrics = BINARY if hashes else MULTICLASS
    results = {name: metric(rows, y) for name, metric in metrics.items()}
    found = {name: None if result is None else result.value for name, result in results.items()}
    scored = known[known["cell"] >= 0]
    if hashes and scored["n"].sum() > 0:
        for name, sums in (("brier", "s1"), ("log_loss", "s2")):
            found[name] = float(scored[sums].sum() / UNIT / scored["n"].sum())
    return found


class Expected(NamedTuple):
    """A window's rows with the successes expected of each, and where the expectation comes from.

    Parameters
    ----------
    rows : Rows
    y : FloatArray
        ``[r]``: expected successes.
    at, block : IntArray
        The row of each term of y by the common curves, and the block (of all the calibrator's) that it uses.
    n : FloatArray
        Predictions of each term.
    group : IntArray
        And its group.
    columns : tuple of (IntArray, IntArray, IntArray, FloatArray)
        The same of the terms by columns: row, group of the common curve in whose place they come, block,
        predictions.
    curve : Curve
        All blocks.
    """

    rows: Rows
    y: FloatArray
    at: IntArray
    block: IntArray
    n: FloatArray
    group: IntArray
    columns: tuple[IntArray, IntArray, IntArray, FloatArray]
    curve: Curve

    def carried(self, gradient: FloatArray) -> FloatArray:
        """Derivative of a metric by the estimate of each block, for its derivative by y."""
        return _sums(self.block, self.n * gradient[self.at], len(self.curve.variance))

    def variance(self, gradient: FloatArray) -> float:
        """Variance of a metric: of the labels to come, and of the reference."""
        labels = self.label_variance(gradient)
        carried = self.carried(gradient)
        reference = (carried**2 * self.curve.variance).sum()
        return float(labels + reference + self.of_columns(gradient))

    def label_variance(self, gradient: FloatArray) -> float:
        """Variance of a metric that comes from the window's labels alone."""
        p = self.y / np.maximum(self.rows.n, 1e-300)
        return float((self.rows.n * p * (1 - p) * gradient**2).sum())

    def of_columns(self, gradient: FloatArray) -> float:
        """Part of the variance of a metric that comes from the terms by columns."""
        at, common, block, n = self.columns
        length = len(self.curve.variance)
        whole = _sums(self.group, self.n * gradient[self.at], length)
        blocks, first = np.unique(block, return_index=True)
        own = (
            _sums(block, n * gradient[at], length)[blocks] - self.curve.portion[blocks] * whole[common[first]]
        )
        return float((own**2 * self.curve.own[blocks]).sum())


def expected(
    calibrator: Calibrator,
    records: Records,
    segment: int = EVERYTHING,
    family: Family = Family.PREDICTED,
    *,
    with_columns: bool = False,
) -> Expected:
    """Successes to be expected of a window; parameters as in `estimate`.

    Notes
    -----
    A row of n predictions is expected to have n·P successes by the common curve. Each column adds
    Σ (n_v − n·m_v/m)·(P_v − P), what the curves of its segments say in place of the common one as far as the
    mix of the segments is not the reference's, m_v of m rows: the first-order terms of P given the score and
    all columns. Without the second part of the difference, curves that were drawn towards the common one
    would move the estimate of the reference itself.
    """
    of_family = records[records["family"] == family]
    whole = of_family[of_family["segment"] == np.uint64(segment)]
    with_columns = with_columns and segment == EVERYTHING
    told_apart = [x for column in calibrator.columns for x in column] if with_columns else []
    parts = of_family[np.isin(of_family["segment"], np.array(told_apart, np.uint64))]
    every = np.concatenate((whole, parts))
    n = np.maximum(every["n"], 0).astype(np.float64)
    split = len(whole)
    own = np.where(np.arange(len(every)) < split, n, 0.0)
    rows, at = _rows(every, own, calibrator.positive, calibrator.losses)
    group, place = groups(every, calibrator.positive), every["cell"].astype(np.int64) + 1
    common = np.full(len(every), segment, np.uint64).view(np.int64)
    p, block, of_curve = calibrator.look_up(common, group, place)
    p_of, block_of, _ = calibrator.look_up(parts["segment"].view(np.int64), group[split:], place[split:])
    usual = _usual(calibrator, group[:split], place[:split]) if with_columns else np.zeros(split)
    y = _sums(at[:split], n[:split] * (p[:split] - usual), len(rows.n))
    y += _sums(at[split:], n[split:] * (p_of - p[split:]), len(rows.n))
    return Expected(
        rows,
        y.clip(0, rows.n),
        at[:split],
        block[:split],
        n[:split],
        of_curve[:split],
        (at[split:], of_curve[split:], block_of, n[split:]),
        calibrator.blocks[1],
    )


def _usual(calibrator: Calibrator, group: IntArray, place: IntArray) -> FloatArray:
    """What columns would say of each row if their mix were the reference's."""
    found = np.zeros(len(group))
    for one, said in calibrator.usual.items():
        found += np.where(group == one, said[place], 0.0)
    return found


def judge_classes(positive: Sequence[int] = (), columns: Sequence[Sequence[int]] = ()) -> Judge:
    """Make a judge of windows that predict classes, for `detectors.conformal.held_out`."""

    def judge(reference: Records, window: Records) -> dict[str, tuple[Estimate | None, float | None]]:
        calibrator = Calibrator.fit(reference, positive, columns)
        guesses = estimate(calibrator, window, family=Family.LABELLED, with_columns=bool(columns))
        truths = realised(window, positive)
        return {name: (guess, truths[name]) for name, guess in guesses.items()}

    return judge


def _rows(
    records: Records, n: FloatArray, positive: tuple[int, ...], losses: FloatArray
) -> tuple[Rows, IntArray]:
    """Rows by predicted class and cell, with n summed, and the row of each record."""
    pairs = np.stack((records["a"], records["cell"].astype(np.int64)))
    keys, at = np.unique(pairs, axis=1, return_inverse=True)
    at = at.ravel()
    chosen = np.isin(keys[0], positive) if positive else np.ones(keys.shape[1], bool)
    return Rows(_sums(at, n, keys.shape[1]), chosen, keys[1] + 1, losses), at


def _sums(place: IntArray, values: FloatArray, length: int) -> FloatArray:
    return np.asarray(np.bincount(place, values, length), np.float64)
