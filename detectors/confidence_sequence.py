"""Intervals that hold at all times at once, so that one may look after every window and stop when it suits.

A confidence *sequence* at level 1 − α leaves out the truth at any time with probability at most α in all; an
ordinary interval does so at each look.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, log, sqrt

from scipy import optimize, special

_FEWEST = 1e-12


def tuned(variance: float, alpha: float) -> float:
    """Mixing parameter ρ with which `gamma_boundary` and `normal_boundary` are about narrowest.

    Parameters
    ----------
    variance : float
        Sum of variances at which the boundary should be narrow; elsewhere it is a little wider.
    alpha : float

    References
    ----------
    .. [1] S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic
       confidence sequences", Annals of Statistics 49 (2021), section 3.5.
    """
    doubled = -2 * log(alpha)
    return variance / (doubled + log(1 + doubled))


def gamma_boundary(variance: float, scale: float, rho: float, alpha: float) -> float:
    """Bound on a sum of bounded deviations at all times: the gamma-exponential mixture.

    Parameters
    ----------
    variance : float
        V = Σ (x − x̂)², where each x̂ was predicted from what came before.
    scale : float
        Difference of the largest and the smallest value that an x can have.
    rho : float
        From `tuned`.
    alpha : float
        Probability with which Σ (x − mean of x given the past) ever exceeds the bound, at most.

    Notes
    -----
    For x within an interval of length c, exp(λS − ψ(λ)·V) with ψ(λ) = (−ln(1 − cλ) − cλ)/c² is a
    supermartingale for every λ in [0, 1/c) (empirical Bernstein). Mixing over λ keeps it one:

        m(S, V) = r^r/(Γ(r)·P(r, r)) · Γ(k)·P(k, z)/z^k · exp(z − r)
        r = ρ/c²,  k = (V + ρ)/c²,  z = (cS + V + ρ)/c²

    with P the regularised lower incomplete gamma function. By Ville's inequality m ever reaches 1/α with
    probability α at most; the bound is the S where it does.

    References
    ----------
    .. [1] S. Howard et al. (2021), proposition 9 and theorem 4.

    Examples
    --------
    >>> round(gamma_boundary(500.0, 2.0, tuned(500.0, 0.025), 0.025), 1)
    74.3
    """

    def excess(s: float) -> float:
        return _log_gamma_mixture(s, variance, scale, rho) + log(alpha)

    return _root(excess, sqrt(variance) + scale)


def _log_gamma_mixture(s: float, variance: float, scale: float, rho: float) -> float:
    r, k = rho / scale**2, (variance + rho) / scale**2
    z = k + s / scale
    start = r * log(r) - float(special.gammaln(r)) - log(float(special.gammainc(r, r)))
    now = float(special.gammaln(k)) + log(max(float(special.gammainc(k, z)), 1e-300)) - k * log(z)
    return start + now + z - r


def _root(excess: Callable[[float], float], step: float) -> float:
    """Where an increasing function that starts below 0 becomes 0."""
    high = step
    while excess(high) < 0:
        high *= 2
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-9 * high))


def normal_boundary(variance: float, rho: float, alpha: float) -> float:
    """Two-sided bound on a sum of deviations at all times, if sums are about normal.

    Notes
    -----
    √((V + ρ)·ln((V + ρ)/(ρ·α²))): the normal mixture. With V estimated it makes an *asymptotic* confidence
    sequence, which needs many observations but no limits for them.

    References
    ----------
    .. [1] I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy, A. Ramdas, "Time-uniform central limit theory and
       asymptotic confidence sequences", Annals of Statistics 52 (2024), theorem 2.2.

    Examples
    --------
    >>> round(normal_boundary(500.0, tuned(500.0, 0.05), 0.05), 1)
    67.9
    """
    return sqrt((variance + rho) * log((variance + rho) / (rho * alpha**2)))


def proportion(successes: float, n: float, alpha: float) -> tuple[float, float]:
    """Confidence sequence of a proportion from independent trials: the beta-binomial mixture.

    Notes
    -----
    M(p) = ∫ q^k(1 − q)^(n − k) dBeta(½, ½)(q) / (p^k(1 − p)^(n − k)) is a martingale if p is the truth; the
    interval holds the p with M(p) < 1/α.

    References
    ----------
    .. [1] H. Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
       Mathematical Statistics 41 (1970).

    Examples
    --------
    >>> low, high = proportion(60, 100, alpha=0.05)
    >>> round(low, 3), round(high, 3)
    (0.434, 0.751)
    """
    if n <= 0:
        return 0.0, 1.0
    rest, share = n - successes, successes / n
    mixed = float(special.betaln(successes + 0.5, rest + 0.5) - special.betaln(0.5, 0.5)) + log(alpha)

    def excess(p: float) -> float:
        return float(mixed - special.xlogy(successes, p) - special.xlog1py(rest, -p))

    low = optimize.brentq(excess, _FEWEST, share) if excess(_FEWEST) > 0 and share > _FEWEST else 0.0
    most = 1 - _FEWEST
    high = optimize.brentq(excess, share, most) if excess(most) > 0 and share < most else 1.0
    return float(low), float(high)


def rows_until(width: Callable[[float], float], n: float, difference: float) -> float:
    """How many rows there must be until a half width, given as a function of rows, is below a difference.

    Examples
    --------
    >>> round(rows_until(lambda rows: 2 / rows**0.5, 100.0, 0.1))
    400
    """
    if difference <= 0 or n <= 0:
        return inf
    high = max(n, 1.0)
    while width(high) >= difference:
        high *= 2
        if high > exp(60):
            return inf
    if high == n:
        return n
    return float(optimize.brentq(lambda rows: width(rows) - difference, high / 2, high, xtol=0.5))
