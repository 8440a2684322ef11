"""How far a window is from its reference: every effect size of every stream in one pass of array arithmetic.

Symbols: ``x`` counts of a window on the K bins of a column, ``n = Σx``; ``R``, ``m = ΣR`` the reference's;
``p = R/m`` and ``q = x/n`` the shares. `docs/effects.md` says what each number means and when it misleads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isnan

import numpy as np
from scipy import special

from detectors.stability import effective_rows, stability_index
from detectors.tensor import FloatArray, IntArray, TensorLayout
from schemas.errors import UsageError
from schemas.verdict import Effects


@dataclass(frozen=True)
class EffectArrays:
    """Effect sizes of many streams; each field but the last three has the shape ``[..., C]`` of the streams.

    Parameters
    ----------
    psi, psi_debiased, psi_low, psi_high : FloatArray
        Population stability index, without the part that chance alone would give, and the limits of its
        interval.
    js, hellinger, total_variation, linf : FloatArray
        Jensen–Shannon distance (base 2), Hellinger distance, total variation, largest difference of a share;
        all 0 to 1.
    chi2, g, cramers_v : FloatArray
        Pearson's χ² and the likelihood ratio G of the two-row table, and Cramér's V (0 to 1).
    ks : FloatArray
        Largest difference of the distribution functions; nan where nothing is on a numeric axis.
    wasserstein, wasserstein_error : FloatArray
        Mean distance rows moved and how far binning can have it wrong, in reference standard deviations; nan
        as above, or where the reference's standard deviation is 0 or unknown.
    n, m : IntArray
        Rows of the window and of the reference.
    share, reference_share : FloatArray
        ``[..., C, K]``: q and p; all 0 where there are no rows.
    psi_terms : FloatArray
        ``[..., C, K]``: what each bin adds to `psi`; at least 0 and sums to it.
    """

    psi: FloatArray
    psi_debiased: FloatArray
    psi_low: FloatArray
    psi_high: FloatArray
    js: FloatArray
    hellinger: FloatArray
    total_variation: FloatArray
    linf: FloatArray
    chi2: FloatArray
    g: FloatArray
    cramers_v: FloatArray
    ks: FloatArray
    wasserstein: FloatArray
    wasserstein_error: FloatArray
    n: IntArray
    m: IntArray
    share: FloatArray
    reference_share: FloatArray
    psi_terms: FloatArray

    def streams(self) -> list[Effects]:
        """Effects of all streams, in row-major order of their shape."""
        columns = [getattr(self, name).ravel().tolist() for name in _SCALARS]
        return [_effects(*values) for values in zip(*columns, strict=True)]

    def stream(self, *index: int) -> Effects:
        """Effects of one stream.

        Parameters
        ----------
        *index : int
            One index for each dimension of the streams, for example segment and column.

        Raises
        ------
        IndexError
            If there is no such stream.
        """
        return _effects(*(getattr(self, name)[index].item() for name in _SCALARS))


_SCALARS = [field.name for field in fields(Effects)]


def compare(
    reference: IntArray,
    window: IntArray,
    layout: TensorLayout,
    sd: FloatArray,
    *,
    level: float = 0.9,
    dispersion: FloatArray | float = 1.0,
) -> EffectArrays:
    """Compute the effect sizes of windows against a reference.

    Parameters
    ----------
    reference, window : IntArray
        ``[..., C, K]`` counts; leading dimensions are broadcast against each other.
    layout : TensorLayout
        The C columns and their bins. Padding bins must hold 0.
    sd : FloatArray
        ``[C]``: standard deviation of the reference in the column's unit; nan for nominal columns.
    level : float
        Coverage of the interval of the PSI, between 0 and 1.
    dispersion : FloatArray or float
        D ≥ 1, broadcast against ``[..., C]``: how much more than multinomial the counts vary.

    Returns
    -------
    EffectArrays
        Where n = 0 or m = 0 every effect is 0 and the interval of the PSI is 0 to infinity: nothing is known.

    Raises
    ------
    UsageError
        If `level` is out of range.

    Notes
    -----
    PSI = Σ (q̂ − p̂) ln(q̂/p̂), with ½ added to every count so that an empty bin stays finite; see
    `detectors.stability` for it and its interval. All other effects use p and q themselves:

    - JS = √(½ Σ p log₂(2p/(p+q)) + ½ Σ q log₂(2q/(p+q)))
    - Hellinger = √(½ Σ (√p − √q)²); total variation = ½ Σ |p − q|; L∞ = max |p − q|
    - χ² = nm/(n+m) · Σ (p − q)²/((x+R)/(n+m)); G = 2 Σ observed·ln(observed/expected); V = √(χ²/(n+m))
    - KS = max |F_p − F_q| and Wasserstein = Σ |F_p − F_q|·(distance to the next position)/sd, on the ordered
      bins. Rows may lie anywhere in their bin, hence the error of at most Σ max(p, q)·width/sd.

    References
    ----------
    .. [1] J. Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Information Theory 37
       (1991).
    .. [2] M. Kendall, A. Stuart, "The advanced theory of statistics", vol. 2, chapter 33 (χ², G, Cramér's V).

    Examples
    --------
    >>> from schemas.verdict import Lane
    >>> none, bins = np.zeros((1, 3), dtype=bool), np.ones((1, 3), dtype=bool)
    >>> unknown = np.full((1, 3), np.nan)
    >>> layout = TensorLayout(
    ...     columns=("carrier",), lanes=(Lane.FEATURES,), labels=(("UA", "DL", "B6"),),
    ...     valid=bins, ordered=none, positions=unknown, widths=unknown)
    >>> effects = compare(np.array([[500, 300, 200]]), np.array([[60, 20, 20]]), layout, np.array([np.nan]))
    >>> one = effects.stream(0)
    >>> round(one.psi, 4), round(one.psi_debiased, 4), round(one.total_variation, 4), one.ks
    (0.0558, 0.0338, 0.1, None)
    """
    if not 0 < level < 1:
        msg = f"level: {level} (a number between 0 and 1 is allowed)"
        raise UsageError(msg)
    x, r = np.broadcast_arrays(window.astype(np.float64), reference.astype(np.float64))
    n, m = x.sum(axis=-1), r.sum(axis=-1)
    q, p = x / np.maximum(n, 1)[..., None], r / np.maximum(m, 1)[..., None]
    known = (n > 0) & (m > 0)
    index = stability_index(reference, window, layout, level, dispersion)
    chi2, g = _chi2(q, p, x + r, effective_rows(n, m)) * known, _likelihood_ratio(x, r, n, m)
    ks, wasserstein, error = _on_the_axis(q, p, layout, sd)
    return EffectArrays(
        psi=index.psi,
        psi_debiased=index.debiased,
        psi_low=index.low,
        psi_high=index.high,
        js=_jensen_shannon(q, p) * known,
        hellinger=np.sqrt(np.sum((np.sqrt(q) - np.sqrt(p)) ** 2, axis=-1) / 2) * known,
        total_variation=np.abs(q - p).sum(axis=-1) / 2 * known,
        linf=np.abs(q - p).max(axis=-1) * known,
        chi2=chi2,
        g=g,
        cramers_v=np.sqrt(chi2 / np.maximum(n + m, 1)),
        ks=ks,
        wasserstein=wasserstein,
        wasserstein_error=error,
        n=n.astype(np.int64),
        m=m.astype(np.int64),
        share=q,
        reference_share=p,
        psi_terms=index.terms,
    )


def _effects(*values: float) -> Effects:
    *plain, ks, wasserstein, error = values
    return Effects(*plain, *(None if isnan(value) else value for value in (ks, wasserstein, error)))


def _jensen_shannon(q: FloatArray, p: FloatArray) -> FloatArray:
    middle = (p + q) / 2
    divergence = (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum(axis=-1) / (2 * np.log(2))
    return np.asarray(np.sqrt(np.maximum(divergence, 0)))


def _chi2(q: FloatArray, p: FloatArray, both: FloatArray, rows: FloatArray) -> FloatArray:
    """Pearson's χ² of the 2 × K table without its empty columns; `both` are its column sums."""
    pooled = both / np.maximum(both.sum(axis=-1), 1)[..., None]
    return np.asarray(rows * ((q - p) ** 2 / np.where(pooled > 0, pooled, 1)).sum(axis=-1))


def _likelihood_ratio(x: FloatArray, r: FloatArray, n: FloatArray, m: FloatArray) -> FloatArray:
    """Likelihood ratio G of the 2 × K table."""
    pooled = (x + r) / np.maximum(n + m, 1)[..., None]
    surprise = special.kl_div(x, pooled * n[..., None]) + special.kl_div(r, pooled * m[..., None])
    return np.asarray(2 * surprise.sum(axis=-1))


def _on_the_axis(
    q: FloatArray, p: FloatArray, layout: TensorLayout, sd: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """KS, Wasserstein and its error on the ordered bins, whose shares are made to sum to 1."""
    q, p = q * layout.ordered, p * layout.ordered
    on_axis = (q.sum(axis=-1) > 0) & (p.sum(axis=-1) > 0)
    q = q / np.where(on_axis, q.sum(axis=-1), 1)[..., None]
    p = p / np.where(on_axis, p.sum(axis=-1), 1)[..., None]
    apart = np.abs(np.cumsum(q - p, axis=-1))
    widths = np.where(layout.ordered, layout.widths, 0)
    unit = np.where(on_axis & (sd > 0), sd, np.nan)
    ks = np.where(on_axis, apart.max(axis=-1), np.nan)
    wasserstein = (apart * _gaps(layout)).sum(axis=-1) / unit
    error = (np.maximum(q, p) * widths).sum(axis=-1) / unit
    return ks, wasserstein, error


def _gaps(layout: TensorLayout) -> FloatArray:
    """Distance ``[C, K]`` from each ordered bin's position to the next one's; 0 for the last and others."""
    positions = np.where(layout.ordered, layout.positions, np.inf)
    following = np.minimum.accumulate(positions[:, ::-1], axis=1)[:, ::-1][:, 1:]
    following = np.column_stack([following, np.full(len(positions), np.inf)])
    inner = layout.ordered & np.isfinite(following)
    return np.where(inner, following, 0) - np.where(inner, layout.positions, 0)
