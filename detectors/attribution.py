"""Where a change of the predictions comes from: decompositions of a difference of means from mergeable sums.

From the `CrossCounts` of a reference and of a window follows how much of the change of the mean prediction ŷ
comes with other rows (*mix*) and how much with other ŷ for the same rows (*rate*), for every column and every
segment.

All of it is association. Columns that go together carry the same change, each as if it were alone; `regress`
shares it out among them. That rows came with a column's values does not say that these caused anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, inf, log10
from typing import NamedTuple

import numpy as np
from scipy import special

from detectors.binning import Binning
from detectors.cross_counts import CrossCounts
from detectors.gram import Gram
from detectors.tensor import FloatArray, IntArray
from schemas.column import Source
from schemas.errors import UsageError

FEWEST_ROWS = 50
_RIDGE = 1e-3
_MOST_OF_IT = 0.9
_Z95 = 1.959963984540054


class Estimate(NamedTuple):
    """A number, its standard error, and the limits of its 95 % interval."""

    value: float
    se: float
    low: float
    high: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


class BinPart(NamedTuple):
    """What one bin adds; see `kitagawa`."""

    label: str
    reference_share: float
    share: float
    reference_mean: float
    mean: float
    mix: float
    rate: float


@dataclass(frozen=True)
class Contribution:
    """What comes with one column (or segment column).

    Parameters
    ----------
    column : str
    mix : Estimate
        Change of the mean ŷ that comes with other shares of the bins.
    rate : Estimate
        Change of the mean ŷ that comes with other ŷ within the bins.
    bins : tuple of BinPart
        Those with rows, by size of their part of the mix; the parts sum to `mix` and `rate`.
    """

    column: str
    mix: Estimate
    rate: Estimate
    bins: tuple[BinPart, ...]


@dataclass(frozen=True)
class Decomposition:
    """A change of the mean ŷ and what comes with each column.

    Parameters
    ----------
    reference_mean, mean : float
        Mean ŷ of the reference and of the window; 0 without rows.
    change : Estimate
        Their difference; 0 within ±∞ where one of them has no rows.
    contributions : tuple of Contribution
        Largest mix first; none where one side has no rows.
    """

    reference_mean: float
    mean: float
    change: Estimate
    contributions: tuple[Contribution, ...]


def kitagawa(reference: CrossCounts, window: CrossCounts, *, group: str = "") -> Decomposition:
    """Split the change of the mean ŷ, for every feature, into that of the mix of rows and that of their ŷ.

    Parameters
    ----------
    reference, window : CrossCounts
        On the same bins.
    group : str
        Rows of one segment value only, for example ``"origin=EWR"``; needs cross-counts by group.

    Raises
    ------
    UsageError
        If there is no such group.
    ProfileError
        If the two are not on the same bins.

    Notes
    -----
    With the shares p_b and q_b of the bins of a column in the reference and in the window, and the means μ_b
    and μ'_b of ŷ in them,

    ``mix = Σ (q_b − p_b)·((μ_b + μ'_b)/2 − c)`` and ``rate = Σ (q_b + p_b)/2·(μ'_b − μ_b)``

    sum exactly to Δ = ȳ' − ȳ for every column. The constant c = (ȳ + ȳ')/2 changes no sum, since shares sum
    to 1, but lets each bin's part say whether more or fewer of its rows raise or lower the mean. A bin that
    is empty on one side has no mean there and is given that of the other side, so that all of it is mix.

    Standard errors are those of the delta method, for independent rows, multinomial shares and independent
    means given the shares. The mean of a single row is given the variance of all rows. Rows that come in
    bunches vary more than that.

    References
    ----------
    .. [1] E. Kitagawa, "Components of a difference between two rates", Journal of the American Statistical
       Association 50 (1955).

    Examples
    --------
    >>> from detectors.binning import NumericBins
    >>> from schemas.column import ColumnSpec, Kind
    >>> binning = Binning((ColumnSpec("temp", Kind.NUMERIC),), (NumericBins((57.0, 72.0), 40.0, 80.0),))
    >>> before, after = CrossCounts(binning), CrossCounts(binning)
    >>> bins, was, now = np.array([[0, 1, 2]]), [200, 600, 200], [200, 700, 100]
    >>> before.add(np.repeat(bins, was, axis=1), np.repeat([0.1, 0.2, 0.6], was))
    >>> after.add(np.repeat(bins, now, axis=1), np.repeat([0.1, 0.2, 0.5], now))
    >>> found = kitagawa(before, after)
    >>> temp = found.contributions[0]
    >>> round(found.change.value, 4), round(temp.mix.value, 4), round(temp.rate.value, 4)
    (-0.05, -0.035, -0.015)
    >>> explain(found)
    'most of the fall of the score (-0.035 of -0.050) comes with temp: fewer rows with values >= 72'
    """
    reference.check_same(window)
    names = reference.binning.groups[: len(reference.n)]
    if group not in names:
        msg = (
            f"group: {group!r} (cross-counts of {len(names)} groups have {', '.join(map(repr, names[:5]))} …)"
        )
        raise UsageError(msg)
    at = names.index(group)
    binning = reference.binning
    picked = [i for i, spec in enumerate(binning.columns) if spec.source is Source.FEATURE]
    places = [np.arange(binning.offsets[i], binning.offsets[i + 1]) for i in picked]
    flat = np.concatenate(places) if places else np.zeros(0, np.int64)
    sides = [
        _Side.of(x.n[at, flat], x.sums[at, flat], x.squares[at, flat], _totals(x, at))
        for x in (reference, window)
    ]
    columns = [(binning.columns[i].name, binning.bins[i].labels()) for i in picked]
    return _decompose(sides[0], sides[1], columns)


def kitagawa_segments(reference: CrossCounts, window: CrossCounts) -> Decomposition:
    """Split the change of the mean ŷ in the same way by the values of each segment column.

    Parameters
    ----------
    reference, window : CrossCounts
        On the same bins.

    Raises
    ------
    ProfileError
        If the two are not on the same bins.
    """
    reference.check_same(window)
    sides = [
        _Side.of(x.group_n[1:], x.group_sums[1:], x.group_squares[1:], _totals(x, 0))
        for x in (reference, window)
    ]
    columns = [
        (segment.column, tuple(label.split("=", 1)[1] for label in segment.labels()))
        for segment in reference.binning.segments
    ]
    return _decompose(sides[0], sides[1], columns)


class _Totals(NamedTuple):
    """Rows, mean of ŷ, its variance over rows."""

    rows: int
    mean: float
    variance: float


def _totals(cross: CrossCounts, group: int) -> _Totals:
    n, total, squares = (float(part[group]) for part in cross.parts[3:])
    mean = total / max(n, 1)
    return _Totals(int(n), mean, max(squares - total * mean, 0.0) / max(n - 1, 1))


class _Side(NamedTuple):
    """The bins of the reference or of the window: shares, means and the variance of these."""

    totals: _Totals
    share: FloatArray
    mean: FloatArray
    mean_variance: FloatArray

    @classmethod
    def of(cls, n: IntArray | FloatArray, sums: FloatArray, squares: FloatArray, totals: _Totals) -> _Side:
        mean = sums / np.maximum(n, 1)
        spread = np.maximum(squares - sums * mean, 0.0) / np.maximum(n - 1, 1)
        spread = np.where(n > 1, spread, np.where(n == 1, totals.variance, 0.0))
        return cls(totals, n / max(totals.rows, 1), mean, spread / np.maximum(n, 1))


def _decompose(before: _Side, after: _Side, columns: Sequence[tuple[str, tuple[str, ...]]]) -> Decomposition:
    means = before.totals.mean, after.totals.mean
    if not before.totals.rows or not after.totals.rows:
        return Decomposition(*means, Estimate(0.0, inf, -inf, inf), ())
    change = _estimate(
        means[1] - means[0], sum(side.totals.variance / side.totals.rows for side in (before, after))
    )
    if not columns:
        return Decomposition(*means, change, ())
    starts = np.concatenate(([0], np.cumsum([len(labels) for _, labels in columns])))
    p, q = before.share, after.share
    mean = np.where(p > 0, before.mean, after.mean)
    later = np.where(q > 0, after.mean, before.mean)
    level, moved = (mean + later - sum(means)) / 2, later - mean
    mix, rate = (q - p) * level, (q + p) / 2 * moved
    both = (p > 0) & (q > 0)
    # A mean that stands for both sides carries the weight of both.
    halves = [np.where(both, 0.5, side.share > 0) * (q - p) for side in (before, after)]
    weight = np.where(both, (q + p) / 2, 0.0)
    of_mix = _variance(before, after, level, halves[0], halves[1], starts[:-1])
    of_rate = _variance(before, after, moved / 2, weight, weight, starts[:-1])
    mixes, rates = (np.add.reduceat(part, starts[:-1]) for part in (mix, rate))
    parts = np.stack([p, q, mean, later, mix, rate], axis=1)
    contributions = [
        Contribution(
            name,
            _estimate(mixes[i], of_mix[i]),
            _estimate(rates[i], of_rate[i]),
            _bin_parts(labels, parts[starts[i] : starts[i + 1]]),
        )
        for i, (name, labels) in enumerate(columns)
    ]
    contributions.sort(key=lambda one: -abs(one.mix.value))
    return Decomposition(*means, change, tuple(contributions))


def _variance(
    before: _Side,
    after: _Side,
    slope: FloatArray,
    mean_slope: FloatArray,
    later_slope: FloatArray,
    starts: IntArray,
) -> FloatArray:
    """Delta method for each column: slopes by the shares (the same for both sides), and by the means."""
    of_means = mean_slope**2 * before.mean_variance + later_slope**2 * after.mean_variance
    total = np.add.reduceat(of_means, starts)
    for side in (before, after):
        first, second = (np.add.reduceat(side.share * slope**power, starts) for power in (1, 2))
        total += np.maximum(second - first**2, 0.0) / side.totals.rows
    return np.asarray(total)


def _estimate(value: float, variance: float) -> Estimate:
    value, se = float(value), float(np.sqrt(variance))
    return Estimate(value, se, value - _Z95 * se, value + _Z95 * se)


def _bin_parts(labels: tuple[str, ...], parts: FloatArray) -> tuple[BinPart, ...]:
    order = np.argsort(-np.abs(parts[:, 4]), kind="stable")
    used = [i for i in order.tolist() if parts[i, 0] > 0 or parts[i, 1] > 0]
    return tuple(BinPart(labels[i], *parts[i].tolist()) for i in used)


def explain(found: Decomposition, outcome: str = "score") -> str:
    """Say in one sentence what a change comes with.

    Parameters
    ----------
    found : Decomposition
        Of columns or of segments.
    outcome : str
        What ŷ is called.

    Returns
    -------
    str
        The column with the largest mix in the direction of the change, and the one or two bins that make
        most of it; or that the change is within chance, or comes with no column.
    """
    change = found.change
    if not change.is_beyond_chance:
        if change.se == inf:
            return f"the {outcome} cannot be compared: there are no rows"
        low, high = (_written(x, max(abs(change.low), abs(change.high))) for x in (change.low, change.high))
        return f"the {outcome} has not changed beyond chance (95 % interval {low} to {high})"
    size = abs(change.value)
    sign = 1 if change.value > 0 else -1
    noun, worse = ("rise", "higher") if sign > 0 else ("fall", "lower")
    leading = next(
        (one for one in found.contributions if sign * one.mix.value > 0 and one.mix.is_beyond_chance), None
    )
    whole = _written(change.value, size)
    if leading is None:
        return (
            f"the {noun} of the {outcome} ({whole}) comes with no change of the rows in any one column: "
            f"rows with the same values have {worse} ones than before"
        )
    part = f"({_written(leading.mix.value, size)} of {whole})"
    how_much = _quantity(abs(leading.mix.value) / size)
    return (
        f"{how_much} the {noun} of the {outcome} {part} comes with {leading.column}: {moves(leading, sign)}"
    )


def _quantity(share: float) -> str:
    if share > 1.1:
        return "more than all of"
    if share >= 0.9:
        return "nearly all of"
    return "most of" if share > 0.5 else "part of"


def moves(leading: Contribution, sign: int) -> str:
    """Name the bin that carries most of the mix, and the next if it carries at least half as much."""
    with_it = [part for part in leading.bins if sign * part.mix > 0]
    told = [part for part in with_it[:2] if 2 * abs(part.mix) >= abs(with_it[0].mix)]
    return " and ".join(
        f"{'more' if part.share > part.reference_share else 'fewer'} rows {where(part.label)}"
        for part in told
    )


def where(label: str) -> str:
    """Say of which rows a bin is.

    Examples
    --------
    >>> where("[39, 57)"), where("missing"), where("UA")
    ('in [39, 57)', 'without a value', 'with UA')
    """
    if label in ("missing", "(missing)"):
        return "without a value"
    if label == "invalid":
        return "with an invalid value"
    if label.startswith("["):
        return f"in {label}"
    return f"with values {label}" if label[:2] in ("< ", "= ", ">=") else f"with {label}"


def _written(value: float, size: float) -> str:
    """Two significant digits of `size`."""
    digits = max(0, 1 - floor(log10(size))) if size > 0 else 0
    return f"{value:.{digits}f}"


class ColumnEffect(NamedTuple):
    """Part of a change that a column has beside the other columns.

    Parameters
    ----------
    column : str
    coefficient : float
        Change of ŷ with one unit of the column's normal score in the reference, the others held.
    moved : float
        Change of the mean normal score.
    contribution : float
        Their product.
    """

    column: str
    coefficient: float
    moved: float
    contribution: float


@dataclass(frozen=True)
class Regression:
    """A change of the mean ŷ shared out among numeric columns that go together.

    Parameters
    ----------
    change : float
        Sum of all contributions and the remainder.
    effects : tuple of ColumnEffect
        Largest contribution first.
    remainder : float
        What no column accounts for: categories, missing values, curves, and a changed model.
    """

    change: float
    effects: tuple[ColumnEffect, ...]
    remainder: float


def regress(reference: CrossCounts, window: CrossCounts, gram: Gram, *, ridge: float = _RIDGE) -> Regression:
    """Share out the change of the mean ŷ among columns that go together, by least squares on the reference.

    Parameters
    ----------
    reference, window : CrossCounts
        On the same bins.
    gram : Gram
        Of the reference's rows.
    ridge : float
        Variance, above 0, that is added to each score: columns that always agree get equal parts.

    Raises
    ------
    UsageError
        If `ridge` is not above 0 or the scores of the matrix are not those of the bins.
    ProfileError
        If the two are not on the same bins.

    Notes
    -----
    β = (Cov(z) + ridge·I)⁻¹ Cov(z, ŷ) with the normal scores z. A score depends on the bin alone, so Σ zŷ
    over rows is Σ_b z_b Σŷ over bins: the cross-counts hold the row of ŷ in the Gram matrix. A column's
    contribution is β·(its mean score in the window − in the reference), over the rows with a score.
    """
    reference.check_same(window)
    if not ridge > 0:
        msg = f"ridge: {ridge} (a number above 0 is allowed)"
        raise UsageError(msg)
    scores, bins = gram.scores, int(reference.binning.offsets[-1])
    if len(scores.table) != bins:
        msg = f"gram: scores of {len(scores.table)} bins ({bins} are expected)"
        raise UsageError(msg)
    names = {spec.name: spec.source for spec in reference.binning.columns}
    used = np.array([i for i, name in enumerate(scores.columns) if names[name] is Source.FEATURE], np.int64)
    z = scores.of_bins(reference.binning.offsets)[used]
    mean, with_outcome = _mean_scores(z, reference)
    later, _ = _mean_scores(z, window)
    matrix = gram.covariance[np.ix_(used, used)] + ridge * np.eye(len(used))
    coefficients = np.linalg.solve(matrix, with_outcome) if len(used) else np.zeros(0)
    known = bool(reference.rows and window.rows)
    change = _totals(window, 0).mean - _totals(reference, 0).mean if known else 0.0
    moved = (later - mean) * known
    effects = [
        ColumnEffect(scores.columns[i], *numbers)
        for i, *numbers in zip(
            used.tolist(), coefficients.tolist(), moved.tolist(), (coefficients * moved).tolist(), strict=True
        )
    ]
    effects.sort(key=lambda one: -abs(one.contribution))
    return Regression(change, tuple(effects), change - sum(one.contribution for one in effects))


def _mean_scores(z: FloatArray, cross: CrossCounts) -> tuple[FloatArray, FloatArray]:
    """Mean of each column's score, and its covariance with ŷ, over the rows that have it; ``z [d, bins]``."""
    has_score = ~np.isnan(z)
    values = np.where(has_score, z, 0.0)
    n = np.maximum(has_score @ cross.n[0], 1)
    mean = values @ cross.n[0] / n
    return mean, values @ cross.sums[0] / n - mean * (has_score @ cross.sums[0]) / n


class Slice(NamedTuple):
    """Rows of a segment value, of a bin, or of both, and what their ŷ adds to the change.

    Parameters
    ----------
    segment : str
        ``"origin=EWR"``, or empty.
    column, label : str
        The bin, or empty.
    reference_rows, rows : int
    reference_mean, mean : float
        Of ŷ in these rows.
    rate : Estimate
        Part of the change of the mean ŷ of all rows that comes with other ŷ in these.
    """

    segment: str
    column: str
    label: str
    reference_rows: int
    rows: int
    reference_mean: float
    mean: float
    rate: Estimate


def find_slices(
    reference: CrossCounts,
    window: CrossCounts,
    *,
    most: int = 5,
    beam: int = 10,
    fewest: int = FEWEST_ROWS,
) -> list[Slice]:
    """Search the segment values and bins, and pairs of both, in which ŷ (the loss, say) changed most.

    Parameters
    ----------
    reference, window : CrossCounts
        On the same bins; pairs need cross-counts by group.
    most : int
        Slices to return.
    beam : int
        Segment values and bins, the best, that are combined with others to pairs.
    fewest : int
        Rows that a slice needs on both sides.

    Returns
    -------
    list of Slice
        Those whose interval, made wide enough for all slices that are looked at (Bonferroni), leaves out 0,
        by the limit of this interval that is nearer to 0. A segment value or a bin gives way to a pair within
        it that holds nine tenths of that.

    Raises
    ------
    ProfileError
        If the two are not on the same bins.

    Notes
    -----
    The rate of a slice is its term ``(q + p)/2·(μ' − μ)`` of `kitagawa`, p and q being shares of all rows.
    The nearer limit prefers large slices over small ones of which little is known. The intervals returned are
    those of single slices.
    """
    reference.check_same(window)
    binning = reference.binning
    features = np.zeros(reference.n.shape[1], bool)
    for i, spec in enumerate(binning.columns):
        features[binning.offsets[i] : binning.offsets[i + 1]] = spec.source is Source.FEATURE
    sides = [[_with_whole(x, part) for part in range(3)] for x in (reference, window)]
    values, errors = _rates(sides, fewest, [_totals(x, 0) for x in (reference, window)])
    looked_at = max(int(np.isfinite(errors).sum()) - 1, 1)
    nearer = np.abs(values) - special.ndtri(1 - 0.025 / looked_at) * errors
    nearer[:, 1:][:, ~features] = -inf
    nearer[0, 0] = -inf  # all rows
    single = np.concatenate([nearer[0], nearer[1:, 0]])
    least = np.sort(single)[-min(beam, len(single))] if beam > 0 else inf
    in_beam = (nearer[:, :1] >= least) | (nearer[:1] >= least)
    in_beam[0], in_beam[:, 0] = True, True
    nearer = np.where(in_beam, nearer, -inf)
    for whole, parts, axis in ((nearer[1:, 0], nearer[1:, 1:], 1), (nearer[0, 1:], nearer[1:, 1:], 0)):
        whole[parts.max(axis=axis, initial=-inf) >= _MOST_OF_IT * whole] = -inf
    best = np.argsort(-nearer, axis=None, kind="stable")[:most]
    return [
        _slice(binning, sides, int(g), int(b), _estimate(values[g, b], errors[g, b] ** 2))
        for g, b in zip(*np.unravel_index(best, nearer.shape), strict=True)
        if nearer[g, b] > 0
    ]


def _with_whole(cross: CrossCounts, part: int) -> FloatArray:
    """Numbers ``[groups, 1 + bins]`` of each group and its bins; 0 for bins that are not kept."""
    missing = len(cross.group_n) - len(cross.n)
    bins = np.pad(cross.parts[part].astype(np.float64), ((0, missing), (0, 0)))
    return np.concatenate([cross.parts[3 + part].astype(np.float64)[:, None], bins], axis=1)


def _rates(
    sides: Sequence[Sequence[FloatArray]], fewest: int, totals: Sequence[_Totals]
) -> tuple[FloatArray, FloatArray]:
    """Rate of every slice and its standard error; 0 and ∞ where there are too few rows."""
    before, after = (_Side.of(x[0], x[1], x[2], total) for x, total in zip(sides, totals, strict=True))
    is_known = (sides[0][0] >= max(fewest, 1)) & (sides[1][0] >= max(fewest, 1))
    weight, moved = (before.share + after.share) / 2, after.mean - before.mean
    variance = weight**2 * (before.mean_variance + after.mean_variance)
    for side in (before, after):
        variance += moved**2 / 4 * side.share * (1 - side.share) / max(side.totals.rows, 1)
    return np.where(is_known, weight * moved, 0.0), np.where(is_known, np.sqrt(variance), inf)


def _slice(
    binning: Binning, sides: Sequence[Sequence[FloatArray]], group: int, place: int, rate: Estimate
) -> Slice:
    column, label = "", ""
    if place:
        at = int(np.searchsorted(binning.offsets, place - 1, side="right")) - 1
        column, label = binning.columns[at].name, binning.bins[at].labels()[place - 1 - binning.offsets[at]]
    n, sums = ([float(side[i][group, place]) for side in sides] for i in (0, 1))
    return Slice(
        binning.groups[group], column, label, int(n[0]), int(n[1]), sums[0] / n[0], sums[1] / n[1], rate
    )
