"""How many rows a window usually has: a level that follows the last windows of its slot, and its error.

Symbols: ``x`` rows of a window, ``L`` its level, ``φ`` the overdispersion: their variance is
``L + φ·L²``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from detectors.calibration import SLOTTINGS, WHOLE, Slotting
from detectors.reference import Reference
from detectors.single_windows import FEWEST_WINDOWS, MOST_ACF
from detectors.tensor import FloatArray, IntArray

LAST_WINDOWS = 8
FEWEST_IN_SLOT = 3
_NONE = -1
_MOST_VARIED = 1.0
_BETTER = 0.8  # of the squared error that fewer slots have
_MEDIAN_OF_8 = 1.57 / LAST_WINDOWS  # variance of their median, of one of them


@dataclass
class Recent:
    """Rows of the last windows of each slot, ``[slots, streams, 8]``, the latest first; -1 for none yet."""

    rows: IntArray

    @classmethod
    def empty(cls, slots: int, streams: int) -> Recent:
        """Return what is known before the first window."""
        return cls(np.full((slots, streams, LAST_WINDOWS), _NONE, np.int64))

    def level(self, slot: int) -> FloatArray:
        """Median of the last windows of a slot, ``[streams]``; 0 where there are fewer than three."""
        known = self.rows[slot]
        there = (known != _NONE).sum(axis=1)
        ordered = np.sort(np.where(known == _NONE, np.iinfo(np.int64).max, known), axis=1)
        low, high = np.maximum(there - 1, 0) // 2, there // 2
        at = np.arange(len(known))
        middle = (ordered[at, low] / 2) + ordered[at, np.minimum(high, LAST_WINDOWS - 1)] / 2
        return np.asarray(np.where(there >= FEWEST_IN_SLOT, middle, 0.0))

    def add(self, slot: int, rows: IntArray, which: IntArray) -> None:
        """Take in a window, of some of the streams."""
        moved = self.rows[slot, which]
        self.rows[slot, which] = np.concatenate([rows[which, None], moved[:, :-1]], axis=1)


@dataclass(frozen=True)
class Levels:
    """What a reference's windows say of their rows.

    Parameters
    ----------
    slotting : Slotting
    recent : Recent
        After the reference.
    overdispersion : FloatArray
        ``[streams]``: φ; nan where the windows were too few to tell, or where it is more than 1, so that no
        number is usual.
    windows : IntArray
        ``[streams]``: windows that it was learned from.
    """

    slotting: Slotting
    recent: Recent
    overdispersion: FloatArray
    windows: IntArray

    @classmethod
    def learn(cls, reference: Reference) -> Levels:
        """Learn from the windows of a reference that lie in its span as a whole.

        Notes
        -----
        Windows are taken one after the other, each with the level that those before it give: e = (x − L)/L.
        Its variance v̄ = Σe²/B is multiplied by B/χ²_{.05, B} and (1 + r)/(1 − r), r = clip(acf₁ + 1/B, 0,
        .9). φ is what this leaves beyond 1/L. So the level's own error, and how it wanders, are a part of φ.
        """
        starts = reference.window_starts
        is_whole = (starts >= reference.from_ms) & (starts + reference.window_ms <= reference.to_ms)
        streams = len(reference.binning.groups)
        if not is_whole.any() or not reference.binning.columns:
            none = np.zeros(streams, np.int64)
            return cls(WHOLE, Recent.empty(1, streams), np.full(streams, np.nan), none)
        first = int(reference.binning.offsets[1])
        rows = reference.group_windows[is_whole][:, :, :first].sum(axis=2)
        starts = starts[is_whole]
        slotting = _chosen(rows[:, 0], starts, reference.window_ms)
        recent, levels = _followed(rows, starts, slotting)
        kept = reference.windows.shape[1]
        found = [_overdispersion(rows[:, i], levels[:, i]) for i in range(kept)]
        windows = np.array([count for _, count in found] + [0] * (streams - kept), np.int64)
        phi = np.array([phi for phi, _ in found] + [np.nan] * (streams - kept))
        return cls(slotting, recent, phi, windows)


def _chosen(rows: IntArray, starts: IntArray, window_ms: int) -> Slotting:
    """Slots whose last windows predict the next one best; more of them only where they do clearly better."""
    fitting = [slotting for slotting in SLOTTINGS if _fits(slotting, starts, window_ms)]
    errors = {}
    for slotting in fitting:
        _, levels = _followed(rows[:, None], starts, slotting)
        level = levels[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors[slotting] = np.where(level > 0, np.log((rows + 0.5) / (level + 0.5)), np.nan)
    common = ~np.isnan(np.stack(list(errors.values()))).any(axis=0)
    if common.sum() < FEWEST_WINDOWS:
        return WHOLE
    best, least = WHOLE, float((errors[WHOLE][common] ** 2).mean())
    for slotting in fitting[1:]:
        mine = float((errors[slotting][common] ** 2).mean())
        if mine < _BETTER * least:
            best, least = slotting, mine
    return best


def _fits(slotting: Slotting, starts: IntArray, window_ms: int) -> bool:
    """Whether windows lie within slots, and slots come round often enough for levels and their errors."""
    if slotting is WHOLE:
        return True
    rounds = slotting.rounds(starts)
    fewest = max(slotting.fewest, FEWEST_IN_SLOT + 1)
    return window_ms <= slotting.length_ms and bool((rounds[rounds > 0] >= fewest).all())


def _followed(rows: IntArray, starts: IntArray, slotting: Slotting) -> tuple[Recent, FloatArray]:
    """Take in windows one after the other; returns the level before each, ``[W, streams]``."""
    recent = Recent.empty(slotting.slots, rows.shape[1])
    every, levels = np.arange(rows.shape[1]), np.zeros(rows.shape)
    for i, slot in enumerate(slotting.of(starts).tolist()):
        levels[i] = recent.level(slot)
        recent.add(slot, rows[i], every)
    return recent, levels


def _overdispersion(rows: IntArray, levels: FloatArray) -> tuple[float, int]:
    """φ of one stream, and how many windows it was learned from."""
    known = levels > 0
    count = int(known.sum())
    if count < FEWEST_WINDOWS:
        return np.nan, count
    level = levels[known]
    e = rows[known] / level - 1
    squares = float((e * e).sum())
    acf = float((e[1:] * e[:-1]).sum()) / squares if squares else 0.0
    r = min(max(acf + 1 / count, 0.0), MOST_ACF)
    variance = squares / float(stats.chi2.ppf(0.05, count)) * (1 + r) / (1 - r)
    by_chance = float((1 / level).mean())
    phi = max(variance - by_chance, _MEDIAN_OF_8 * by_chance)
    return phi if phi <= _MOST_VARIED else np.nan, count
