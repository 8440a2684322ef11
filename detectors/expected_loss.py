"""The error of predicted numbers, estimated before labels come: from what predictions like these were off by.

In the reference every prediction cell has a mean |residual| and residual²; a window's predictions are
expected to be off by as much. That sees changes of *what is predicted*. Changes of the inputs that the
prediction does not tell apart are seen through segments, where columns are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.conformal import LEVEL, Estimate, Judge
from detectors.outcomes import EVERYTHING, Family, Records, number_sums
from detectors.score_curve import pseudo_rows
from detectors.tensor import FloatArray, HashArray, IntArray

BINS = 64
LEAST_ROWS = 30
_LOSSES = 2  # |residual|, residual²
_MOST_SQUARED = 1e140


class Losses(NamedTuple):
    """Mean losses by bin of the prediction, ``[2, bins]``, and the variances of the means.

    `raw` are means that are drawn towards those of everything by a single row, for sums over many bins, in
    which noise averages out and what is drawn in one direction adds up. `portion` is the share of the whole's
    rows, ``[bins]``.
    """

    mean: FloatArray
    variance: FloatArray
    raw: FloatArray
    raw_variance: FloatArray
    portion: FloatArray


@dataclass(frozen=True)
class ExpectedLoss:
    """What predictions were off by in the reference, for everything and for segments.

    Parameters
    ----------
    first : IntArray
        ``[bins]``: cell of the prediction with which each bin begins; lower predictions belong to the first.
    of : mapping of int to Losses
        By segment. Those of segments are drawn towards those of everything.
    row_variance : FloatArray
        ``[2, bins]``: of the loss of one row.

    Notes
    -----
    Bins are runs of cells that hold equal shares of the reference's predictions, at most 64 and of some 30
    rows at least. Means of segments are (Σ loss + κ·mean)/(n + κ), see `detectors.score_curve.pseudo_rows`.

    Examples
    --------
    >>> from detectors.outcomes import Labels, Predictions, labelled_records, predicted_records
    >>> value, label = np.linspace(1, 9, 400), np.linspace(1, 9, 400) + np.tile([-1.0, 1.0], 200)
    >>> none = np.zeros((400, 0))
    >>> rows = Predictions(*(np.zeros(400, t) for t in (int, np.uint64)), value, np.full(400, np.nan),
    ...     none.astype(np.uint64), none.astype(np.uint64), none)
    >>> labels = Labels(np.zeros(400, int), np.zeros(400, np.uint64), label)
    >>> reference, _ = labelled_records(rows, labels, np.zeros(400, bool))
    >>> found = estimate_loss(ExpectedLoss.fit(reference), predicted_records(rows))
    >>> round(found["mae"].value, 3), round(found["rmse"].value, 3)
    (1.0, 1.0)
    """

    first: IntArray
    of: Mapping[int, Losses]
    row_variance: FloatArray
    columns: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def fit(cls, records: Records, columns: Sequence[Sequence[int]] = ()) -> ExpectedLoss:
        """Fit to a reference's records, of everything and of segments.

        Parameters
        ----------
        records : records
            Any families; `Family.RESIDUAL` is used.
        columns : sequence of sequences of int
            As in `detectors.calibrator.Calibrator.fit`.
        """
        known = records[records["family"] == Family.RESIDUAL]
        whole = known[known["segment"] == EVERYTHING]
        first = _bins(whole)
        n, total, squares = (x[0] for x in _sums(whole, np.zeros(len(whole), np.int64), 1, first))
        mean = total / np.maximum(n, 1)
        row_variance = np.maximum(squares / np.maximum(n, 1) - mean**2, 0.0)
        variance = row_variance / np.maximum(n, 1)
        whole_losses = Losses(mean, variance, mean, variance, np.ones_like(n[0]))
        found = {EVERYTHING: whole_losses}
        kept = tuple(tuple(int(x) for x in column) for column in columns)
        rest = known[known["segment"] != EVERYTHING]
        column = _column_of(rest["segment"], kept)
        for i in np.unique(column).tolist():
            found |= _parts(rest[column == i], first, whole_losses, row_variance, n[0])
        return cls(first, found, row_variance, kept)

    def losses(self, segment: int) -> Losses:
        """Losses of a segment; of everything where the reference has no such segment."""
        return self.of.get(segment, self.of[EVERYTHING])


def loss_weights(model: ExpectedLoss, window: Records, segment: int = EVERYTHING) -> FloatArray:
    """Share of each bin, ``[bins]``, among a window's predictions that have labels."""
    n = _counts(window[window["family"] == Family.RESIDUAL], segment, model.first)
    return np.asarray(n / max(n.sum(), 1.0))


def estimate_loss(
    model: ExpectedLoss,
    records: Records,
    *,
    segment: int = EVERYTHING,
    family: Family = Family.ESTIMATED,
    with_columns: bool = False,
    level: float = LEVEL,
) -> dict[str, Estimate | None]:
    """Estimate MAE and RMSE of a window from its predictions alone.

    Parameters
    ----------
    model : ExpectedLoss
    records : records
        Of the window.
    segment : int
        Hash of a segment, or `EVERYTHING`.
    family : Family
        `ESTIMATED`, or `RESIDUAL` for those predictions alone that have labels.
    with_columns : bool
        Tell rows apart by the model's columns beside their prediction.
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict of str to Estimate or None
        ``mae`` and ``rmse``, in the unit of the predictions; None without predictions or reference.

    Notes
    -----
    Mean loss L = Σ (n_b/N)·L_b, plus f·A with A = Σ (n_{v,b}/N)·(L_{v,b} − L_b) for each column: the
    first-order terms of the loss given the prediction and all columns. f = max(0, 1 − Var(A)/A²) leaves out
    what chance would give as well (James–Stein). The variance is Σ n_b·v_b/N² for the window's labels,
    Σ (n_b/N)²·V_b for the reference, and Σ f·Var(A) with Var(A) = Σ ((n_{v,b} − n_b·m_{v,b}/m_b)/N)²·V_{v,b}
    for columns. RMSE = √L₂ has the variance Var(L₂)/(4·L₂).

    References
    ----------
    .. [1] NannyML, "Direct Loss Estimation": https://nannyml.readthedocs.io, which fits a model of the loss
       to the features of rows.
    """
    window = records[records["family"] == family]
    n = _counts(window, segment, model.first)
    total = n.sum()
    if total <= 0 or not len(model.first):
        return {"mae": None, "rmse": None}
    common = model.losses(segment)
    mean = (n * common.mean).sum(axis=1) / total
    variance = (n * model.row_variance + n**2 * common.variance).sum(axis=1) / total**2
    for column in model.columns if with_columns else ():
        added, doubt = _adjustment(model, window, column, common, n)
        kept = np.where(added**2 > doubt, 1 - doubt / np.maximum(added**2, 1e-300), 0.0)
        mean += kept * added / total
        variance += kept * doubt / total**2
    mae, square = np.maximum(mean, 0.0).tolist()
    of_root = variance[1] / (4 * square) if square > 0 else 0.0
    unlimited = float("inf")
    return {
        "mae": Estimate.of(mae, float(variance[0]), total, level, unlimited),
        "rmse": Estimate.of(square**0.5, float(of_root), total, level, unlimited),
    }


def _adjustment(
    model: ExpectedLoss, window: Records, column: Sequence[int], common: Losses, n: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What the segments of a column say in place of the common losses, ``[2]``, and its variance."""
    added, doubt = np.zeros(_LOSSES), np.zeros(_LOSSES)
    for value in set(column) & model.of.keys():
        part, losses = _counts(window, value, model.first), model.of[value]
        added += (part * (losses.raw - common.mean)).sum(axis=1)
        doubt += ((part - losses.portion * n) ** 2 * losses.raw_variance).sum(axis=1)
    return added, doubt


def realised_loss(records: Records, *, segment: int = EVERYTHING) -> dict[str, float | None]:
    """Compute MAE and RMSE from labels."""
    known = records[(records["family"] == Family.RESIDUAL) & (records["segment"] == segment)]
    n = known["n"].sum()
    if n <= 0:
        return {"mae": None, "rmse": None}
    absolute, squared = _losses(known)
    return {"mae": float(absolute.sum() / n), "rmse": float(max(squared.sum() / n, 0.0) ** 0.5)}


def judge_numbers(columns: Sequence[Sequence[int]] = ()) -> Judge:
    """Make a judge of windows that predict numbers, for `detectors.conformal.held_out`."""

    def judge(reference: Records, window: Records) -> dict[str, tuple[Estimate | None, float | None]]:
        model = ExpectedLoss.fit(reference, columns)
        guesses = estimate_loss(model, window, family=Family.RESIDUAL, with_columns=bool(columns))
        truths = realised_loss(window)
        return {name: (guess, truths[name]) for name, guess in guesses.items()}

    return judge


def _bins(whole: Records) -> IntArray:
    """First cells of runs with about equal numbers of rows."""
    cells, at = np.unique(whole["a"], return_inverse=True)
    n = np.bincount(at, whole["n"], len(cells))
    if n.sum() <= 0:
        return np.zeros(0, np.int64)
    count = int(np.clip(n.sum() // LEAST_ROWS, 1, BINS))
    wanted = ((np.cumsum(n) - n / 2) / n.sum() * count).astype(np.int64)
    return np.asarray(cells[np.unique(wanted, return_index=True)[1]], np.int64)


def _bin(records: Records, first: IntArray) -> IntArray:
    return np.maximum(np.searchsorted(first, records["a"], side="right") - 1, 0).astype(np.int64)


def _counts(window: Records, segment: int, first: IntArray) -> FloatArray:
    own = window[window["segment"] == np.uint64(segment)]
    return np.asarray(np.bincount(_bin(own, first), own["n"], max(len(first), 1)), np.float64)


def _losses(records: Records) -> tuple[FloatArray, FloatArray]:
    """Σ |residual| and Σ residual² of each record, kept so small that the square of the latter is finite."""
    with np.errstate(over="ignore"):
        _, absolute, squared = number_sums(records)
    return np.minimum(absolute, _MOST_SQUARED**0.5), np.minimum(squared, _MOST_SQUARED)


def _sums(
    records: Records, part: IntArray, parts: int, first: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows ``[parts, 1, bins]``, and sums of the losses and of their squares, ``[parts, 2, bins]``."""
    bins = max(len(first), 1)
    place = part * bins + _bin(records, first)
    absolute, squared = _losses(records)
    # Residuals of one record are within a sixteenth of an octave of each other.
    fourth = squared**2 / np.maximum(records["n"], 1)
    n, first_sum, second_sum, fourth_sum = (
        np.asarray(np.bincount(place, x, parts * bins), np.float64).reshape(parts, bins)
        for x in (records["n"], absolute, squared, fourth)
    )
    return n[:, None], np.stack((first_sum, second_sum), 1), np.stack((second_sum, fourth_sum), 1)


def _column_of(segments: HashArray, columns: tuple[tuple[int, ...], ...]) -> IntArray:
    """Column of each segment; -1 for those of none."""
    hashes = np.array([x for column in columns for x in column], np.uint64)
    of = np.array([i for i, column in enumerate(columns) for _ in column], np.int64)
    order = np.argsort(hashes)
    if not len(order):
        return np.full(len(segments), -1)
    at = np.minimum(np.searchsorted(hashes[order], segments), len(order) - 1)
    return np.where(hashes[order][at] == segments, of[order][at], -1)


def _parts(
    records: Records, first: IntArray, whole: Losses, row_variance: FloatArray, whole_rows: FloatArray
) -> dict[int, Losses]:
    """Losses of segments, drawn towards those of everything as far as segments are alike."""
    segments, part = np.unique(records["segment"], return_inverse=True)
    if not len(segments) or not len(first):
        return {}
    n, total, _ = _sums(records, part.astype(np.int64), len(segments), first)
    found = []
    for loss in range(_LOSSES):
        mean, spread, rows = whole.mean[loss], row_variance[loss], n[:, 0]
        kappa = pseudo_rows(rows, total[:, loss], mean, spread)
        share = np.ones_like(rows) if np.isinf(kappa) else kappa / (rows + kappa)
        sums = total[:, loss]
        own = np.zeros_like(rows) if np.isinf(kappa) else spread / (rows + kappa)
        found.append(
            (
                (1 - share) * sums / np.maximum(rows, 1) + share * mean,
                own + share**2 * whole.variance[loss],
                (sums + mean) / (rows + 1),
                spread / (rows + 1),
            )
        )
    mean, variance, raw, raw_variance = (np.stack([parts[i] for parts in found], 1) for i in range(4))
    portion = n[:, 0] / np.maximum(whole_rows, 1)
    return {
        int(segment): Losses(mean[i], variance[i], raw[i], raw_variance[i], portion[i])
        for i, segment in enumerate(segments.tolist())
    }
