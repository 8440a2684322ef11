"""What labels say about the estimates: evidence that scores changed their meaning, and changes taken apart.

An estimate without labels assumes that scores are worth what they were in the reference. Once labels come,
that can be tested; and a change of realised performance is the sum of what the estimate foresaw, because
other inputs came (*covariate*), and the rest, because the same inputs mean something else (*concept*).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import special

from detectors.calibrator import Calibrator, groups, successes
from detectors.conformal import LEVEL
from detectors.estimation import expected, realised
from detectors.expected_loss import ExpectedLoss, estimate_loss, loss_weights, realised_loss
from detectors.outcomes import EVERYTHING, Family, Records
from detectors.tensor import FloatArray, IntArray

SHIFTS = (0.1, 0.2, 0.4, 0.8)
SLOPES = (0.1, 0.3)
STANDARD_ERRORS = 4.0
TOLERANCE = 0.01


class Tilts(NamedTuple):
    """Ways in which scores may change their meaning: c' = σ(shift + (1 + slope)·logit c), with weights.

    Those with a shift alone share .6 of the weight, those with a slope alone .2, those with both .2.
    """

    shift: FloatArray
    slope: FloatArray
    weight: FloatArray


def _tilts() -> Tilts:
    shifts, slopes = ((0.0, *values, *(-x for x in values)) for values in (SHIFTS, SLOPES))
    shift, slope = np.array([pair for pair in product(shifts, slopes) if any(pair)]).T
    kinds = [(slope == 0, 0.6), (shift == 0, 0.2), ((shift != 0) & (slope != 0), 0.2)]
    weight = sum(np.where(chosen, share / chosen.sum(), 0.0) for chosen, share in kinds)
    return Tilts(shift, slope, np.asarray(weight))


TILTS = _tilts()


def calibration_evidence(
    calibrator: Calibrator,
    records: Records,
    *,
    segment: int = EVERYTHING,
    tolerance: float = TOLERANCE,
    dispersion: float = 1.0,
) -> FloatArray:
    """Logarithms of e-values against "scores are worth what they were", one for each of `TILTS`.

    Parameters
    ----------
    calibrator : Calibrator
    records : records
        Labels of one window; `Family.LABELLED` is used. Each label counts once over all windows.
    segment : int
    tolerance : float
        How far P(success) may be off in every cell, 0 to 1, without being worth anybody's time.
    dispersion : float
        D ≥ 1: how much more than binomial successes vary; above 1 the result is an approximation.

    Returns
    -------
    FloatArray
        ``[44]``; 0 without labels. A `detectors.ledger.Ledger` of mass ``[1, 44, N]`` takes them as
        ``[1, 44, N]`` with `TILTS.weight` in each column as weights.

    Notes
    -----
    With c the reference's P(success) in a cell and c' the tilted one, r₁ = c'/c and r₀ = (1 − c')/(1 − c), a
    row contributes r₁ or r₀. Let p be the truth and d = p − c = t + e: what is tolerated, |t| ≤ τ, and the
    error e of the estimate c. One row has the mean 1 + d·Δ, Δ = r₁ − r₀. Since ln is concave,

        ln(1 + (t + e)·Δ) ≤ ln(1 + τ·|Δ|) + e·Δ/(1 + τ·|Δ|)  for the worst t,

    so that the window's product has a mean of at most exp(Σ n·ln(1 + τ|Δ|) + S), S = Σ n·e·Δ/(1 + τ|Δ|).
    S is a sum over the *reference's* errors. Cells of a block of the isotonic curve share one error, hence
    Var(S) = Σ_B (Σ_{cells of B} n·Δ/(1 + τ|Δ|))²·V_B. The e-value is divided by exp of the first sum and of
    four standard deviations of S: as long as the reference is not off by more than four of its standard
    errors in the direction of the tilt, the mean is at most 1 in every window, for the same reference again
    and again. V_B = c(1 − c)/m + (4/2m)², as in Wilson's interval, for blocks with few successes or failures.

    References
    ----------
    .. [1] E. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    .. [2] S. Arnold, A. Henzi, J. Ziegel, "Sequentially valid tests for forecast calibration", Annals of
       Applied Statistics 17 (2023).
    """
    known = records[(records["family"] == Family.LABELLED) & (records["segment"] == np.uint64(segment))]
    n = known["n"].astype(np.float64)
    good = n * successes(known, calibrator.positive)
    whole = np.full(len(known), segment, np.uint64).view(np.int64)
    p, block, _ = calibrator.look_up(whole, groups(known, calibrator.positive), known["cell"] + np.int64(1))
    logit = special.logit(p)
    tilted = TILTS.shift[:, None] + (1 + TILTS.slope[:, None]) * logit
    log_success = special.log_expit(tilted) - special.log_expit(logit)
    log_failure = special.log_expit(-tilted) - special.log_expit(-logit)
    gap = np.exp(log_success) - np.exp(log_failure)
    allowed = np.log1p(tolerance * np.abs(gap))
    gain = (good * log_success + (n - good) * log_failure - n * allowed).sum(axis=1)
    doubt = _doubt(n * gap * np.exp(-allowed), block, p, calibrator.blocks[1].variance)
    return np.asarray((gain - STANDARD_ERRORS * np.sqrt(dispersion) * doubt) / dispersion)


def _doubt(carried: FloatArray, block: IntArray, p: FloatArray, variance: FloatArray) -> FloatArray:
    """Standard deviation of Σ carried·error for each tilt, where cells of a block share their error."""
    blocks, first, at = np.unique(block, return_index=True, return_inverse=True)
    binomial = p[first] * (1 - p[first])
    inverse_rows = variance[blocks] / binomial
    wide = variance[blocks] + (STANDARD_ERRORS / 2 * inverse_rows) ** 2
    by_block = np.zeros((len(blocks), len(carried)))
    np.add.at(by_block, at, carried.T)
    return np.asarray(np.sqrt((by_block.T**2 * wide).sum(axis=1)))


@dataclass(frozen=True)
class Interval:
    """A difference with the limits of its interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, variance: float, level: float) -> Interval:
        """Make a normal interval."""
        half = float(special.ndtri((1 + level) / 2)) * variance**0.5
        return cls(value, value - half, value + half)


@dataclass(frozen=True)
class Change:
    """A change of realised performance since the reference, taken apart; covariate + concept = total.

    Parameters
    ----------
    total, covariate, concept : Interval
        Realised now − then; what comes with other inputs; what comes with another meaning of them.
    """

    total: Interval
    covariate: Interval
    concept: Interval


def split_change(
    calibrator: Calibrator,
    reference: Records,
    window: Records,
    metric: str,
    *,
    segment: int = EVERYTHING,
    with_columns: bool = False,
    level: float = LEVEL,
) -> Change | None:
    """Take the change of a metric of classes apart.

    Parameters
    ----------
    calibrator : Calibrator
        Fitted to `reference`.
    reference, window : records
        `Family.LABELLED` is used: of the window only predictions whose labels are known count.
    metric : str
        One of the calibrator's metrics.
    segment : int
    with_columns : bool
        Estimate by the calibrator's columns beside the scores; see `detectors.estimation.estimate`.
    level : float

    Returns
    -------
    Change or None
        None where the metric is not defined on one of the sides.

    Notes
    -----
    covariate = estimate(window) − estimate(reference), which share the calibrator and its errors: its
    variance is Σ_B (g_window,B − g_reference,B)²·V_B, and that of the columns' terms of the window. concept
    = (realised − estimate)(window) − (realised − estimate)(reference); the last term has no sampling error
    of its own, because the calibrator is made of those very labels. So its variance is that of realised −
    estimated in the window.
    """
    now, then = (
        expected(calibrator, records, segment, Family.LABELLED, with_columns=with_columns)
        for records in (window, reference)
    )
    function = calibrator.metrics[metric]
    guess_now, guess_then = function(now.rows, now.y), function(then.rows, then.y)
    true_now, true_then = (
        realised(records, calibrator.positive, segment=segment)[metric] for records in (window, reference)
    )
    if guess_now is None or guess_then is None or true_now is None or true_then is None:
        return None
    shared = now.carried(guess_now.gradient) - then.carried(guess_then.gradient)
    labels = now.label_variance(guess_now.gradient) + then.label_variance(guess_then.gradient)
    total, covariate = true_now - true_then, guess_now.value - guess_then.value
    return Change(
        Interval.of(total, labels, level),
        Interval.of(
            covariate,
            float((shared**2 * now.curve.variance).sum()) + now.of_columns(guess_now.gradient),
            level,
        ),
        Interval.of(total - covariate, now.variance(guess_now.gradient), level),
    )


def split_loss_change(
    model: ExpectedLoss,
    reference: Records,
    window: Records,
    metric: str,
    *,
    segment: int = EVERYTHING,
    with_columns: bool = False,
    level: float = LEVEL,
) -> Change | None:
    """Take the change of ``mae`` or ``rmse`` apart; see `split_change`."""
    guesses, plain = (
        [
            estimate_loss(model, x, segment=segment, family=Family.RESIDUAL, with_columns=by)[metric]
            for x in (window, reference)
        ]
        for by in (with_columns, False)
    )
    truths = [realised_loss(x, segment=segment)[metric] for x in (window, reference)]
    (now, then), (true_now, true_then) = guesses, truths
    if now is None or then is None or true_now is None or true_then is None:
        return None
    weight_now, weight_then = (loss_weights(model, x, segment) for x in (window, reference))
    loss, slopes = int(metric == "rmse"), [_slope(metric, one.value) for one in (now, then)]
    shared = weight_now * slopes[0] - weight_then * slopes[1]
    covariate, total = now.value - then.value, true_now - true_then
    of_labels = [
        slope**2 * (weight**2 * model.row_variance[loss] / np.maximum(weight * one.n, 1e-300)).sum()
        for slope, weight, one in zip(slopes, (weight_now, weight_then), (now, then), strict=True)
    ]
    of_shared = (shared**2 * model.losses(segment).variance[loss]).sum()
    of_columns = 0.0 if plain[0] is None else max(now.variance - plain[0].variance, 0.0)
    return Change(
        Interval.of(total, float(sum(of_labels)), level),
        Interval.of(covariate, float(of_shared) + of_columns, level),
        Interval.of(total - covariate, now.variance, level),
    )


def _slope(metric: str, value: float) -> float:
    """Derivative of a metric by the mean loss that it is made of."""
    if metric == "mae":
        return 1.0
    return 1 / (2 * value) if value > 0 else 0.0
