"""What a reference's own windows say about how windows differ when nothing is wrong.

Three things are learned for every stream: the season (which slots of the day or week have shares of their
own), the overdispersion (how much more than multinomial the shares vary from window to window, and how long
they stay off), and whether a stream keeps to what was learned at all. STATISTICS §2 has the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from detectors.ledger import Ledger
from detectors.single_windows import FEWEST_WINDOWS, MOST_ACF, SingleWindows
from detectors.tensor import BoolArray, FloatArray, IntArray, ReferenceCounts
from detectors.tilts import AXIS, axis_directions, log_evalues, projections, smoothed, tilt_weights

HOUR_MS, DAY_MS, WEEK_MS = 3_600_000, 86_400_000, 604_800_000
_MONDAY_MS = 4 * DAY_MS  # the first Monday of the epoch
FEWEST_TESTED = 12
FEWEST_BATCHES = 8
Z_REFERENCE = 4.0
PRIOR_WINDOWS = 20.0  # weight of the model's typical variation against a column's own
_BETTER_NATS = 5.0  # by which slots have to predict held-out windows better than fewer slots do,
_BETTER_ERRORS = 2.0  # and by so many standard errors
_MOST_ALARMS = 2  # of a held-out test that is expected to give one at most
_MOST_RANK_ACF = 0.98
_TESTED_TOLERANCE = 0.1
_INFINITE = 1e12


@dataclass(frozen=True)
class Slotting:
    """A way to cut time into recurring slots."""

    name: str
    length_ms: int
    slots: int
    fewest: int  # times that every slot which occurs has to come round

    def of(self, starts_ms: IntArray) -> IntArray:
        """Slot of each instant."""
        return np.asarray((starts_ms - _MONDAY_MS) // self.length_ms % self.slots)

    def rounds(self, starts_ms: IntArray) -> IntArray:
        """How often each slot comes round; windows in the same hour or day count once."""
        times = np.unique((starts_ms - _MONDAY_MS) // self.length_ms)
        return np.bincount(times % self.slots, minlength=self.slots)


WHOLE = Slotting("always", DAY_MS, 1, 0)
SLOTTINGS = (
    WHOLE,
    Slotting("hour of day", HOUR_MS, 24, 3),
    Slotting("day of week", DAY_MS, 7, 3),
    Slotting("hour of week", HOUR_MS, 168, 8),
)


@dataclass(frozen=True)
class Season:
    """Shares of some streams in each slot.

    Parameters
    ----------
    slotting : Slotting
    shares : FloatArray
        ``[slots, ..., K]``, each summing to 1 over the valid bins.
    counts : IntArray
        ``[slots, ..., K]``: the shares as counts of the rows that they are worth; without slots the
        reference's own.
    """

    slotting: Slotting
    shares: FloatArray
    counts: IntArray


@dataclass(frozen=True)
class Variation:
    """How much windows vary when nothing is wrong.

    Parameters
    ----------
    between : FloatArray
        ``[N, 3 + K]``: variance σ_b² of each direction's mean from window to window, beyond the multinomial.
    window_rows : FloatArray
        ``[N]``: rows of a window of the reference, on average.
    single : SingleWindows
        That of one window, however long it lasts.
    """

    between: FloatArray
    window_rows: FloatArray
    single: SingleWindows

    def at(self, streams: slice | IntArray) -> Variation:
        """Of some of the streams."""
        return Variation(self.between[streams], self.window_rows[streams], self.single.at(streams))

    def dispersion(self, n: FloatArray) -> FloatArray:
        """D ≥ 1 of windows of n rows: ``[N, 3 + K]``."""
        return np.asarray(1 + n[:, None] * self.between)

    def radius(self, rows: FloatArray, tolerance: FloatArray, z: float) -> FloatArray:
        """ε of each direction, ``[N, 3 + K]``: what is tolerated, and what the reference can have wrong.

        Its m rows came in windows of its own size: their means vary by D(size of those windows)/m, whatever
        the size of the window that is judged.
        """
        return np.asarray(tolerance[:, None] + z * np.sqrt(self.error(rows)))

    def error(self, rows: FloatArray) -> FloatArray:
        """Variance of the means of a reference of so many rows, ``[N, 3 + K]``."""
        return np.asarray(self.dispersion(self.window_rows) / np.maximum(rows, 1.0)[:, None])


@dataclass(frozen=True)
class Calibration:
    """Everything that is learned of a reference's windows, for all its streams (segments × columns, flat).

    Parameters
    ----------
    seasons : tuple of (columns, Season)
        Which columns use which slots; the season holds the streams of those columns in all segments.
    variation : Variation
    is_calibrated : BoolArray
        ``[N]``: False where held-out windows of the reference would have raised more alarms than allowed.
    excess : FloatArray
        ``[N]``: what the windows' distance has on average beyond chance; see `relative_distance`.
    distances : FloatArray
        ``[W, N]``: relative distance of each of the reference's windows from its slot, ascending; inf for
        windows without rows.
    lasting : FloatArray
        ``[N]``: windows that a distance stays off for, at least 1.
    """

    seasons: tuple[tuple[IntArray, Season], ...]
    variation: Variation
    is_calibrated: BoolArray
    excess: FloatArray
    distances: FloatArray
    lasting: FloatArray
    shape: tuple[int, int, int]

    def at(self, start_ms: int) -> tuple[FloatArray, IntArray]:
        """Shares and counts ``[N, K]`` that a window beginning then is compared with."""
        shares, counts = np.zeros(self.shape), np.zeros(self.shape, np.int64)
        for columns, season in self.seasons:
            slot = int(season.slotting.of(np.array([start_ms]))[0])
            shares[:, columns] = season.shares[slot]
            counts[:, columns] = season.counts[slot]
        return shares.reshape(-1, self.shape[2]), counts.reshape(-1, self.shape[2])

    @cached_property
    def slot_names(self) -> tuple[str, ...]:
        """Name of the slotting of each column."""
        names = [""] * self.shape[1]
        for columns, season in self.seasons:
            for column in columns.tolist():
                names[column] = season.slotting.name
        return tuple(names)


def calibrate(reference: ReferenceCounts) -> Calibration:
    """Learn from the windows of a reference.

    Parameters
    ----------
    reference : ReferenceCounts
        Fewer than four windows teach nothing: the counts are then taken for multinomial.

    Notes
    -----
    Slots are chosen for each column on all rows by how well the first two thirds of the windows predict the
    last third; its segments use the same slots. With the slots and the variation of the first two thirds the
    last third is then judged with a budget of one alarm: columns with more than two are *uncalibrated*.
    """
    layout = reference.layout
    windows = reference.windows.astype(np.float64)
    chosen = _choose(reference, windows[:, 0])
    seasons = _seasons(reference, windows, reference.starts_ms, chosen)
    variation, excess, distances, lasting = _learn(reference, windows, reference.starts_ms, seasons)
    calibrated = _tested(reference, windows, chosen)
    segments = len(reference.segments)
    return Calibration(
        seasons,
        variation,
        np.tile(calibrated, segments),
        excess,
        distances,
        lasting,
        (segments, *layout.shape),
    )


@dataclass(frozen=True, eq=False)
class _ById:
    """A reference as a key of the cache: references are compared by identity."""

    reference: ReferenceCounts

    def __hash__(self) -> int:
        return id(self.reference)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.reference is self.reference


def calibrated(reference: ReferenceCounts) -> Calibration:
    """Do the same once for each reference."""
    return _calibrated(_ById(reference))


@lru_cache(maxsize=64)
def _calibrated(key: _ById) -> Calibration:
    return calibrate(key.reference)


def distance(x: FloatArray, p: FloatArray) -> FloatArray:
    """Σ (x/n − p)²/p of counts ``[..., K]``; 0 where n = 0."""
    n = x.sum(axis=-1, keepdims=True)
    q = x / np.maximum(n, 1)
    terms = np.where(p > 0, (q - p) ** 2 / np.where(p > 0, p, 1), 0.0)
    return np.asarray(terms.sum(axis=-1) * (n[..., 0] > 0))


def relative_distance(x: FloatArray, p: FloatArray, excess: FloatArray) -> FloatArray:
    """Distance of counts ``[..., N, K]`` relative to what windows of as many rows have on average.

    Chance alone gives (K − 1)/n; windows vary by `excess` beyond it, however many rows they have. The ratio
    makes windows of different sizes comparable.
    """
    expected = excess + _by_chance(x, p)
    return np.asarray(distance(x, p) / np.maximum(expected, 1e-300))


def _by_chance(x: FloatArray, p: FloatArray) -> FloatArray:
    degrees = np.maximum((p > 0).sum(axis=-1) - 1, 1)
    return np.asarray(degrees / np.maximum(x.sum(axis=-1), 1))


def rank_evalues(distances: FloatArray, known: FloatArray) -> FloatArray:
    """Logarithm of ``½·p^(−½)``, p the rank of a window's distance among those of the reference's windows.

    Parameters
    ----------
    distances : FloatArray
        ``[N]``.
    known : FloatArray
        ``[W, N]``, ascending; inf for windows without rows.

    Notes
    -----
    The expectation is at most 1 while windows are exchangeable. No dispersion has to be known.

    References
    ----------
    .. [1] V. Vovk, R. Wang, "E-values: calibration, combination and applications", Annals of Statistics 49
       (2021): the calibrator κ·p^(κ−1) at κ = ½.
    """
    there = np.isfinite(known)
    above = (there & (known >= distances[None, :])).sum(axis=0)
    p = (1.0 + above) / (1.0 + there.sum(axis=0))
    return np.asarray(np.log(0.5) - 0.5 * np.log(p))


def overall_dispersion(p: FloatArray, dispersion: FloatArray) -> FloatArray:
    """D of a column as a whole, ``[N]``: of its bins, each weighted by its part in Σ (x/n − p)²/p."""
    weights = np.where(p > 0, 1 - p, 0.0)
    total = weights.sum(axis=1)
    weighted = (weights * dispersion[:, AXIS:]).sum(axis=1)
    return np.asarray(np.where(total > 0, weighted / np.where(total > 0, total, 1.0), 1.0))


# --- seasons ------------------------------------------------------------------------------------------------


def _choose(reference: ReferenceCounts, windows: FloatArray) -> list[Slotting]:
    """Slotting of each column, from all rows ``[W, C, K]``."""
    columns = len(reference.layout.columns)
    best = [WHOLE] * columns
    if len(windows) < FEWEST_TESTED:
        return best
    split = len(windows) * 2 // 3
    scores = {}
    for slotting in SLOTTINGS:
        if not _fits(slotting, reference.starts_ms[:split], reference.window_ms):
            continue
        season = _season(slotting, windows[:split], reference.starts_ms[:split], reference.layout.valid)
        slots = slotting.of(reference.starts_ms[split:])
        with np.errstate(divide="ignore"):
            logs = np.where(season.shares > 0, np.log(season.shares), 0.0)
        scores[slotting] = (windows[split:] * logs[slots]).sum(axis=-1)
    top = scores[WHOLE].copy()
    for slotting, score in scores.items():
        gain = score - top
        # Windows that stay off for a while favour some slots by chance, by very unequal amounts.
        needed = np.maximum(_BETTER_NATS, _BETTER_ERRORS * gain.std(axis=0) * np.sqrt(len(gain)))
        for column in np.flatnonzero(gain.sum(axis=0) > needed).tolist():
            best[column], top[:, column] = slotting, score[:, column]
    return best


def _fits(slotting: Slotting, starts_ms: IntArray, window_ms: int) -> bool:
    """Whether windows lie within slots, and every slot that occurs does so often enough."""
    if slotting is WHOLE:
        return True
    rounds = slotting.rounds(starts_ms)
    return 0 < window_ms <= slotting.length_ms and bool((rounds[rounds > 0] >= slotting.fewest).all())


def _seasons(
    reference: ReferenceCounts, windows: FloatArray, starts_ms: IntArray, chosen: Sequence[Slotting]
) -> tuple[tuple[IntArray, Season], ...]:
    seasons = []
    for slotting in SLOTTINGS:
        columns = np.array([i for i, mine in enumerate(chosen) if mine == slotting], np.int64)
        if not len(columns):
            continue
        valid = np.broadcast_to(reference.layout.valid[columns], reference.counts[:, columns].shape)
        if slotting is WHOLE:
            counts = reference.counts[:, columns]
            shares = smoothed(counts.astype(np.float64), valid)
            season = Season(slotting, shares[None], counts[None])
        else:
            season = _season(slotting, windows[:, :, columns], starts_ms, valid)
        seasons.append((columns, season))
    return tuple(seasons)


def _season(slotting: Slotting, windows: FloatArray, starts_ms: IntArray, valid: BoolArray) -> Season:
    """Shares by slot, drawn towards the whole as far as slots differ no more than chance would have it.

    κ is found by moments: with φ = χ²/((G − 1)(K − 1)) of the slots' counts against the whole, φ ≈ 1 +
    (m̄ − 1)/(κ + 1).
    """
    slots = slotting.of(starts_ms)
    counts = np.zeros((slotting.slots, *windows.shape[1:]))
    np.add.at(counts, slots, windows)
    whole = counts.sum(axis=0)
    p = smoothed(whole, valid)
    rows = counts.sum(axis=-1)
    used = (rows > 0).sum(axis=0)
    if slotting.slots == 1:
        return Season(slotting, p[None], counts.astype(np.int64))
    expected = rows[..., None] * p
    chi2 = np.where(expected > 0, (counts - expected) ** 2 / np.where(expected > 0, expected, 1), 0).sum(
        axis=(0, -1)
    )
    degrees = np.maximum(used - 1, 1) * np.maximum(valid.sum(axis=-1) - 1, 1)
    phi = chi2 / degrees
    mean_rows = whole.sum(axis=-1) / np.maximum(used, 1)
    kappa = np.where(phi > 1, (mean_rows - 1) / np.where(phi > 1, phi - 1, 1) - 1, _INFINITE)
    kappa = np.clip(kappa, 0.0, _INFINITE)
    weight = kappa + valid.sum(axis=-1) / 2
    shares = (counts + weight[..., None] * p) / (rows + weight)[..., None]
    # A slot's own rows count in full, the others as far as they are drawn in.
    worth = np.minimum(rows + kappa, whole.sum(axis=-1))
    return Season(slotting, shares, np.rint(shares * worth[..., None]).astype(np.int64))


# --- variation ----------------------------------------------------------------------------------------------


def _learn(
    reference: ReferenceCounts,
    windows: FloatArray,
    starts_ms: IntArray,
    seasons: tuple[tuple[IntArray, Season], ...],
) -> tuple[Variation, FloatArray, FloatArray, FloatArray]:
    segments, (columns, bins) = len(reference.segments), reference.layout.shape
    between, variance, learned, excess = (
        np.full((segments, columns, AXIS + bins), value) for value in (0.0, 0.0, np.inf, 0.0)
    )
    distances = np.full((len(windows), segments, columns), np.inf)
    known = np.zeros((segments, columns), bool)
    for mine, season in seasons:
        slots = season.slotting.of(starts_ms)
        spread = _spread(reference, windows[:, :, mine], mine, season, slots)
        between[:, mine], known[:, mine], distances[:, :, mine] = spread.between, spread.enough, spread.far
        shape = spread.between.shape
        variance[:, mine] = spread.single.variance.reshape(shape)
        learned[:, mine] = spread.single.learned.reshape(shape)
        excess[:, mine] = spread.single.excess.reshape(shape)
    # Segments without windows of their own vary like all rows.
    between, variance, learned, excess = (
        np.where(known[..., None], part, part[:1]) for part in (between, variance, learned, excess)
    )
    between, variance = (_lent(reference, part, len(windows)) for part in (between, variance))
    rows = windows.sum(axis=-1)
    there = rows > 0
    chance = np.maximum(reference.layout.valid.sum(axis=1) - 1, 1) / np.maximum(rows, 1)
    beyond = np.where(there, np.where(there, distances, 0.0) - chance, 0.0).sum(axis=0)
    excess_of_distance = np.maximum(beyond / np.maximum(there.sum(axis=0), 1), 0.0)
    relative = (distances / (excess_of_distance + chance)).reshape(len(windows), segments * columns)
    lasting = _lasting(relative)
    distances = np.sort(relative, axis=0)
    window_rows = (rows.sum(axis=0) / np.maximum((rows > 0).sum(axis=0), 1)).ravel()
    flat = [part.reshape(segments * columns, AXIS + bins) for part in (between, variance, learned, excess)]
    single = SingleWindows(flat[1], flat[2], flat[3], window_rows)
    return Variation(flat[0], window_rows, single), excess_of_distance.ravel(), distances, lasting


def _lent(reference: ReferenceCounts, variance: FloatArray, windows: int) -> FloatArray:
    """Variances raised to what the other columns, and the column's other bins, make likely."""
    if variance.shape[1] > 1:
        own = np.maximum(windows - 1, 1)
        shrunk = (own * variance + PRIOR_WINDOWS * _typical(reference, variance)) / (own + PRIOR_WINDOWS)
        # What other columns do not show is no reason to doubt this one.
        variance = np.maximum(variance, shrunk)
    on_bins = _at_least_typical(variance[..., AXIS:], reference)
    return np.concatenate([variance[..., :AXIS], on_bins], axis=-1)


def _lasting(distances: FloatArray) -> FloatArray:
    """Windows that a distance stays off for, ``(1 + r)/(1 − r)`` of its ranks; at least 1."""
    count = len(distances)
    if count < FEWEST_WINDOWS:
        return np.ones(distances.shape[1])
    ranks = stats.rankdata(distances, axis=0) - (count + 1) / 2
    squares = (ranks * ranks).sum(axis=0)
    acf = (ranks[1:] * ranks[:-1]).sum(axis=0) / np.maximum(squares, 1e-300)
    r = np.clip(acf + 1 / count, 0.0, _MOST_RANK_ACF)
    return np.asarray(np.where(acf > 1.645 / np.sqrt(count), (1 + r) / (1 - r), 1.0))


def _at_least_typical(between: FloatArray, reference: ReferenceCounts) -> FloatArray:
    """Let no bin vary less than the bins of its column do on average, weighted by their shares.

    A rare bin shows next to no variation of its own: a storm that the reference never saw falls on all rows
    of a day at once, as its ordinary weather does. Bins beside the numeric axis keep their own.
    """
    layout = reference.layout
    on_axis = layout.ordered.any(axis=1, keepdims=True)
    together = np.where(on_axis, layout.ordered, layout.valid)
    shares = np.where(together, reference.counts, 0)
    total = np.maximum(shares.sum(axis=-1, keepdims=True), 1)
    typical = (shares * between).sum(axis=-1, keepdims=True) / total
    return np.where(together, np.maximum(between, typical), between)


def _typical(reference: ReferenceCounts, between: FloatArray) -> FloatArray:
    """Median over the columns that have a direction, ``[S, 1, 3 + K]``; one for all bins."""
    found = np.zeros((len(between), 1, between.shape[2]))
    ordered = reference.layout.ordered.sum(axis=1)
    for direction in range(AXIS):
        has_direction = ordered > direction + 1
        if has_direction.any():
            found[:, 0, direction] = np.median(between[:, has_direction, direction], axis=1)
    found[:, 0, AXIS:] = np.median(between[:, :, AXIS:][:, reference.layout.valid], axis=1)[:, None]
    return found


class _Spread(NamedTuple):
    """How the windows of some columns vary: ``[S, columns, 3 + K]``, those of `single` flat."""

    between: FloatArray
    single: SingleWindows
    far: FloatArray  # [W, S, columns]: how far each window lies from its slot
    enough: BoolArray  # [S, columns]: whether there were windows enough to tell


def _spread(
    reference: ReferenceCounts, x: FloatArray, columns: IntArray, season: Season, slots: IntArray
) -> _Spread:
    """How the windows of some columns vary."""
    count, segments, width, bins = x.shape
    ordered = np.broadcast_to(reference.layout.ordered[columns], (segments, width, bins)).reshape(-1, bins)
    means = np.zeros((count, segments * width, AXIS + bins))
    far = np.full((count, segments * width), np.inf)
    flat = x.reshape(count, segments * width, bins)
    for slot in np.unique(slots).tolist():
        p = season.shares[slot].reshape(-1, bins)
        axis = axis_directions(p.T, ordered.T)
        for at in np.flatnonzero(slots == slot).tolist():
            means[at] = projections(flat[at].T, p.T, axis).T
            far[at] = np.where(flat[at].sum(axis=-1) > 0, distance(flat[at], p), np.inf)
    n, taken_out = flat.sum(axis=-1), len(np.unique(slots))
    between, enough = between_windows(means, n, taken_out)
    shape = (segments, width, AXIS + bins)
    return _Spread(
        between.reshape(shape),
        SingleWindows.learn(means, n, taken_out),
        far.reshape(count, segments, width),
        enough.reshape(shape[:-1]),
    )


def between_windows(means: FloatArray, n: FloatArray, slots: int = 1) -> tuple[FloatArray, BoolArray]:
    """Long-run variance of directions' means beyond the multinomial.

    Parameters
    ----------
    means : FloatArray
        ``[W, N, D]``: mean of each direction in each window, in order of time.
    n : FloatArray
        ``[W, N]``: rows of each window.
    slots : int
        Slots whose means were taken out.

    Returns
    -------
    between : FloatArray
        ``[N, D]``: σ_b² ≥ 0; 0 where neither the variance nor the autocorrelation is more than chance.
    enough : BoolArray
        ``[N]``: whether there were windows enough to tell.

    Notes
    -----
    With B windows, ν = B − G, v = Σs²/ν and n̄ the harmonic mean, f = ν/χ²_{.05,ν} makes of the variance its
    upper limit. e = f·v − 1/n̄ is what is left beyond the multinomial. Where both v and acf₁ are more than
    chance, the autocorrelation is that of e alone, r = acf₁·v/max(v − 1/n̄, v/4), elsewhere r = acf₁; it is
    raised by (1 + 3r)/B, the bias of a short series, and kept within [0, .9]. σ_b² = e·k/max(1 − k/B, ¼) with
    k = (1 + r)/(1 − r): the divisor is what B windows cannot show because their own mean was taken out. Where
    acf₁ > 3/√B, it is at least what batches of windows show; see `_of_batches`.
    """
    there = n > 0
    count = there.sum(axis=0)
    freedom = count - slots
    enough = (count >= FEWEST_WINDOWS) & (freedom >= 2)
    nu = np.maximum(freedom, 1)[:, None]
    s = np.where(there[..., None], means, 0.0)
    squares = (s * s).sum(axis=0)
    v = squares / nu
    lagged = (s[1:] * s[:-1]).sum(axis=0)
    b = np.maximum(count, 1)[:, None]
    acf = np.where(squares > 0, lagged / np.where(squares > 0, squares, 1), 0.0)
    mean_n = (count / np.maximum(np.where(there, 1 / np.maximum(n, 1), 0).sum(axis=0), 1e-300))[:, None]
    is_wide, is_lasting = v * mean_n * nu > stats.chi2.ppf(0.95, nu), acf > 1.645 / np.sqrt(b)
    chance = 1 / np.maximum(mean_n, 1)
    extra = np.maximum(v * (nu / stats.chi2.ppf(0.05, nu)) - chance, 0.0)
    undiluted = acf * v / np.maximum(np.maximum(v - chance, v / 4), 1e-300)
    lasting = np.where(is_wide & is_lasting, undiluted, acf)
    r = np.clip(lasting + (1 + 3 * lasting) / b, 0.0, MOST_ACF)
    long_run = (1 + r) / (1 - r)
    between = np.where(is_wide | is_lasting, extra * long_run / np.maximum(1 - long_run / b, 0.25), 0.0)
    between = np.where(acf > 3 / np.sqrt(b), np.maximum(between, _of_batches(s, chance)), between)
    return between * enough[:, None], enough


def _of_batches(s: FloatArray, chance: FloatArray) -> FloatArray:
    """Largest variance that means of 2, 4, 8, … windows in a row show, as that of one window.

    Noise that stays for a day looks the same from hour to hour, and its first autocorrelation does not tell
    a day from a week. At least eight batches are needed; f makes of each variance its upper limit.
    """
    found = np.zeros(s.shape[1:])
    size = 2
    while len(s) // size >= FEWEST_BATCHES:
        count = len(s) // size
        means = s[: count * size].reshape(count, size, *s.shape[1:]).mean(axis=1)
        upper = (means * means).sum(axis=0) / stats.chi2.ppf(0.05, count - 1)
        found = np.maximum(found, size * upper - chance)
        size *= 2
    return found


# --- the held-out test --------------------------------------------------------------------------------------


def _tested(reference: ReferenceCounts, windows: FloatArray, chosen: Sequence[Slotting]) -> BoolArray:
    """Whether the last third of the windows, judged by the first two, keeps to a budget of one alarm."""
    columns, bins = reference.layout.shape
    if len(windows) < FEWEST_TESTED:
        return np.ones(columns, bool)
    split = len(windows) * 2 // 3
    part = windows[:split, :1]
    first = ReferenceCounts(
        reference.layout, ("",), part.sum(axis=0).astype(np.int64), reference.windows[:split, :1],
        reference.sd, reference.starts_ms[:split], reference.window_ms,
    )  # fmt: skip
    usable = [s if _fits(s, first.starts_ms, reference.window_ms) else WHOLE for s in chosen]
    seasons = _seasons(first, part, first.starts_ms, usable)
    variation, _, _, _ = _learn(first, part, first.starts_ms, seasons)
    calibration = Calibration(
        seasons,
        variation,
        np.ones(columns, bool),
        np.zeros(columns),
        np.zeros((0, columns)),
        np.ones(columns),
        (1, columns, bins),
    )
    ledger = Ledger.empty(columns, AXIS + bins)
    budget = np.full(columns, 1 / (len(windows) - split))
    alarms = np.zeros(columns, np.int64)
    valid, ordered = reference.layout.valid, reference.layout.ordered
    for x, start_ms in zip(windows[split:, 0], reference.starts_ms[split:].tolist(), strict=True):
        p, counts = calibration.at(start_ms)
        axis = axis_directions(p.T, ordered.T)
        dispersion = variation.dispersion(x.sum(axis=1))
        epsilon = variation.radius(counts.sum(axis=1), np.full(columns, _TESTED_TOLERANCE), Z_REFERENCE)
        evidence = log_evalues(x.T, p.T, axis, epsilon.T, dispersion.T)
        alarms += ledger.step(evidence, budget, tilt_weights(valid.T, axis)).is_alarm
    return np.asarray(alarms <= _MOST_ALARMS)
