"""A small invented reference, and windows of it with or without a shift, for detectors' examples."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import special

from detectors.tensor import FloatArray, IntArray, ReferenceCounts, TensorLayout
from schemas.verdict import Lane

_EDGES = special.ndtri(np.cumsum([0.01, 0.04, *[0.1] * 9]))
_MISSING_SHARE = 0.02
_CARRIERS = (0.4, 0.3, 0.2, 0.08, 0.02)
_BINS = len(_EDGES) + 2  # of the amount, with the missing ones
_SEGMENTS = ("", "origin=EWR", "origin=JFK")
_SEGMENT_SHARES = (0.6, 0.4)
_REFERENCE_WINDOWS = 40
_WINDOW_MS = 3_600_000


def planted_reference(seed: int, rows: int = 1_000) -> ReferenceCounts:
    """Draw a reference of 40 windows.

    Parameters
    ----------
    seed : int
        Seed of the random numbers; the same seed gives the same reference.
    rows : int
        Rows of each window.

    Returns
    -------
    ReferenceCounts
        Columns ``amount`` (standard normal, 2 % missing) and ``carrier`` (four names and missing); segments
        ``""``, ``"origin=EWR"`` and ``"origin=JFK"``.

    Examples
    --------
    >>> planted_reference(seed=1).counts.sum(axis=-1).tolist()[0]
    [40000, 40000]
    """
    windows = planted_windows(seed, _REFERENCE_WINDOWS, rows)
    return ReferenceCounts(
        layout=_layout(),
        segments=_SEGMENTS,
        counts=windows.sum(axis=0),
        windows=windows,
        sd=np.array([1.0, np.nan]),
        starts_ms=np.arange(_REFERENCE_WINDOWS) * _WINDOW_MS,
        window_ms=_WINDOW_MS,
    )


def planted_windows(seed: int, windows: int, rows: int = 1_000, shift_sd: float = 0.0) -> IntArray:
    """Draw windows on the layout of `planted_reference`.

    Parameters
    ----------
    seed : int
        Seed of the random numbers.
    windows : int
        Number T of windows.
    rows : int
        Rows of each window.
    shift_sd : float
        How far the mean of ``amount`` lies from the reference's, in its standard deviations.

    Returns
    -------
    IntArray
        ``[T, S, C, K]``.

    Examples
    --------
    >>> planted_windows(seed=2, windows=3).shape
    (3, 3, 2, 13)
    """
    generator = np.random.default_rng(seed)
    counts = np.zeros((windows, len(_SEGMENTS), 2, _BINS), dtype=np.int64)
    segment_rows = generator.multinomial(rows, _SEGMENT_SHARES, windows)
    for column, shares in enumerate((_amount_shares(shift_sd), np.array(_CARRIERS))):
        counts[:, 1:, column, : len(shares)] = generator.multinomial(segment_rows, shares)
    counts[:, 0] = counts[:, 1:].sum(axis=1)
    return counts


def _amount_shares(shift_sd: float) -> FloatArray:
    below = np.concatenate([[0.0], special.ndtr(_EDGES - shift_sd), [1.0]])
    return np.append((1 - _MISSING_SHARE) * np.diff(below), _MISSING_SHARE)


def _layout() -> TensorLayout:
    ends = np.concatenate([_EDGES[:1] - 1, _EDGES, _EDGES[-1:] + 1])
    inner = [f"[{low:.2f}, {high:.2f})" for low, high in pairwise(_EDGES)]
    labels = (f"< {_EDGES[0]:.2f}", *inner, f"≥ {_EDGES[-1]:.2f}", "missing")
    valid = np.arange(_BINS) < np.array([[_BINS], [len(_CARRIERS)]])
    ordered = np.arange(_BINS) < np.array([[_BINS - 1], [0]])
    positions, widths = np.full((2, _BINS), np.nan), np.full((2, _BINS), np.nan)
    positions[0, :-1] = (ends[:-1] + ends[1:]) / 2
    widths[0, :-1] = np.diff(ends)
    return TensorLayout(
        columns=("amount", "carrier"),
        lanes=(Lane.FEATURES, Lane.FEATURES),
        labels=(labels, ("UA", "DL", "B6", "AA", "missing")),
        valid=valid,
        ordered=ordered,
        positions=positions,
        widths=widths,
    )
