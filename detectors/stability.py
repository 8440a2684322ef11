"""Population stability index (PSI): its terms, the part that is not chance, and an interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from detectors.noncentral import noncentrality
from detectors.tensor import FloatArray, IntArray, TensorLayout


class StabilityIndex(NamedTuple):
    """PSI of many streams: ``[..., C]``, and ``[..., C, K]`` for the terms of the bins."""

    terms: FloatArray
    psi: FloatArray
    debiased: FloatArray
    low: FloatArray
    high: FloatArray


def stability_index(
    reference: IntArray, window: IntArray, layout: TensorLayout, level: float, dispersion: FloatArray | float
) -> StabilityIndex:
    """Compute the PSI with its interval.

    Parameters
    ----------
    reference, window : IntArray
        ``[..., C, K]`` counts R and x; m and n are their sums.
    layout : TensorLayout
        Which bins exist.
    level : float
        Coverage of the interval.
    dispersion : FloatArray or float
        D ≥ 1, broadcast against ``[..., C]``.

    Returns
    -------
    StabilityIndex
        Where n = 0 or m = 0 the index is 0 and its interval 0 to infinity.

    Notes
    -----
    With p̂ = (R + ½)/(m + K/2) and q̂ = (x + ½)/(n + K/2), PSI = Σ (q̂ − p̂) ln(q̂/p̂). For small shifts
    h·PSI with h = 1/(1/n + 1/m)/D is close to a noncentral χ²_{K−1} whose noncentrality is h times the true
    PSI, with variance 4·PSI/h. For large shifts the true variance is larger: by the delta method V =
    Var_q(ln(q/p) + 1 − p/q)/n + Var_p(ln(p/q) + 1 − q/p)/m. There h is replaced by h·f, f = 4·PSI/(h·V) ≤
    1.

    The interval keeps its level up to a PSI of about 1. Far beyond that, when n is so small that likely bins
    of the window were empty in the reference or the other way round, smoothing pulls the index and both
    limits down.

    References
    ----------
    .. [1] B. Yurdakul, "Statistical properties of population stability index", Western Michigan University
       (2018).
    """
    x, r = np.broadcast_arrays(window.astype(np.float64), reference.astype(np.float64))
    n, m = x.sum(axis=-1), r.sum(axis=-1)
    q, p = _smoothed(x, n, layout), _smoothed(r, m, layout)
    known = (n > 0) & (m > 0)
    terms = (q - p) * np.log(q / p) * known[..., None]
    psi = terms.sum(axis=-1)
    rows = effective_rows(n, m)
    inflated = _large_shift_factor(q, p, psi, n, m, rows)
    rows = rows / dispersion
    debiased = np.maximum(psi - _degrees(layout) / rows, 0)
    statistic = np.where(debiased > 0, inflated * rows * debiased + _degrees(layout), rows * psi)
    low = noncentrality(statistic, _degrees(layout), (1 + level) / 2) / (inflated * rows)
    high = noncentrality(statistic, _degrees(layout), (1 - level) / 2) / (inflated * rows)
    return StabilityIndex(terms, psi, debiased * known, low * known, np.where(known, high, np.inf))


def debiased_psi(reference: IntArray, window: IntArray, layout: TensorLayout) -> FloatArray:
    """De-biased PSI alone, for when nothing else is wanted.

    Parameters
    ----------
    reference, window, layout
        As for `stability_index`.

    Returns
    -------
    FloatArray
        ``[..., C]``: max(0, PSI − (K − 1)/h); 0 where n = 0 or m = 0.
    """
    x, r = window.astype(np.float64), reference.astype(np.float64)
    n, m = x.sum(axis=-1), r.sum(axis=-1)
    q, p = _smoothed(x, n, layout), _smoothed(r, m, layout)
    psi = ((q - p) * np.log(q / p)).sum(axis=-1)
    debiased = np.maximum(psi - _degrees(layout) / effective_rows(n, m), 0)
    return np.asarray(debiased * ((n > 0) & (m > 0)))


def effective_rows(n: FloatArray, m: FloatArray) -> FloatArray:
    """Return 1/(1/n + 1/m); 1 where n = 0 or m = 0, where nothing is made of it."""
    return np.where((n > 0) & (m > 0), n * m / np.maximum(n + m, 1), 1)


def _degrees(layout: TensorLayout) -> IntArray:
    return np.asarray(layout.valid.sum(axis=-1) - 1)


def _smoothed(counts: FloatArray, total: FloatArray, layout: TensorLayout) -> FloatArray:
    """Shares with ½ added to each bin; 1 in padding, so that it adds nothing to a logarithm."""
    half = layout.valid / 2
    return np.asarray((counts + half) / (total + half.sum(axis=-1))[..., None] + ~layout.valid)


def _large_shift_factor(
    q: FloatArray, p: FloatArray, psi: FloatArray, n: FloatArray, m: FloatArray, rows: FloatArray
) -> FloatArray:
    """Ratio of the noncentral χ² variance of the PSI to the delta method's, at most 1."""
    log_ratio, ratio = np.log(q / p), q / p
    window_side = log_ratio + 1 - 1 / ratio
    reference_side = 1 - ratio - log_ratio
    variance = _variance(q, window_side) / np.maximum(n, 1) + _variance(p, reference_side) / np.maximum(m, 1)
    is_large = rows * variance > 4 * psi
    return np.clip(
        4 * psi / np.where(is_large, rows * variance, 1), 0.01, 1, where=is_large, out=np.ones_like(psi)
    )


def _variance(weights: FloatArray, values: FloatArray) -> FloatArray:
    """Variance under shares that sum to 1; padding has value 0."""
    weighted = weights * values
    return np.asarray((weighted * values).sum(axis=-1) - weighted.sum(axis=-1) ** 2)
