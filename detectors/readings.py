"""One number of each window and stream, for detectors that watch a series of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy import stats

from detectors.effects import EffectArrays
from detectors.tensor import FloatArray, IntArray, ReferenceCounts
from schemas.verdict import Lane

RIGHT, WRONG = "right", "wrong"
_LIMIT = 0.95


class Reading(NamedTuple):
    """Numbers of one window.

    Parameters
    ----------
    values : FloatArray
        ``[S, C]``; nan where a stream has none.
    needed : list of str
        For each column, what it would need to be watched; ``""`` if it is.
    """

    values: FloatArray
    needed: list[str]


Reader: TypeAlias = Callable[[ReferenceCounts, IntArray, EffectArrays], Reading]


def window_means(reference: ReferenceCounts, window: IntArray, effects: EffectArrays) -> Reading:
    """How far the mean of each stream lies from the reference's.

    Parameters
    ----------
    reference, window
        See `detectors.base.Detector.judge`.
    effects : EffectArrays
        Of that window, ``[S, C]``.

    Returns
    -------
    Reading
        On a numeric axis the difference of the means of bin positions, in standard deviations of the
        reference; elsewhere, and where the reference does not vary, the total variation.

    Examples
    --------
    >>> from detectors.effects import compare
    >>> from detectors.planted import planted_reference, planted_windows
    >>> reference, window = planted_reference(seed=1), planted_windows(seed=2, windows=1, shift_sd=0.5)[0]
    >>> effects = compare(reference.counts, window, reference.layout, reference.sd)
    >>> window_means(reference, window, effects).values[0].round(2).tolist()
    [0.48, 0.01]
    """
    layout = reference.layout
    p, q = effects.reference_share * layout.ordered, effects.share * layout.ordered
    positions = np.where(layout.ordered, layout.positions, 0.0)
    apart = _mean(q, positions) - _mean(p, positions)
    has_axis = layout.ordered.any(axis=1) & (reference.sd > 0)
    values = np.where(has_axis, apart / np.where(has_axis, reference.sd, 1.0), effects.total_variation)
    has_rows = (effects.n > 0) & (effects.m > 0)
    return Reading(np.where(has_rows, values, np.nan), [""] * len(layout.columns))


def error_indicators(reference: ReferenceCounts, window: IntArray, effects: EffectArrays) -> Reading:
    """Whether more predictions were wrong than in 95 % of windows of the reference's error rate.

    Parameters
    ----------
    reference, window, effects
        As for `window_means`.

    Returns
    -------
    Reading
        1 where the wrong predictions exceed the 95 % quantile of the binomial distribution with the rows of
        the window and p̂ = (wrong + ½)/(right + wrong + 1) of the reference, else 0. Only columns of the
        performance lane with bins ``right`` and ``wrong`` have values.

    Examples
    --------
    >>> from detectors.effects import compare
    >>> from detectors.planted_outcomes import planted_outcomes, planted_outcome_reference
    >>> reference, window = planted_outcome_reference(seed=1), planted_outcomes(2, 1, wrong_share=0.2)[0]
    >>> effects = compare(reference.counts, window, reference.layout, reference.sd)
    >>> error_indicators(reference, window, effects).values.ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    layout = reference.layout
    values = np.full(window.shape[:2], np.nan)
    needed = ["a performance column"] * len(layout.columns)
    for column, (lane, labels) in enumerate(zip(layout.lanes, layout.labels, strict=True)):
        if lane is not Lane.PERFORMANCE or not {RIGHT, WRONG} <= set(labels):
            continue
        needed[column] = ""
        outcomes = [labels.index(RIGHT), labels.index(WRONG)]
        values[:, column] = _exceeds(window[:, column, outcomes], reference.counts[:, column, outcomes])
    return Reading(values, needed)


def _mean(shares: FloatArray, positions: FloatArray) -> FloatArray:
    """Mean position of ``[..., K]`` shares; nan where all are 0."""
    total = shares.sum(axis=-1)
    has_rows = total > 0
    mean = (shares * positions).sum(axis=-1) / np.where(has_rows, total, 1.0)
    return np.where(has_rows, mean, np.nan)


def _exceeds(window: IntArray, reference: IntArray) -> FloatArray:
    """1, 0 or nan for each segment, from its counts ``[S, 2]`` of right and wrong."""
    rows = window.sum(axis=1)
    has_rows = (rows > 0) & (reference.sum(axis=1) > 0)
    usual = (reference[:, 1] + 0.5) / (reference.sum(axis=1) + 1)
    limit = stats.binom.ppf(_LIMIT, np.maximum(rows, 1), usual)
    return np.where(has_rows, window[:, 1] > limit, np.nan)
