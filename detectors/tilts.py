"""Tilted multinomials: for every way a column can change, an e-value against "within ε of the reference".

Symbols as in STATISTICS §2: ``x`` counts of a window on K bins, ``n = Σx``; ``p`` the shares of the
reference. A *direction* h is a function of the bin with mean 0 and variance 1 under p: location, scale and
skew of the ordered bins, and the indicator of each bin. Each direction is tried to both sides and at six
strengths θ: q ∝ p·exp(min(±θh, ln 50)). The directions of a column are its 3 + K, its tilts 12 times as many.

Streams come last in every array here, so that each step of the arithmetic runs along them. Sums over bins
then add one bin after the other: as long as there are two streams or more, a stream's numbers do not depend
on which others it is computed with.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from detectors.tensor import BoolArray, FloatArray

# A change that exceeds the tolerance by less than half the weakest is never found. Each is twice the one
# before: powers are squares.
STRENGTHS = 0.025 * 2.0 ** np.arange(6)
SIDES = 2
TILTS = SIDES * len(STRENGTHS)
AXIS = 3  # location, scale, skew
AXIS_WEIGHTS = np.array([0.4, 0.2, 0.1])
_CAP = 50.0
_LOG_CAP = float(np.log(_CAP))
_LEAST_NORM = 1e-9
_FARTHEST = 300.0  # in logarithms: e^300 has a reciprocal, and what is capped at 50 long before is exact


def smoothed(counts: FloatArray, valid: BoolArray) -> FloatArray:
    """Shares ``(R + ½)/(m + K/2)`` of counts ``[..., K]``; 0 in padding."""
    half = np.where(valid, 0.5, 0.0)
    return np.asarray((counts + half) / (counts + half).sum(axis=-1, keepdims=True))


def axis_directions(p: FloatArray, ordered: BoolArray) -> FloatArray:
    """Location, scale and skew.

    Parameters
    ----------
    p : FloatArray
        ``[K, N]`` shares that sum to 1 over the bins.
    ordered : BoolArray
        ``[K, N]``: bins on the numeric axis, in order.

    Returns
    -------
    FloatArray
        ``[3, K, N]``, orthonormal under p; 0 on other bins. A direction that the bins are too few for is 0.

    Notes
    -----
    Gram–Schmidt of z, z², z³ with z = Φ⁻¹(mid-rank of the bin among the ordered bins).
    """
    inside = p * ordered
    total = inside.sum(axis=0)
    total[total == 0] = 1.0
    ranks = (np.cumsum(inside, axis=0) - inside / 2) / total
    z = special.ndtri(np.clip(ranks, 1e-12, 1 - 1e-12)) * ordered
    known = [ordered / np.sqrt(total)]
    found = np.zeros((AXIS, *p.shape))
    power = np.ones_like(p)
    for h in found:
        power *= z
        h[:] = power
        for _ in range(2):  # the second pass takes away what rounding left of the first
            for other in known:
                h -= (inside * h * other).sum(axis=0) * other
        norm = np.sqrt((inside * h * h).sum(axis=0))
        h *= np.where(norm > _LEAST_NORM, 1 / np.maximum(norm, _LEAST_NORM), 0.0)
        known.append(h)
    return found


def tilt_weights(valid: BoolArray, axis: FloatArray) -> FloatArray:
    """Weight of each direction's single tilt, ``[3 + K, N]``; the weights of all tilts of a stream sum to 1.

    Location, scale and skew weigh .4, .2 and .1 where they exist; the bins share the rest.
    """
    on_axis = (axis != 0).any(axis=1) * AXIS_WEIGHTS[:, None]
    bins = valid / valid.sum(axis=0) * (1 - on_axis.sum(axis=0))
    return np.concatenate([on_axis, bins]) / TILTS


def projections(x: FloatArray, p: FloatArray, axis: FloatArray) -> FloatArray:
    """Mean of each direction in windows, ``Σ x·h/n``: ``[3 + K, N]`` for counts ``[K, N]``; 0 where n = 0."""
    n = x.sum(axis=0)
    share = x / np.maximum(n, 1.0)
    spread = np.sqrt(p * (1 - p))
    single = (share - p) / np.where(spread > 0, spread, 1.0) * ((spread > 0) & (n > 0))
    return np.concatenate([(axis * share).sum(axis=1), single])


def log_evalues(
    x: FloatArray, p: FloatArray, axis: FloatArray, epsilon: FloatArray, dispersion: FloatArray
) -> FloatArray:
    """Logarithms of the e-values of one window.

    Parameters
    ----------
    x, p : FloatArray
        ``[K, N]``: counts of the window; shares of the reference; both 0 in padding.
    axis : FloatArray
        ``[3, K, N]`` from `axis_directions`.
    epsilon : FloatArray
        ``[3 + K, N]``: radius ε of the neighbourhood that is tolerated, for each direction.
    dispersion : FloatArray
        ``[3 + K, N]``: D ≥ 1, how much more than multinomial the counts vary.

    Returns
    -------
    FloatArray
        ``[12, 3 + K, N]``: ``(x·t − n·ln(μ + ε·sd))/D`` with t = min(±θh, ln 50), and μ and sd the mean and
        the standard deviation of e^t under p; 0 for padding. The first six of an axis direction are towards
        larger h, the others towards smaller h; the first six of a bin are towards more rows in the bin or
        outside it, whichever is rarer in p.

    Notes
    -----
    For every p' with Σ(p' − p)²/p ≤ ε², the Cauchy–Schwarz inequality gives E_{p'}[e^t] ≤ μ + ε·sd: at D = 1
    each is an e-value of the composite hypothesis "within ε of p". With ln(q/p) = t − ln μ in place of t the
    same comes out, so that q is not made to sum to 1 here.
    """
    found = np.empty((TILTS, AXIS + x.shape[0], x.shape[1]))
    n = x.sum(axis=0)
    _of_axis(found[:, :AXIS], x, n, p, axis, epsilon[:AXIS])
    _of_bins(found[:, AXIS:], x, n, p, epsilon[AXIS:])
    found /= dispersion
    return found


def _of_axis(
    out: FloatArray, x: FloatArray, n: FloatArray, p: FloatArray, axis: FloatArray, epsilon: FloatArray
) -> None:
    """``Σ x·t − n·ln(Σ p·e^t + ε·sqrt(Σ p·e^2t − (Σ p·e^t)²))`` with t = min(±θh, ln 50)."""
    base = np.exp(np.clip(STRENGTHS[0] * axis, -_FARTHEST, _FARTHEST))
    mean = (x * axis).sum(axis=1)
    half = len(STRENGTHS)
    for rows, sign, value in ((out[:half], 1.0, base), (out[half:], -1.0, 1 / base)):
        reach = float((sign * axis).max(initial=0.0))
        np.minimum(value, _CAP, out=value)
        weighted = np.empty_like(value)
        for strength, row in zip(STRENGTHS.tolist(), rows, strict=True):
            np.multiply(value, p, out=weighted)
            first = weighted.sum(axis=1)
            weighted *= value
            spread = weighted.sum(axis=1)
            np.multiply(value, value, out=value)  # twice the strength
            np.minimum(value, _CAP, out=value)
            spread -= first * first
            first += epsilon * np.sqrt(np.maximum(spread, 0.0))
            np.multiply(mean, sign * strength, out=row)
            if strength * reach > _LOG_CAP:  # adds 0 to streams below the cap
                row += (x * np.minimum(_LOG_CAP - sign * strength * axis, 0.0)).sum(axis=1)
            row -= n * np.log(first)
    out[:, ~axis.any(axis=1)] = 0.0  # and not what rounding makes of the square root of 0


def _of_bins(out: FloatArray, x: FloatArray, n: FloatArray, p: FloatArray, epsilon: FloatArray) -> None:
    """Do the same for the bins' indicators, that take two values only.

    With d the difference of t on the bin and elsewhere, t itself cancels: x·d − n·ln(1 + (e^d − 1)(p ± ε·s)),
    s² = p(1 − p). A bin with more than half of all rows is exchanged for the rest, whose tilts are the same.
    """
    is_most = p > 0.5
    rare, count = np.where(is_most, 1 - p, p), np.where(is_most, n - x, x)
    spread = np.sqrt(rare * (1 - rare))
    off = np.sqrt(rare / (1 - rare))
    on = np.where(rare > 0, 1 / np.where(off > 0, off, 1.0), 0.0)
    reach = epsilon * spread
    above, below = rare + reach, rare - reach
    half = len(STRENGTHS)
    work = np.empty_like(p)
    for i, strength in enumerate(STRENGTHS.tolist()):
        more = np.minimum(strength * on, _LOG_CAP) + strength * off
        for row, d, edge in ((out[i], more, above), (out[half + i], -strength * (on + off), below)):
            np.exp(d, out=work)
            work -= 1.0
            work *= edge
            work += 1.0
            np.log(work, out=work)
            work *= n
            np.multiply(count, d, out=row)
            row -= work
